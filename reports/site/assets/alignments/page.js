// Alignment cards: for each pair of a picture and a caption, two methods side by side. Each word of the caption is a
// button; the picture shows where it looks. The address keeps what is chosen: #a=RUN&b=RUN&pair=3&word=5.
// Every text comes from data of anybody and goes into the page by textContent alone.
"use strict";

(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const SVG = "http://www.w3.org/2000/svg";
  const SIDES = ["a", "b"];
  const { modesOf, mapsOf, describe, legendOf, share, largest, bestOf } = window.itmMaps(data);

  const address = new URLSearchParams(location.hash.slice(1));
  const chosen = { a: methodOf(address.get("a"), data.first[0]) };
  chosen.b = methodOf(address.get("b"), data.first.find((number) => number !== chosen.a) ?? chosen.a);
  const modes = { a: address.get("showA") || "0", b: address.get("showB") || "0" };
  const drawn = new Set(); // articles in sight so far: the others are drawn when they come into sight
  const articles = [...document.querySelectorAll("article.pair")];
  const sides = new Map(); // article -> { a: Side, b: Side }

  function methodOf(run, otherwise) {
    const number = data.methods.findIndex((method) => run && method.run.startsWith(run));
    return number < 0 ? otherwise : number;
  }

  function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  // One method's view of one pair.
  class Side {
    constructor(name, article) {
      this.name = name;
      this.article = article;
      this.pair = articles.indexOf(article);
      this.root = element("div", { class: "side" });
      this.pinned = null;
    }

    get card() { return data.cards[this.pair][chosen[this.name]]; }

    draw() {
      this.root.replaceChildren();
      const label = element("p", { class: "method" });
      label.textContent = data.methods[chosen[this.name]].label;
      this.root.append(label);
      if (!this.card) {
        const none = element("p", { class: "notes" });
        none.textContent = "This method has no card of this pair.";
        this.root.append(none);
        this.maps = [];
        return;
      }
      this.maps = mapsOf(this.card, modes[this.name]);
      if (this.pinned === null || this.pinned >= this.maps.length) this.pinned = firstWord(this.maps);
      const said = element("p", { class: "notes said" });
      said.textContent = this.card.said;
      this.buttons = this.maps.map((map, number) => this.button(map, number));
      const bar = element("div", { class: "words", role: "toolbar", "aria-label": "Words: each shows where it looks" });
      bar.append(...this.buttons);
      bar.addEventListener("keydown", (event) => this.move(event));
      this.info = element("p", { class: "info" });
      this.picture = this.drawPicture();
      this.scale = element("p", { class: "scale" });
      this.scale.append(element("span", { class: "low" }), element("span", { class: "ramp" }), element("span", { class: "high" }));
      this.scale.firstChild.textContent = "0";
      this.root.append(said, this.picture, this.scale, bar, this.info);
      this.show(this.pinned);
    }

    button(map, number) {
      const button = element("button", { type: "button", "aria-pressed": "false" });
      const word = element("span", { class: "word" });
      word.textContent = map.title;
      button.append(word);
      for (const [kind, value] of [["score", map.score], ["gate", map.gate]]) {
        if (value === null || value === undefined) continue;
        const bar = element("span", { class: `bar ${kind}` }, element("i"));
        bar.firstChild.style.width = `${Math.round(100 * value)}%`;
        button.append(bar);
      }
      button.setAttribute("aria-label", describe(this.card, map));
      button.addEventListener("pointerenter", () => both(this, number, false));
      button.addEventListener("pointerleave", () => both(this, this.pinned, false));
      button.addEventListener("focus", () => both(this, number, false));
      button.addEventListener("click", () => both(this, number, true));
      return button;
    }

    // Arrow keys, Home and End go along the words; Tab goes past them.
    move(event) {
      const now = this.buttons.indexOf(document.activeElement);
      const last = this.buttons.length - 1;
      const next = { ArrowRight: now + 1, ArrowDown: now + 1, ArrowLeft: now - 1, ArrowUp: now - 1, Home: 0, End: last }[event.key];
      if (next === undefined || now < 0) return;
      event.preventDefault();
      const number = Math.min(last, Math.max(0, next));
      both(this, number, true);
      this.buttons[number].focus();
    }

    drawPicture() {
      const still = this.article.querySelector(".still img");
      const boxes = data.boxes[this.card.boxes];
      const holder = element("div", { class: "picture" });
      this.cells = [];
      if (boxes) {
        const image = still ? copyOf(still) : element("div", { class: "blank" });
        const overlay = document.createElementNS(SVG, "svg");
        overlay.setAttribute("viewBox", "0 0 1 1");
        overlay.setAttribute("preserveAspectRatio", "none");
        overlay.setAttribute("aria-hidden", "true");
        const canvas = element("div", { class: "canvas" }, image, overlay);
        canvas.addEventListener("click", () => canvas.classList.toggle("plain"));
        holder.append(canvas);
        boxes.forEach((box) => this.cells.push(box ? cellIn(overlay, box) : null));
        const loose = boxes.map((box, number) => (box ? -1 : number)).filter((number) => number >= 0);
        if (loose.length) holder.append(this.strip(loose));
      } else {
        if (still) holder.append(element("div", { class: "canvas" }, copyOf(still)));
        this.cells = this.maps.length ? this.maps[0].weights.map(() => null) : [];
        holder.append(this.strip(this.cells.map((_, number) => number)));
      }
      return holder;
    }

    // Fragments without a place in the picture: a row of named cells.
    strip(numbers) {
      const names = data.places[this.card.places];
      const list = element("div", { class: "strip", "aria-hidden": "true" });
      for (const number of numbers) {
        const cell = element("span", { class: "loose" });
        cell.textContent = names[number].replace(/^(region|box) /, "");
        cell.title = names[number];
        this.cells[number] = cell;
        list.append(cell);
      }
      return list;
    }

    show(number) {
      const map = this.maps[number];
      this.buttons?.forEach((button, n) => {
        button.setAttribute("aria-pressed", String(n === this.pinned));
        button.classList.toggle("shown", n === number);
        button.tabIndex = n === this.pinned ? 0 : -1;
      });
      if (!map) return;
      const highest = map.top || largest(map.weights);
      const top = highest || 1;
      const best = map.top ? -1 : bestOf(map.weights);
      this.cells.forEach((cell, n) => {
        if (!cell) return;
        cell.style.setProperty("--heat", (map.weights[n] / top).toFixed(3));
        cell.classList.toggle("best", n === best);
      });
      this.scale.lastChild.textContent = highest ? share(highest) : "none";
      this.info.textContent = describe(this.card, map);
    }
  }

  // With the picture's size, so that nothing moves when it has been loaded.
  function copyOf(still) {
    const image = element("img", { alt: still.alt });
    for (const name of ["width", "height", "src"]) if (still.hasAttribute(name)) image.setAttribute(name, still.getAttribute(name));
    return image;
  }

  function cellIn(overlay, [left, top, right, bottom]) {
    const cell = document.createElementNS(SVG, "rect");
    cell.setAttribute("x", left);
    cell.setAttribute("y", top);
    cell.setAttribute("width", right - left);
    cell.setAttribute("height", bottom - top);
    overlay.append(cell);
    return cell;
  }

  // The longest word is often one that can be seen; which it is does not depend on any method.
  function firstWord(maps) {
    return maps.reduce((best, map, n) => (/^[[<]/.test(map.title) || map.title.length <= maps[best].title.length ? best : n), 0);
  }

  // Show a word on one side, and the same word on the other.
  function both(side, number, pin) {
    const own = sides.get(side.article);
    for (const name of SIDES) {
      const one = own[name];
      if (!one.maps.length) continue;
      const same = one === side ? number : counterpart(side, number, one);
      if (pin && same !== null) one.pinned = same;
      one.show(same === null ? one.pinned : same);
    }
    if (pin) remember(side.pair, number);
  }

  // The place of a word among the words of another method, whose tokens may differ; null where it has none.
  function counterpart(side, number, other) {
    const title = side.maps[number]?.title;
    if (other.maps[number]?.title === title) return number;
    const before = side.maps.slice(0, number).filter((map) => map.title === title).length;
    const places = other.maps.flatMap((map, n) => (map.title === title ? [n] : []));
    return places.length > before ? places[before] : null;
  }

  function remember(pair, word) {
    const parts = new URLSearchParams({ a: data.methods[chosen.a].run, b: data.methods[chosen.b].run });
    if (modes.a !== "0") parts.set("showA", modes.a);
    if (modes.b !== "0") parts.set("showB", modes.b);
    if (pair !== undefined) { parts.set("pair", pair + 1); parts.set("word", word); }
    history.replaceState(null, "", `#${parts}`);
  }

  function drawArticle(article) {
    drawn.add(article);
    for (const name of SIDES) sides.get(article)[name].draw();
  }

  // Choosers of method and view, one pair of each for the whole page.
  function controls() {
    const place = document.getElementById("compare");
    for (const name of SIDES) {
      const method = element("select", { id: `method-${name}` });
      data.methods.forEach(({ label }, number) => {
        const option = element("option", { value: number });
        option.textContent = label;
        method.append(option);
      });
      method.value = chosen[name];
      const view = element("select", { id: `view-${name}` });
      fillViews(view, name);
      method.addEventListener("change", () => { chosen[name] = Number(method.value); modes[name] = "0"; fillViews(view, name); redraw(); });
      view.addEventListener("change", () => { modes[name] = view.value; redraw(); });
      const title = name === "a" ? "Left" : "Right";
      view.setAttribute("aria-label", `What the method on the ${title.toLowerCase()} shows`);
      place.append(element("div", { class: "choice" }, element("label", { for: method.id }, title), method, view));
    }
    place.hidden = false;
    document.getElementById("legend").hidden = false;
    legend();
  }

  // What the colour means for each side's method.
  function legend() {
    const place = document.getElementById("legend");
    place.replaceChildren(...SIDES.map((name) => {
      const said = element("p", { class: "notes" });
      const card = data.cards.map((cards) => cards[chosen[name]]).find(Boolean);
      said.textContent = card ? legendOf(card, modes[name]) : "";
      return said;
    }));
  }

  function fillViews(view, name) {
    const card = data.cards.map((cards) => cards[chosen[name]]).find(Boolean);
    view.replaceChildren();
    for (const [value, title] of card ? modesOf(card) : []) {
      const option = element("option", { value });
      option.textContent = title;
      view.append(option);
    }
    if (![...view.options].some((option) => option.value === modes[name])) modes[name] = "0";
    view.value = modes[name];
  }

  function redraw() {
    for (const own of sides.values()) for (const name of SIDES) own[name].pinned = null;
    for (const article of drawn) drawArticle(article);
    legend();
    remember();
  }

  controls();
  for (const article of articles) {
    const own = { a: new Side("a", article), b: new Side("b", article) };
    sides.set(article, own);
    const holder = element("div", { class: "sides" }, own.a.root, own.b.root);
    article.querySelector(".still").after(holder);
    article.classList.add("live");
  }
  const watcher = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (isIntersecting && !drawn.has(target)) drawArticle(target);
    }
  }, { rootMargin: "600px" });
  articles.forEach((article) => watcher.observe(article));
  window.addEventListener("beforeprint", () => articles.filter((article) => !drawn.has(article)).forEach(drawArticle));

  const linked = articles[Number(address.get("pair")) - 1];
  if (linked) {
    articles.slice(0, articles.indexOf(linked) + 1).forEach(drawArticle); // so that nothing above it grows any more
    const side = sides.get(linked).a;
    if (side.maps[Number(address.get("word"))]) both(side, Number(address.get("word")), true);
    linked.scrollIntoView();
  }
})();
