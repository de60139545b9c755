"use strict";
// Which queries are listed, and in which order: the state of the controls, and what it selects. No element is touched here.
(() => {
  const PAIR = { a: "A alone", b: "B alone", both: "both", neither: "neither", all: "all" };
  const TEXTS = ["run", "a", "b", "direction", "show", "sort", "word", "words", "objects", "rank"];
  const FLAGS = ["also", "steady"];

  /** The state that an address holds, as text: "#a=grm&b=scan&direction=t2i&words=8-12". */
  function read(hash) {
    const given = new URLSearchParams(hash.replace(/^#/, ""));
    const state = {};
    for (const key of TEXTS) if (given.get(key)) state[key] = given.get(key);
    for (const key of FLAGS) if (given.get(key) === "1") state[key] = true;
    return state;
  }

  /** The address of a state, without what is as at the beginning. */
  function written(state, defaults) {
    const given = new URLSearchParams();
    for (const key of TEXTS) if (state[key] && state[key] !== defaults[key]) given.set(key, state[key]);
    for (const key of FLAGS) if (state[key]) given.set(key, "1");
    return given.toString();
  }

  /** "5-9", "5-", "-9" or "" as bounds, both included. */
  function bounds(text) {
    const [low, high] = (text || "").split("-").map((part) => part.trim());
    const number = (part, otherwise) => part && Number.isFinite(Number(part)) ? Number(part) : otherwise;
    return [number(low, -Infinity), number(high, Infinity)];
  }

  const within = (value, [low, high]) => value !== null && value !== undefined && value >= low && value <= high;
  const isOpen = ([low, high]) => low === -Infinity && high === Infinity;

  /** A rank that is not known lies beyond all that are listed. */
  const rankOf = (rank) => rank === null ? Infinity : rank;

  /**
   * The rows of the queries that a state keeps, sorted.
   *
   * @param split of `itmGallery.split`
   * @param view its `rank(row)`, `keeps(row)`, `hasUnlabelled(row)` and `orders`, {name: row => number}, lowest first
   * @param state of `read`
   */
  function select(split, view, state) {
    const direction = state.direction;
    const terms = window.itmGallery.wordsOf(state.word || "");
    const tests = [];
    if (terms.length) tests.push((row) => split.says(direction, row, terms));
    const ranges = { words: (row) => split.words[direction][row], objects: (row) => split.objects(direction, row), rank: (row) => rankOf(view.rank(row)) };
    for (const [key, value] of Object.entries(ranges)) {
      const range = bounds(state[key]);
      if (!isOpen(range)) tests.push((row) => within(value(row), range));
    }
    if (state.also) tests.push(view.hasUnlabelled);
    const rows = split.rows(direction).filter((row) => view.keeps(row) && tests.every((test) => test(row)));
    const order = view.orders[state.sort];
    if (!order) return rows;
    const keys = new Map(rows.map((row) => [row, order(row)]));
    return rows.sort((x, y) => compare(keys.get(x), keys.get(y)) || x - y);
  }

  function compare(x, y) {
    return x === y ? 0 : x < y ? -1 : 1;
  }

  window.itmSelect = { PAIR, read, written, bounds, select, rankOf };
})();
