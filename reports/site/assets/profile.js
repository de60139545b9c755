"use strict";
// A slider for the latency budget above each chart of accuracy against latency: what lies beyond the budget fades, and a
// line says in words which method is best within it. The marks of the chart carry the values.

(() => {
  const STEPS = 400; // of the slider, over the logarithm of the latencies
  const significant = (value) =>
    Number(value.toPrecision(3)).toLocaleString("en", { maximumSignificantDigits: 3, useGrouping: true });
  const milliseconds = (value) => `${significant(value)} ms`;

  /** The points of a chart by label: one per method, however many marks show it. */
  function pointsOf(chart) {
    const points = new Map();
    for (const mark of chart.querySelectorAll('[data-axis="latency"][data-label]')) {
      const { label, x, rsum, rsumLow, rsumHigh, noisy } = mark.dataset;
      const point = { label, ms: Number(x), rsum: Number(rsum), low: rsumLow, high: rsumHigh, noisy: noisy === "true" };
      if (point.ms > 0 && Number.isFinite(point.ms) && Number.isFinite(point.rsum)) points.set(label, point);
    }
    return [...points.values()];
  }

  /** The highest rSum within a budget, the faster of equals; a noisy time decides nothing. */
  function bestWithin(points, budget) {
    const able = points.filter((point) => !point.noisy && point.ms <= budget);
    return able.sort((a, b) => b.rsum - a.rsum || a.ms - b.ms)[0];
  }

  function verdict(points, budget) {
    const best = bestWithin(points, budget);
    const hollow = points.filter((point) => point.noisy && point.ms <= budget).length;
    const left = hollow === 0 ? "" : ` ${hollow} hollow ${hollow === 1 ? "point is" : "points are"} left out: timed on a busy machine.`;
    if (!best) return `No method satisfies latency ≤ ${milliseconds(budget)}.${left}`;
    const interval = best.low && best.high ? ` [${Number(best.low).toFixed(1)}, ${Number(best.high).toFixed(1)}]` : "";
    return `Best within ${milliseconds(budget)} per query: ${best.label}, rSum ${best.rsum.toFixed(1)}${interval}, ${milliseconds(best.ms)}.${left}`;
  }

  function fade(section, chart, points, budget) {
    const beyond = new Set(points.filter((point) => point.ms > budget).map((point) => point.label));
    for (const mark of chart.querySelectorAll("[data-label]")) mark.classList.toggle("beyond", beyond.has(mark.dataset.label));
    for (const row of section.querySelectorAll('table[data-key^="points"] tbody tr')) {
      const cell = row.querySelector(".pinned");
      const name = (cell?.querySelector(".main") ?? cell)?.textContent.trim();
      row.classList.toggle("beyond", beyond.has(name));
    }
  }

  function addSlider(figure, number) {
    const chart = figure.querySelector("svg");
    const points = pointsOf(chart);
    if (points.length < 2) return;
    const times = points.map((point) => point.ms);
    // From below the fastest, where nothing is left, to above the slowest, where everything is.
    const [low, high] = [Math.log(0.8 * Math.min(...times)), Math.log(1.05 * Math.max(...times))];

    const box = document.createElement("div");
    box.className = "budget";
    const label = document.createElement("label");
    label.htmlFor = `budget${number}`;
    label.textContent = "Latency budget";
    const input = document.createElement("input");
    Object.assign(input, { type: "range", id: `budget${number}`, min: "0", max: String(STEPS), value: String(STEPS) });
    const shown = document.createElement("output");
    shown.htmlFor.add(input.id);
    const said = document.createElement("p");
    said.setAttribute("role", "status");
    box.append(label, input, shown, said);
    figure.prepend(box);

    const update = () => {
      // What is compared is what is printed.
      const budget = Number(Math.exp(low + ((high - low) * Number(input.value)) / STEPS).toPrecision(3));
      shown.textContent = `${milliseconds(budget)} per query`;
      input.setAttribute("aria-valuetext", shown.textContent);
      said.textContent = verdict(points, budget);
      fade(figure.closest("section") ?? document, chart, points, budget);
    };
    input.addEventListener("input", update);
    update();
  }

  document.querySelectorAll("figure.plot").forEach((figure, number) => {
    if (figure.querySelector('svg [data-axis="latency"]')) addSlider(figure, number);
  });
})();
