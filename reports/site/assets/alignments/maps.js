// What an alignment card holds, as maps over the cells of a picture, and in words. Nothing is drawn here.
"use strict";

window.itmMaps = (data) => {
  // Ways to look at a card that are not one of its method's directions.
  const REGIONS = "regions", GATES = "gates";
  const REGIONS_SAY = "Where each region looks that the method gathers from the cells: its weights add up to 1 over the cells.";
  const GATES_SAY = "Gates of the cells: how far the method lets each one in, from 0 to 1. The colour is the gate itself.";

  const decimals = (value, digits) => value.toFixed(digits).replace("-", "−");
  const share = (units, digits = 2) => decimals(units / data.unit, digits);
  const largest = (values) => values.reduce((a, b) => Math.max(a, b), 0);
  const bestOf = (values) => { const top = largest(values); return top > 0 ? values.indexOf(top) : -1; };

  // How many cells an even map of the same entropy would cover.
  function covers(values) {
    const total = values.reduce((a, b) => a + b, 0);
    if (!total) return 0;
    const entropy = values.filter(Boolean).reduce((sum, v) => sum - (v / total) * Math.log(v / total), 0);
    return Math.exp(entropy);
  }

  // What a card offers to look at: [key, title].
  function modesOf(card) {
    const found = card.modes.map((mode, number) => [String(number), mode.kind]);
    if (card.regions) found.push([REGIONS, `the ${card.regions.length} regions that it gathers`]);
    if (card.cellGates) found.push([GATES, "gates of the cells"]);
    return found;
  }

  // The maps of a card in a mode: one per button.
  function mapsOf(card, mode) {
    if (mode === REGIONS && card.regions) return card.regions.map((weights, n) => regionMap(card, weights, n));
    if (mode === GATES && card.cellGates) {
      return [{ title: "gates", weights: card.cellGates, top: data.unit, said: "" }];
    }
    const direction = card.modes[Number(mode)] || card.modes[0];
    const scores = direction.scores;
    const highest = scores ? Math.max(...scores.map(Math.abs)) : 0;
    return card.words.map((word, n) => ({
      title: word,
      weights: direction.weights[n],
      over: direction.over,
      score: scores && highest ? Math.max(0, scores[n]) / highest : null,
      gate: card.gates ? card.gates[n] / data.unit : null,
      more: [
        scores ? `score ${decimals(scores[n], 3)}` : "",
        card.gates ? `gate ${share(card.gates[n])}` : "",
      ],
    }));
  }

  function regionMap(card, weights, number) {
    let said = "";
    if (card.wordRegions) {
      const readers = card.words.map((word, n) => [word, card.wordRegions[n][number]]).filter(([, w]) => w > 0);
      readers.sort((one, other) => other[1] - one[1]);
      said = readers.length
        ? `Read most by ${readers.slice(0, 4).map(([word, w]) => `“${word}” (${share(w)})`).join(", ")}.`
        : "No word reads it.";
    }
    return { title: `region ${number + 1}`, weights, said };
  }

  // A map in words: where it is strongest, how many cells it covers or takes, and what else is known.
  function describe(card, map) {
    const best = bestOf(map.weights);
    const taken = map.over === "words"; // each cell looks for a word
    const more = (map.more || []).filter(Boolean).map((text) => `; ${text}`).join("");
    const end = `${more}.${map.said ? ` ${map.said}` : ""}`;
    if (best < 0) return `“${map.title}” ${taken ? "is taken by no cell" : "looks at nothing"}${end}`;
    const count = taken ? map.weights.reduce((a, b) => a + b, 0) / data.unit : covers(map.weights);
    const cells = `${taken ? "taken by" : "covers"} ${counted(count)} of ${map.weights.length} cells`;
    return `“${map.title}”: most at ${data.places[card.places][best]} (${share(map.weights[best])}); ${cells}${end}`;
  }

  // A whole number as one, a small other one with a decimal.
  const counted = (value) => decimals(value, value < 9.95 && Math.abs(value - Math.round(value)) > 0.05 ? 1 : 0);

  // What the colour means.
  function legendOf(card, mode) {
    return { [REGIONS]: REGIONS_SAY, [GATES]: GATES_SAY }[mode] || card.modes[Number(mode)]?.says || "";
  }

  return { modesOf, mapsOf, describe, legendOf, share, largest, bestOf };
};
