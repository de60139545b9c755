"use strict";
// What a page lists: the queries of one run, of a pair of methods, or of all methods. Each view tells, for one state of
// the controls, the rank of a query, whether it is kept, in which orders it may come, and what is shown of it.
(() => {
  const { rankOf } = window.itmSelect;
  const { grouped, rankWords } = window.itmDraw;
  const DEPTH = 10; // results kept per run: what lies beyond is not known where a run has no ranks
  const NOUN = { i2t: "image", t2i: "caption" };

  const counted = (number, noun) => `${grouped(number)} ${noun}${number === 1 ? "" : "s"}`;
  const methodOf = (split, name) => split.methods.find((method) => method.label === name || method.runs.some((run) => run.id === name));

  /** What is shown of one run under a query. */
  function stripOf(split, ranks, run, runId, label, direction, row) {
    const side = run[direction];
    const truth = ranks[runId][direction];
    const results = side.results(row).map((found, index) => ({ ...found, place: index + 1, score: found.score.toFixed(side.digits) }));
    const best = direction === "i2t" && run.best && !results.some((found) => found.mark === "own") ? run.best.get(row) : undefined;
    return {
      label,
      rank: rankWords(truth.rank[row], truth.level[row] || 0, direction, DEPTH),
      results,
      extra: best === undefined ? "" : `✓ best own caption: ${split.captions[best]}`,
    };
  }

  const orders = {
    rank: "rank of the truth, worst first",
    easy: "rank of the truth, best first",
    margin: "margin: best wrong score minus the truth's",
    gap: "difference of the two ranks, largest first",
    row: "order of the dataset",
  };

  /** One run: all its queries. */
  function run({ split, ranks, loaded, state }) {
    const found = loaded[state.run];
    const rank = (row) => ranks[state.run][state.direction].rank[row];
    const title = split.methods.flatMap((m) => m.runs.map((r) => [r.id, `${m.label} seed ${r.seed}`])).find(([id]) => id === state.run)[1];
    const side = found[state.direction];
    return {
      rank,
      keeps: () => true,
      hasUnlabelled: side.hasUnlabelled,
      orders: { rank: (row) => -rankOf(rank(row)), easy: (row) => rankOf(rank(row)), margin: (row) => { const m = side.margin(row); return m === null ? Infinity : -m; } },
      show: (row) => {
        const strip = stripOf(split, ranks, found, state.run, title, state.direction, row);
        return { strips: [strip], truth: !strip.results.some((one) => one.mark === "own") };
      },
      summary: () => {
        const all = ranks[state.run][state.direction].rank;
        return `${title} ranks the truth first for ${grouped(all.filter((r) => r === 1).length)} of ${counted(all.length, NOUN[state.direction])}.`;
      },
    };
  }

  /** The runs of two methods by common seed; their first runs where they share none. */
  function seedsOf(a, b) {
    const common = a.runs.flatMap((one) => b.runs.filter((other) => other.seed === one.seed).map((other) => [one, other]));
    return common.length ? common : [[a.runs[0], b.runs[0]]];
  }

  /** Two methods: the queries that one is right for and the other is not. */
  function pair({ split, ranks, loaded, state, said }) {
    const [a, b] = [methodOf(split, state.a), methodOf(split, state.b)];
    const seeds = seedsOf(a, b);
    const direction = state.direction;
    const part = (row, [one, other]) => {
      const [x, y] = [ranks[one.id][direction].rank[row], ranks[other.id][direction].rank[row]];
      if (x === null || y === null) return "unknown";
      return x === 1 ? (y === 1 ? "both" : "a") : y === 1 ? "b" : "neither";
    };
    const [first, second] = seeds[0];
    const rank = (row) => ranks[first.id][direction].rank[row];
    const other = (row) => ranks[second.id][direction].rank[row];
    const isKept = (row) => state.show === "all" || part(row, seeds[0]) === state.show;
    const isSteady = (row) => seeds.every((pairOfRuns) => part(row, pairOfRuns) === part(row, seeds[0]));
    const strip = (method, run_, row) => stripOf(split, ranks, loaded[run_.id], run_.id, method.label, direction, row);
    return {
      rank,
      keeps: (row) => isKept(row) && (!state.steady || isSteady(row)),
      hasUnlabelled: (row) => [first, second].some((one) => loaded[one.id][direction].hasUnlabelled(row)),
      orders: {
        gap: (row) => rankOf(rank(row)) === rankOf(other(row)) ? 0 : -Math.abs(rankOf(rank(row)) - rankOf(other(row))),
        rank: (row) => -rankOf(rank(row)), easy: (row) => rankOf(rank(row)),
      },
      show: (row) => {
        const strips = [strip(a, first, row), strip(b, second, row)];
        return { strips, truth: !strips.some((one) => one.results.some((result) => result.mark === "own")) };
      },
      summary: () => {
        const counts = { a: 0, b: 0, both: 0, neither: 0, unknown: 0 };
        const steady = { a: 0, b: 0, both: 0, neither: 0, unknown: 0 };
        for (let row = 0; row < split.size[direction]; row += 1) {
          const found = part(row, seeds[0]);
          counts[found] += 1;
          if (seeds.length > 1 && isSteady(row)) steady[found] += 1;
        }
        const total = counts.a + counts.b + counts.both + counts.neither;
        const which = first.seed === second.seed ? `seed ${first.seed}` : `seeds ${first.seed} and ${second.seed}`;
        const known = said.find((one) => one.direction === direction && [one.a, one.b].includes(a.label) && [one.a, one.b].includes(b.label));
        const common = known && a !== b ? known.said : "";
        const held = seeds.length > 1 ? ` At each of ${seeds.length} common seeds ${a.label} alone is right for ${grouped(steady.a)}, ${b.label} alone for ${grouped(steady.b)}.` : "";
        return `Of ${counted(total, NOUN[direction])}, ${a.label} alone is right first for ${grouped(counts.a)}, ${b.label} alone for ${grouped(counts.b)}, both for ${grouped(counts.both)}, neither for ${grouped(counts.neither)} (${which}).${held}${common ? ` ${common}` : ""}`;
      },
    };
  }

  /** All methods, one run each: queries by their median rank. */
  function all({ split, ranks, loaded, state, median }) {
    const direction = state.direction;
    const rank = (row) => median[direction][row];
    const chosen = split.methods.map((method) => [method.label, method.chosen]);
    const shortRank = (id, row) => { const r = ranks[id][direction].rank[row]; return r === null ? `> ${DEPTH}` : Number.isInteger(r) ? grouped(r) : r.toFixed(1); };
    return {
      rank,
      keeps: () => true,
      hasUnlabelled: (row) => chosen.some(([, id]) => loaded[id][direction].results(row)[0].mark === "also"),
      orders: {
        rank: (row) => -rank(row) + 1e-6 * -chosen.filter(([, id]) => ranks[id][direction].rank[row] !== 1).length,
        easy: rank,
      },
      show: (row) => {
        const items = new Map();
        for (const [label, id] of chosen) {
          const found = loaded[id][direction].results(row)[0];
          items.set(found.item, { ...found, score: "", place: 0, labels: [...(items.get(found.item)?.labels || []), label] });
        }
        const results = [...items.values()].sort((x, y) => y.labels.length - x.labels.length || x.item - y.item);
        for (const found of results) found.by = `${found.labels.length} of ${chosen.length}: ${found.labels.join(", ")}`;
        const said = chosen.map(([label, id]) => `${label} ${shortRank(id, row)}`).join("; ");
        return { strips: [{ label: "What the methods put first", rank: `rank of the truth: ${said}`, results }], truth: true };
      },
      summary: () => `The median rank of the truth over ${counted(chosen.length, "method")} orders ${counted(split.size[direction], NOUN[direction])}.`,
    };
  }

  /** The runs whose results a view shows. */
  function needed(kind, split, state) {
    if (kind === "run") return [state.run];
    if (kind === "all") return split.methods.map((method) => method.chosen);
    return seedsOf(methodOf(split, state.a), methodOf(split, state.b))[0].map((one) => one.id);
  }

  window.itmViews = {
    make: { run, pair, all },
    needed,
    methodOf,
    orders,
    offered: { run: ["rank", "easy", "margin", "row"], pair: ["gap", "rank", "easy", "row"], all: ["rank", "easy", "row"] },
  };
})();
