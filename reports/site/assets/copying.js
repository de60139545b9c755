"use strict";
// A table for the clipboard, as LaTeX, Markdown or CSV. All cells come escaped from Python; here they are put together.

(() => {
  // A cell of the copies is [LaTeX, Markdown, CSV], or one text where all agree.
  const medium = (cell, number) => (Array.isArray(cell) ? cell[number] : cell);

  /**
   * Rows whose value is the best of a column, as sets by column.
   * @param copies of the table, see harness/reports/document/copying.py
   * @param values by row and column: numbers, or null
   */
  function best(copies, rows, columns, values) {
    return new Map(columns.map((column) => {
      const { better } = copies.columns[column];
      // What cannot be the best has no parts: it is missing, or noise.
      const able = rows.filter((row) => Array.isArray(medium(copies.rows[row][column], 0)) && values[row][column] !== null);
      if (!better || able.length < 2) return [column, new Set()];
      const found = able.map((row) => values[row][column]);
      const target = better === "higher" ? Math.max(...found) : Math.min(...found);
      // Values that are printed alike are equally good for a reader.
      const printed = medium(copies.rows[able[found.indexOf(target)]][column], 0)[1];
      return [column, new Set(able.filter((row) => medium(copies.rows[row][column], 0)[1] === printed))];
    }));
  }

  function latex(copies, rows, columns, values) {
    const bold = best(copies, rows, columns, values);
    const cell = (row, column) => {
      const text = medium(copies.rows[row][column], 0);
      if (!Array.isArray(text)) return text;
      return text[0] + (bold.get(column).has(row) ? `\\textbf{${text[1]}}` : text[1]) + text[2];
    };
    const shown = columns.map((column) => copies.columns[column]);
    const spans = groups(shown);
    const lines = [`\\begin{tabular}{@{}${shown.map((column) => (column.numeric ? "r" : "l")).join("")}@{}}`, "  \\toprule"];
    if (spans.some(({ name }) => name)) {
      lines.push(`  ${spans.map(({ name, size }) => (name ? `\\multicolumn{${size}}{c}{${name}}` : " & ".repeat(size - 1))).join(" & ")} \\\\`);
      lines.push(`  ${spans.filter(({ name }) => name).map(({ start, size }) => `\\cmidrule(lr){${start}-${start + size - 1}}`).join(" ")}`);
    }
    lines.push(`  ${shown.map(({ title, numeric }) => `\\multicolumn{1}{${numeric ? "c" : "l"}}{${title[0]}}`).join(" & ")} \\\\`, "  \\midrule");
    for (const row of rows) lines.push(`  ${columns.map((column) => cell(row, column)).join(" & ")} \\\\`);
    lines.push("  \\bottomrule", "\\end{tabular}");
    return ["% Needs \\usepackage[T1]{fontenc} and \\usepackage{booktabs}.", ...lines, ""].join("\n");
  }

  // Neighbours of one group share a heading.
  function groups(shown) {
    const spans = [];
    shown.forEach(({ group }, number) => {
      const last = spans.at(-1);
      if (last && last.name === group[0]) last.size += 1;
      else spans.push({ name: group[0], start: number + 1, size: 1 });
    });
    return spans;
  }

  function markdown(copies, rows, columns) {
    const line = (cells) => `| ${cells.join(" | ")} |`;
    const shown = columns.map((column) => copies.columns[column]);
    const titles = shown.map(({ group, title }) => (group[1] ? `${group[1]}: ${title[1]}` : title[1]));
    const sides = shown.map(({ numeric }) => (numeric ? "--:" : ":--"));
    const body = rows.map((row) => line(columns.map((column) => medium(copies.rows[row][column], 1))));
    return [line(titles), line(sides), ...body, ""].join("\n");
  }

  function csv(copies, rows, columns) {
    const head = columns.map((column) => copies.columns[column].csv).join(",");
    const body = rows.map((row) => columns.map((column) => medium(copies.rows[row][column], 2)).join(","));
    return [head, ...body, ""].join("\n");
  }

  window.itmCopying = { LaTeX: latex, Markdown: markdown, CSV: csv };
})();
