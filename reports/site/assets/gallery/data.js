"use strict";
// Data of a gallery: what the page says about itself, and scripts that hand over the rest when it is needed.
// A page opened from a file may not fetch, but it may load scripts that lie beside it.
(() => {
  const waiting = new Map();
  const received = new Map();

  /** Called by the data files. */
  window.itmReceive = (name, data) => {
    received.set(name, data);
  };

  /** The data of one file, `{name, address}`; loaded once. */
  function load(file) {
    if (!waiting.has(file.name)) {
      waiting.set(file.name, new Promise((resolve, reject) => {
        const script = document.createElement("script");
        script.src = file.address.split("/").map(encodeURIComponent).join("/");
        script.onload = () => received.has(file.name) ? resolve(received.get(file.name)) : reject(new Error(`${file.address} holds other data`));
        script.onerror = () => reject(new Error(`${file.address} is missing; run itm site again`));
        document.head.append(script);
      }));
    }
    return waiting.get(file.name);
  }

  const WORD = /[\p{L}\p{N}]+(?:['’-][\p{L}\p{N}]+)*/gu;
  const wordsOf = (text) => (text.toLowerCase().match(WORD) || []);

  /** The split with what is derived from it: the captions of each image, and of each query what filters ask for. */
  function split(raw) {
    const own = raw.images.map(() => []);
    raw.captionImage.forEach((image, caption) => own[image].push(caption));
    const missing = new Set(raw.missing);
    const imageWords = own.map((rows) => rows.length ? rows.reduce((sum, row) => sum + raw.words[row], 0) / rows.length : null);
    let bags = null;
    const bag = (caption) => {
      bags = bags || raw.captions.map(wordsOf);
      return bags[caption];
    };
    return {
      ...raw,
      own,
      size: { i2t: raw.images.length, t2i: raw.captions.length },
      /** Rows of the queries that are listed. */
      rows: (direction) => raw.listed ? raw.listed[direction] : [...Array(direction === "i2t" ? raw.images.length : raw.captions.length).keys()],
      hasPicture: (image) => !missing.has(image),
      words: { i2t: imageWords, t2i: raw.words },
      objects: (direction, row) => raw.clutter ? raw.clutter[direction === "i2t" ? row : raw.captionImage[row]] : null,
      /** Whether a caption of the query has, for each term, a word that begins with it. */
      says: (direction, row, terms) => (direction === "i2t" ? own[row] : [row]).some(
        (caption) => terms.every((term) => bag(caption).some((word) => word.startsWith(term)))),
    };
  }

  /** The first results of one run: by direction, a function from a query's row to its results. */
  function run(raw, shared) {
    const step = 10 ** raw.decimals;
    const side = (direction) => {
      const part = raw[direction];
      const own = new Set(part.own);
      const also = new Map(Object.entries(part.also).flatMap(([source, places]) => places.map((place) => [place, Number(source)])));
      const place = new Map(shared.rows(direction).map((row, index) => [row, index]));
      const margin = (row) => {
        const value = part.margin[place.get(row)];
        return value === null || value === undefined ? null : value / step;
      };
      const results = (row) => Array.from({ length: part.kept }, (_, k) => {
        const index = place.get(row) * part.kept + k;
        const mark = own.has(index) ? "own" : also.has(index) ? "also" : "wrong";
        return { item: part.top[index], score: part.score[index] / step, mark, source: also.has(index) ? shared.sources[also.get(index)] : "" };
      });
      return { results, margin, digits: Math.min(raw.decimals, 3), hasUnlabelled: (row) => results(row).some((found) => found.mark === "also") };
    };
    return { i2t: side("i2t"), t2i: side("t2i") };
  }

  window.itmGallery = { load, split, run, wordsOf };
})();
