"use strict";
// Search over all pages of the site. The index is a script of its own, loaded at the first use: a page that is opened
// from a file may not read any other kind of file.

(() => {
  const MOST = 20;
  const assets = new URL(".", document.currentScript.src);
  const header = document.querySelector("header.site");

  const box = document.createElement("search");
  box.className = "search";
  const input = document.createElement("input");
  Object.assign(input, { type: "search", id: "search", placeholder: "Search all pages", autocomplete: "off", spellcheck: false });
  const attributes = { role: "combobox", "aria-label": "Search all pages", "aria-expanded": "false", "aria-controls": "found",
    "aria-autocomplete": "list", "aria-keyshortcuts": "/" };
  for (const [name, value] of Object.entries(attributes)) input.setAttribute(name, value);
  const key = document.createElement("kbd");
  key.textContent = "/";
  key.setAttribute("aria-hidden", "true");
  const found = document.createElement("div");
  found.className = "found";
  found.hidden = true;
  const list = document.createElement("ul");
  list.id = "found";
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", "Pages found");
  const said = document.createElement("p");
  said.setAttribute("role", "status");
  found.append(list, said);
  box.append(input, key, found);
  header.append(box);

  let pages = null;
  let selected = -1;

  function load() {
    if (pages) return;
    pages = [];
    const script = document.createElement("script");
    script.src = new URL("index.js", assets);
    script.addEventListener("load", () => {
      pages = (window.itmPages ?? []).map((page) => ({
        ...page,
        fields: [[page.title, 8], [page.kind, 4], [page.summary, 2], [page.words, 1]].map(([text, weight]) => [folded(text), weight]),
      }));
      show();
    });
    script.addEventListener("error", () => {
      said.textContent = "The index of the site is missing: assets/index.js cannot be read. Write the site again with itm site.";
    });
    document.head.append(script);
  }

  // Without accents and case, so that "clip" finds "CLIP".
  function folded(text) {
    return (text ?? "").normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
  }

  // Every word must stand somewhere; one at the beginning of a word counts double.
  function score(page, words) {
    let total = 0;
    for (const word of words) {
      let best = 0;
      for (const [text, weight] of page.fields) {
        const at = text.indexOf(word);
        if (at < 0) continue;
        const starts = at === 0 || !/[\p{L}\p{N}]/u.test(text[at - 1]);
        best = Math.max(best, weight * (starts ? 2 : 1));
      }
      if (!best) return 0;
      total += best;
    }
    return total;
  }

  function show() {
    const words = folded(input.value).split(/\s+/).filter(Boolean);
    found.hidden = words.length === 0;
    input.setAttribute("aria-expanded", String(!found.hidden));
    select(-1);
    list.replaceChildren();
    if (!words.length || !window.itmPages) return;
    const hits = pages.map((page) => [score(page, words), page]).filter(([points]) => points > 0);
    hits.sort((a, b) => b[0] - a[0]);
    list.append(...hits.slice(0, MOST).map(([, page], number) => entry(page, number)));
    const count = hits.length === 1 ? "1 page" : `${hits.length} pages`;
    said.textContent = !hits.length ? `No page holds “${input.value.trim()}”. Try fewer or shorter words: a method, a dataset, a run.`
      : hits.length > MOST ? `${count}; the first ${MOST} are listed.` : `${count}.`;
  }

  function entry(page, number) {
    const item = document.createElement("li");
    item.id = `found-${number}`;
    item.setAttribute("role", "option");
    item.setAttribute("aria-selected", "false");
    const link = document.createElement("a");
    link.href = new URL(`../${page.path.split("/").map(encodeURIComponent).join("/")}`, assets);
    link.tabIndex = -1;
    const kind = document.createElement("span");
    kind.className = "kind";
    kind.textContent = page.kind;
    const title = document.createElement("b");
    title.textContent = page.title;
    const summary = document.createElement("span");
    summary.className = "summary";
    summary.textContent = page.summary;
    link.append(kind, title, summary);
    item.append(link);
    return item;
  }

  function select(number) {
    list.children[selected]?.setAttribute("aria-selected", "false");
    selected = number;
    const item = list.children[selected];
    if (!item) return input.removeAttribute("aria-activedescendant");
    item.setAttribute("aria-selected", "true");
    item.scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", item.id);
  }

  function close() {
    found.hidden = true;
    input.setAttribute("aria-expanded", "false");
    select(-1);
  }

  input.addEventListener("focus", () => { load(); show(); });
  input.addEventListener("input", show);
  input.addEventListener("keydown", (event) => {
    const last = list.children.length - 1;
    if (event.key === "ArrowDown") select(selected >= last ? 0 : selected + 1);
    else if (event.key === "ArrowUp") select(selected <= 0 ? last : selected - 1);
    else if (event.key === "Enter") list.children[Math.max(selected, 0)]?.querySelector("a").click();
    else if (event.key === "Escape") { if (found.hidden) input.value = ""; close(); }
    else return;
    event.preventDefault();
  });
  document.addEventListener("pointerdown", (event) => { if (!box.contains(event.target)) close(); });
  box.addEventListener("focusout", (event) => { if (event.relatedTarget && !box.contains(event.relatedTarget)) close(); });
  document.addEventListener("keydown", (event) => {
    const typing = event.target instanceof Element && event.target.closest("input, textarea, select, [contenteditable]");
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || typing) return;
    event.preventDefault();
    input.focus();
    input.select();
  });
})();
