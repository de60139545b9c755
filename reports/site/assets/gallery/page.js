"use strict";
// A gallery page: its controls, its address, and the list that follows them.
(() => {
  const STEP = 24; // queries that are added at a time
  const { load } = window.itmGallery;
  const { PAIR, read, written, bounds, select } = window.itmSelect;
  const { make, needed, methodOf, orders, offered } = window.itmViews;
  const { element, grouped, painter } = window.itmDraw;

  const page = JSON.parse(document.getElementById("data").textContent);
  const form = document.getElementById("controls");
  const list = document.getElementById("queries");
  const status = document.getElementById("status");
  const more = document.getElementById("more");
  const loaded = {};
  let split, ranks, paint, defaults, state, rows = [], shown = 0, view = null, asked = 0;

  const fields = Object.fromEntries(Array.from(form.querySelectorAll("[name]"), (field) => [field.name, field]));
  const option = (value, text) => element("option", { value, text });

  function fillControls() {
    const labels = () => split.methods.map((method) => option(method.label, method.label));
    if (page.view === "run") {
      for (const method of split.methods) {
        for (const run of method.runs) {
          const rsum = run.rsum === null ? "" : `, rSum ${run.rsum.toFixed(1)}`;
          fields.run.append(option(run.id, `${method.label} seed ${run.seed}${rsum}`));
        }
      }
    } else if (page.view === "pair") {
      fields.a.append(...labels());
      fields.b.append(...labels());
      fields.show.append(...Object.entries(PAIR).map(([value, text]) => option(value, text)));
    }
    const kinds = offered[page.view];
    fields.sort.append(...kinds.map((key) => option(key, page.view === "all" && key !== "row" ? orders[key].replace("rank of the truth", "median rank") : orders[key])));
    defaults = { direction: "t2i", sort: kinds[0], show: "a" };
    if (page.view === "run") defaults.run = split.methods[0].chosen;
    if (page.view === "pair") [defaults.a, defaults.b] = [split.methods[0].label, (split.methods[1] || split.methods[0]).label];
  }

  /** A state whose values exist: what an address names wrongly is as at the beginning. */
  function valid(given) {
    const made = { ...defaults, ...given };
    if (page.view === "run" && ![page.runs, ranks].every((known) => Object.hasOwn(known, made.run))) made.run = defaults.run;
    for (const key of ["a", "b"]) if (page.view === "pair") made[key] = (methodOf(split, made[key]) || { label: defaults[key] }).label;
    if (!["i2t", "t2i"].includes(made.direction)) made.direction = defaults.direction;
    if (!offered[page.view].includes(made.sort)) made.sort = defaults.sort;
    if (!Object.hasOwn(PAIR, made.show)) made.show = defaults.show;
    return made;
  }

  function toControls() {
    for (const key of ["run", "a", "b", "show", "direction", "sort", "word"]) {
      if (fields[key]) fields[key].value = state[key] || "";
    }
    for (const key of ["also", "steady"]) if (fields[key]) fields[key].checked = Boolean(state[key]);
    for (const key of ["words", "objects", "rank"]) {
      if (!fields[`${key}-from`]) continue;
      const [low, high] = bounds(state[key]);
      fields[`${key}-from`].value = Number.isFinite(low) ? low : "";
      fields[`${key}-to`].value = Number.isFinite(high) ? high : "";
    }
  }

  function fromControls() {
    const found = {};
    for (const key of ["run", "a", "b", "show", "direction", "sort", "word"]) if (fields[key]) found[key] = fields[key].value;
    for (const key of ["also", "steady"]) if (fields[key]) found[key] = fields[key].checked;
    for (const key of ["words", "objects", "rank"]) {
      if (!fields[`${key}-from`]) continue;
      const [low, high] = [fields[`${key}-from`].value, fields[`${key}-to`].value];
      found[key] = low || high ? `${low}-${high}` : "";
    }
    return found;
  }

  function add() {
    const next = rows.slice(shown, shown + STEP);
    list.append(...next.map((row) => paint.query(state.direction, row, view.show(row))));
    shown += next.length;
    more.hidden = shown >= rows.length;
    more.textContent = `${grouped(Math.min(STEP, rows.length - shown))} more of ${grouped(rows.length - shown)}`;
  }

  async function update() {
    const turn = ++asked;
    list.setAttribute("aria-busy", "true");
    const runs = needed(page.view, split, state);
    const files = await Promise.all(runs.map((id) => load(page.runs[id])));
    if (turn !== asked) return; // the reader has chosen something else meanwhile
    runs.forEach((id, index) => {
      if (loaded[id]) return;
      const raw = files[index];
      const best = raw.best && new Map(split.rows("i2t").map((row, place) => [row, raw.best[place]]));
      loaded[id] = { ...window.itmGallery.run(raw, split), best };
    });
    view = make[page.view]({ split, ranks, loaded, state, median: page.median, said: page.said });
    rows = select(split, view, state);
    list.replaceChildren();
    shown = 0;
    add();
    list.removeAttribute("aria-busy");
    const noun = state.direction === "i2t" ? "image" : "caption";
    status.textContent = `${view.summary()} Listed: ${grouped(rows.length)} ${noun}${rows.length === 1 ? "" : "s"}.`;
  }

  function changed() {
    const chosen = valid(fromControls());
    const hash = written(chosen, defaults);
    if (hash === written(state, defaults)) return; // some browsers tell a change twice
    state = chosen;
    history.replaceState(null, "", `#${hash}`);
    update().catch(failed);
  }

  /** Another state, from an address or the beginning. */
  function show(given) {
    state = given;
    toControls();
    history.replaceState(null, "", `#${written(state, defaults)}`);
    update().catch(failed);
  }

  function failed(error) {
    status.textContent = `This list cannot be shown: ${error.message}.`;
  }

  async function start() {
    const [raw, known] = await Promise.all([load(page.split), load(page.ranks)]);
    if (!raw.methods.length) return;
    split = window.itmGallery.split(raw);
    ranks = known;
    paint = painter(split, page.pictures.split("/").map(encodeURIComponent).join("/"));
    fillControls();
    state = valid(read(window.location.hash));
    toControls();
    form.hidden = false;
    form.addEventListener("input", changed);
    form.addEventListener("change", changed);
    form.querySelector("button").addEventListener("click", () => {
      show(valid(Object.fromEntries(["run", "a", "b", "direction"].filter((key) => state[key]).map((key) => [key, state[key]]))));
    });
    more.addEventListener("click", add);
    window.addEventListener("hashchange", () => {
      show(valid(read(window.location.hash)));
      form.scrollIntoView({ block: "start" });
    });
    await update();
  }

  start().catch(failed);
})();
