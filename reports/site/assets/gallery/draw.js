"use strict";
// Queries and their results as elements. Every text is untrusted and goes in by textContent or as an attribute.
(() => {
  const SIGNS = { own: "✓ truth", also: "○ also correct", wrong: "✗" };

  function element(tag, attributes, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (name === "text") made.textContent = value;
      else if (value !== null && value !== undefined && value !== "") made.setAttribute(name, value);
    }
    made.append(...children.filter((child) => child !== null && child !== undefined));
    return made;
  }

  const grouped = (number) => number.toLocaleString("en-US");

  /** As `rank_words` of the page without a script. */
  function rankWords(rank, level, direction, depth) {
    if (rank === null) return `truth beyond rank ${depth}`;
    const noun = direction === "i2t" ? "caption" : "image";
    const tied = level ? `, tied with ${grouped(level)} wrong ${noun}${level === 1 ? "" : "s"}` : "";
    return rank === 1 ? `truth first${tied}` : `truth at rank ${Number.isInteger(rank) ? grouped(rank) : rank.toFixed(1)}${tied}`;
  }

  /** Draws for one split; `pictures` is the address of their folder. */
  function painter(split, pictures) {
    function tile(image, name) {
      const id = split.images[image];
      const alt = split.own[image].length ? split.captions[split.own[image][0]] : id;
      const gone = () => element("span", { class: `${name} gone`, role: "img", "aria-label": alt, text: id });
      if (!split.hasPicture(image)) return gone();
      const shown = element("img", { class: name, alt, title: alt, width: 160, height: 120, loading: "lazy", src: `${pictures}/${image}.jpg` });
      shown.addEventListener("error", () => shown.replaceWith(gone()), { once: true });
      return shown;
    }

    function asked(direction, row, truth) {
      if (direction === "t2i") {
        const image = split.captionImage[row];
        const figure = truth ? element("figure", { class: "truth" }, tile(image, "shot-small"), element("figcaption", { text: "✓ truth" })) : null;
        return element("div", { class: "asked" }, element("p", { class: "asking", text: split.captions[row] }), figure);
      }
      const own = split.own[row];
      const list = element("ul", {}, ...own.map((caption) => element("li", { text: split.captions[caption] })));
      const details = element("details", {}, element("summary", { text: `its ${own.length} captions` }), list);
      return element("div", { class: "asked" }, tile(row, "asking"), details);
    }

    function result(direction, found) {
      const shown = direction === "t2i" ? tile(found.item, "shot-small") : element("span", { class: "text", text: split.captions[found.item] });
      const said = element("span", { class: "said" });
      if (found.place) said.append(element("b", { text: String(found.place) }), " ");
      const title = found.mark === "also" ? found.source : found.mark === "wrong" ? "not known to be correct" : "";
      said.append(element("span", { class: "sign", title, text: SIGNS[found.mark] }));
      if (found.by) said.append(element("span", { class: "by", text: found.by }));
      if (found.score) said.append(element("span", { class: "score", text: found.score }));
      return element("li", { class: found.mark }, shown, said);
    }

    function strip(direction, { label, rank, results, extra }) {
      const heading = element("h3", { class: "strip" }, element("span", { text: label }), " ", element("span", { class: "rank", text: rank }));
      const list = element("ol", { class: "results", tabindex: 0, "aria-label": label }, ...results.map((found) => result(direction, found)));
      return [heading, list, extra ? element("p", { class: "own notes", text: extra }) : null];
    }

    /** One query: `strips` with label, rank in words, and results; `truth`: whether its picture is shown beside it. */
    function query(direction, row, { strips, truth }) {
      const found = element("div", { class: "answered" }, ...strips.flatMap((shown) => strip(direction, shown)).filter(Boolean));
      return element("article", { class: `query ${direction}` }, asked(direction, row, truth), found);
    }

    return { query };
  }

  window.itmDraw = { element, grouped, rankWords, painter };
})();
