"use strict";
// Tables: sorted by their raw values, filtered, with chosen columns, copied as LaTeX, Markdown or CSV. Without scripts
// a table is whole. DataTables sorts, filters and hides; it sees no text as HTML, only the values collected here.

(() => {
  const FEW = 6; // rows of a table that needs no filter
  const MISSING = "—";
  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

  // Missing values come last in either direction.
  function ordered(compare, sign) {
    return (a, b) => {
      if (a === null || b === null) return (a === null) - (b === null);
      return sign * compare(a, b);
    };
  }
  for (const [name, compare] of [["itm-number", (a, b) => a - b], ["itm-text", (a, b) => collator.compare(a, b)]]) {
    DataTable.type(name, { order: { asc: ordered(compare, 1), desc: ordered(compare, -1) }, className: "" });
  }
  DataTable.ext.errMode = "none";

  function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key in made && key !== "list") made[key] = value;
      else made.setAttribute(key, value);
    }
    made.append(...children);
    return made;
  }

  class Sheet {
    constructor(table) {
      this.table = table;
      this.scroll = table.closest(".scroll");
      this.box = table.closest(".table") ?? this.scroll.parentElement;
      this.headings = [...table.tHead.rows].at(-1).cells;
      this.titles = this.names();
      const rows = [...table.tBodies[0].rows];
      this.texts = rows.map((row) => [...row.cells].map((cell) => cell.textContent.trim().replace(/\s+/g, " ")));
      const plain = rows.map((row) => [...row.cells].map(written));
      this.values = rows.map((row, number) => [...row.cells].map((cell, column) => this.value(cell, plain[number][column])));
      const block = this.scroll.nextElementSibling;
      this.copies = block?.matches("script.copies") ? JSON.parse(block.textContent) : null;
      // 0: the copy is what the page shows.
      this.copies?.rows.forEach((row, number) => row.forEach((copy, column) => { if (copy === 0) row[column] = plain[number][column]; }));
      this.hiddenToFit = [];
      this.start();
      this.tools();
      this.fit();
      this.watch();
    }

    // With the heading that spans a column, since several columns may be called R@1.
    names() {
      const spans = this.table.tHead.rows.length > 1 ? [...this.table.tHead.rows[0].cells].flatMap((cell) => Array(cell.colSpan).fill(cell.textContent.trim())) : [];
      return [...this.headings].map((cell, column) => (spans[column] ? `${spans[column]}: ` : "") + cell.textContent.trim());
    }

    value(cell, text) {
      if (cell.dataset.order !== undefined) return cell.dataset.order === "" ? null : Number(cell.dataset.order);
      if (text === MISSING || text === "") return null;
      return cell.classList.contains("num") ? Number(text) : text;
    }

    start() {
      const columns = [...this.headings].map((heading, column) => {
        const numeric = heading.classList.contains("num");
        return {
          targets: column,
          type: numeric ? "itm-number" : "itm-text",
          searchable: false,
          orderSequence: heading.dataset.first === "desc" ? ["desc", "asc", ""] : ["asc", "desc", ""],
          render: (data, kind, row, meta) => (kind === "sort" || kind === "type" ? this.values[meta.row][column] : data),
        };
      });
      this.grid = new DataTable(this.table, {
        columnDefs: columns, order: [], paging: false, info: false, autoWidth: false, searching: true,
        layout: { topStart: null, topEnd: null, bottomStart: null, bottomEnd: null },
        language: { zeroRecords: "No row holds these words." },
      });
      this.grid.search.fixed("words", (_, __, row) => this.holds(row));
      this.grid.on("order.dt search.dt", () => this.told());
      this.grid.on("column-visibility.dt", () => this.measure());
    }

    // Whether a row holds all words of the filter, in what is seen of it.
    holds(row) {
      const words = (this.filter?.value ?? "").toLowerCase().split(/\s+/).filter(Boolean);
      if (!words.length) return true;
      const text = this.visible().map((column) => this.texts[row][column]).join("  ").toLowerCase();
      return words.every((word) => text.includes(word));
    }

    visible() {
      return this.titles.map((_, column) => column).filter((column) => this.grid.column(column).visible());
    }

    rows() {
      return this.grid.rows({ order: "applied", search: "applied" }).indexes().toArray();
    }

    tools() {
      const name = this.table.closest(".scroll").getAttribute("aria-label") ?? "table";
      const bar = element("div", { className: "tools", role: "group" });
      bar.setAttribute("aria-label", `Tools of the table: ${name}`);
      if (this.texts.length >= FEW) {
        this.filter = element("input", { type: "search", placeholder: "Filter rows", autocomplete: "off" });
        this.filter.setAttribute("aria-label", "Filter the rows of this table");
        this.filter.addEventListener("input", () => this.grid.draw());
        bar.append(this.filter);
      }
      this.chooser = this.columnMenu();
      if (this.titles.length > 3) bar.append(this.chooser);
      if (this.copies) bar.append(this.copyMenu());
      this.state = element("p", { className: "state" });
      this.state.setAttribute("role", "status");
      const caption = this.box.querySelector(":scope > .caption");
      if (caption) {
        const head = element("div", { className: "head" });
        caption.before(head);
        head.append(caption, bar);
      } else {
        this.scroll.before(element("div", { className: "head" }, bar));
      }
      this.hint = element("p", { className: "hint", textContent: "Scroll sideways for more columns →", hidden: true });
      this.scroll.before(this.hint);
      this.frame = element("div", { className: "wide" });
      this.scroll.before(this.frame);
      this.frame.append(this.scroll);
      this.frame.after(this.state);
    }

    columnMenu() {
      const panel = element("div", { className: "panel" });
      this.boxes = this.titles.map((title, column) => {
        const box = element("input", { type: "checkbox", checked: true });
        box.addEventListener("change", () => {
          this.hiddenToFit = this.hiddenToFit.filter((other) => other !== column);
          this.show([column], box.checked);
        });
        panel.append(element("label", {}, box, element("span", { textContent: title })));
        return box;
      });
      const all = element("button", { type: "button", textContent: "Show all" });
      all.addEventListener("click", () => this.showAll());
      panel.append(element("hr"), all);
      return element("details", { className: "menu" }, element("summary", { textContent: "Columns" }), panel);
    }

    show(columns, visible) {
      for (const column of columns) {
        this.grid.column(column).visible(visible, false);
        this.boxes[column].checked = visible;
      }
      // One column must stay.
      const left = this.visible();
      this.boxes.forEach((box, column) => { box.disabled = left.length === 1 && left[0] === column; });
      this.grid.draw(false);
      this.measure();
      this.told();
    }

    showAll() {
      this.hiddenToFit = [];
      this.show(this.titles.map((_, column) => column), true);
    }

    copyMenu() {
      const panel = element("div", { className: "panel" });
      const menu = element("details", { className: "menu" }, element("summary", { textContent: "Copy" }), panel);
      for (const [medium, made] of Object.entries(window.itmCopying)) {
        const button = element("button", { type: "button", textContent: `as ${medium}` });
        button.addEventListener("click", async () => {
          const [rows, columns] = [this.rows(), this.visible()];
          const text = made(this.copies, rows, columns, this.values);
          if (await copied(text)) {
            menu.open = false;
            this.told(`Copied as ${medium}: ${counted(rows.length, "row")}, ${counted(columns.length, "column")}.`);
          } else this.offer(panel, text);
        });
        panel.append(button);
      }
      return menu;
    }

    // Where the browser gives no access to the clipboard, the text is there to be taken by hand.
    offer(panel, text) {
      panel.querySelector("textarea")?.remove();
      const area = element("textarea", { value: text, readOnly: true });
      area.setAttribute("aria-label", "Text to copy");
      panel.append(area);
      area.select();
      this.told("The browser gives no access to the clipboard; copy the selected text.");
    }

    // What differs from the table as it was written, in words.
    told(first = "") {
      if (!this.state) return;
      const [[column, direction] = []] = this.grid.order();
      const sorted = Boolean(direction);
      this.table.classList.toggle("reordered", sorted);
      const parts = [first];
      const rows = this.rows().length;
      if (rows < this.texts.length) parts.push(`${rows} of ${counted(this.texts.length, "row")}.`);
      if (sorted) {
        const bands = this.table.querySelector("tr.tiered") ? "; the band beside a row still says its tier" : "";
        parts.push(`Sorted by ${this.titles[column]}, ${direction === "asc" ? "ascending" : "descending"}${bands}.`);
      }
      parts.push(this.left());
      this.state.replaceChildren(parts.filter(Boolean).join(" "));
      if (sorted) this.state.append(" ", this.action("Original order", () => this.grid.order([]).draw()));
      if (this.visible().length < this.titles.length) this.state.append(" ", this.action("Show all columns", () => this.showAll()));
    }

    left() {
      const hidden = this.titles.map((_, column) => column).filter((column) => !this.grid.column(column).visible());
      if (!hidden.length) return "";
      const same = this.hiddenToFit.filter((column) => hidden.includes(column));
      const said = same.map((column) => (this.texts[0][column] === MISSING ? `${this.titles[column]} (empty)` : `${this.titles[column]} (${this.texts[0][column]} in every row)`));
      const other = hidden.filter((column) => !same.includes(column)).map((column) => this.titles[column]);
      return `Not shown: ${[...said, ...other].join(", ")}.`;
    }

    action(text, act) {
      const button = element("button", { type: "button", textContent: text });
      button.addEventListener("click", act);
      return button;
    }

    // A table that is too wide drops the columns that tell no two rows apart; what they hold is said below it.
    fit() {
      if (this.scroll.scrollWidth <= this.scroll.clientWidth + 1 || this.texts.length < 2) return;
      const same = (column) => this.texts.every((row) => row[column] === this.texts[0][column]);
      const spare = (column) => this.headings[column].dataset.spare;
      const free = this.titles.map((_, column) => column).filter((column) => same(column) && !this.headings[column].classList.contains("pinned"));
      const empty = free.filter((column) => this.texts[0][column] === MISSING);
      const equal = free.filter((column) => !empty.includes(column) && spare(column) && this.texts[0][column].length < 60);
      // A wide screen leaves out long texts as well, the last first: a narrow one has to scroll anyway.
      const prose = innerWidth < 1000 ? [] : this.titles.map((_, column) => column).filter((column) => spare(column) === "prose" && !free.includes(column)).reverse();
      for (const column of [...empty, ...equal, ...prose]) {
        if (!prose.includes(column)) this.hiddenToFit.push(column);
        this.show([column], false);
        if (this.scroll.scrollWidth <= this.scroll.clientWidth + 1) break;
      }
    }

    watch() {
      this.scroll.addEventListener("scroll", () => this.measure(), { passive: true });
      new ResizeObserver(() => this.measure()).observe(this.scroll);
      this.measure();
    }

    // Where the pinned columns end, and whether more lies to the right.
    measure() {
      if (!this.frame) return;
      const pinned = [...this.headings].filter((cell) => cell.isConnected && cell.classList.contains("pinned"));
      const names = pinned.find((cell) => !cell.classList.contains("pin-end"));
      const end = pinned.find((cell) => cell.classList.contains("pin-end"));
      this.frame.style.setProperty("--pin", `${names?.offsetWidth ?? 0}px`);
      const more = this.scroll.scrollWidth - this.scroll.clientWidth - this.scroll.scrollLeft > 2;
      this.frame.style.setProperty("--end", `${more && end ? end.offsetWidth : 0}px`);
      this.frame.classList.toggle("more", more);
      this.hint.hidden = this.scroll.scrollWidth - this.scroll.clientWidth < 3;
    }
  }

  // The text of a cell as Python wrote it, without what stands beside it.
  function written(cell) {
    return [...cell.childNodes].filter((node) => !(node instanceof Element && node.matches(".tag, .runs"))).map((node) => node.textContent).join("").trim();
  }

  function counted(count, what) {
    return `${count} ${what}${count === 1 ? "" : "s"}`;
  }

  async function copied(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // A page of a server without TLS has no clipboard.
      const area = element("textarea", { value: text, className: "quiet" });
      document.body.append(area);
      area.select();
      const done = document.execCommand("copy");
      area.remove();
      return done;
    }
  }

  // A table is prepared when it comes near the window, so that a long page opens at once.
  const sheets = new Map();
  function prepare(table) {
    if (!sheets.has(table)) sheets.set(table, new Sheet(table));
  }
  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      near.unobserve(entry.target);
      prepare(entry.target);
    }
  }, { rootMargin: "600px" });
  for (const table of document.querySelectorAll("table.grid")) {
    if (table.tBodies[0]?.rows.length) near.observe(table);
  }

  // One menu is open at a time; Escape and a click elsewhere close it.
  document.addEventListener("pointerdown", (event) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      menu.open = false;
      if (menu.contains(document.activeElement)) menu.querySelector("summary").focus();
    }
  });

  // On paper nothing scrolls: a table that is wider than the page is made smaller.
  addEventListener("beforeprint", () => {
    document.documentElement.classList.add("measured");
    for (const table of document.querySelectorAll("table.grid")) {
      const frame = table.closest(".scroll");
      table.style.setProperty("--fit", Math.min(1, frame.clientWidth / table.scrollWidth || 1).toFixed(3));
    }
    document.documentElement.classList.remove("measured");
  });
})();
