"""What a page's table gives to the clipboard: cells, escaped for LaTeX, Markdown and CSV before a browser sees them.

The browser puts the chosen columns and rows together. It escapes nothing and knows no markup but what separates cells.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

from harness.reports.document import escaping
from harness.reports.document.best import can_be_best, comparable
from harness.reports.document.latex import cell_parts
from harness.reports.document.model import Cell, Column, Table, cell, is_missing

#: A text in three media; one text where all three agree; 0 where they are what the page shows.
Copied = str | list[Any] | int


def table_copies(table: Table) -> dict[str, Any]:
    r"""The copies of a table.

    Returns:
        `columns`, each with `title` and `group` as [LaTeX, Markdown], `csv` (its heading, of several fields for an
        estimate), `numeric` and `better`; `rows` of cells, each [LaTeX, Markdown, CSV], or one text where all agree, or
        0 where that is the text of the page, as in most cells of long tables.
        The LaTeX of a number is [before, value, after]: the best value of a column is set in bold. It is one text where
        the value cannot be the best: missing, noisy, or published beside measured ones.

    >>> import pandas as pd
    >>> frame = pd.DataFrame({"name": ["a_b"], "x": [61.24], "x_sd": [0.4]})
    >>> copies = table_copies(Table(frame, [Column("name", "Name"), Column("x", "X", "estimate")], "", "t"))
    >>> copies["rows"][0]
    [['a\\_b', 'a_b', 'a_b'], ['61.2$_{\\pm 0.4}$', '61.2 ± 0.4', '61.24,0.4']]
    """
    parts = [_parts(column, table) for column in table.columns]
    records = table.frame.to_dict("records")
    return {
        "columns": [
            {
                "title": [escaping.latex(column.title), escaping.markdown(column.title)],
                "group": [escaping.latex(column.group), escaping.markdown(column.group)],
                "csv": _csv(keys),
                "numeric": column.numeric,
                "better": column.better,
            }
            for column, keys in zip(table.columns, parts, strict=True)
        ],
        "rows": [
            [_copy(*pair, record, takes_part) for pair in zip(table.columns, parts, strict=True)]
            for record, takes_part in zip(records, comparable(records), strict=True)
        ],
    }


def _parts(column: Column, table: Table) -> list[str]:
    """The keys of a column in the CSV: an estimate has its spread and interval beside it where they are known."""
    companions = ("_sd", "_low", "_high") if column.kind == "estimate" else ()
    return [column.key, *(key for part in companions if (key := f"{column.key}{part}") in table.frame)]


def _copy(column: Column, keys: list[str], record: Mapping[Any, Any], takes_part: bool) -> Copied:
    shown = cell(column, record)
    texts = [_latex(column, shown, record, takes_part), _markdown(shown), _csv([record.get(key) for key in keys])]
    if not texts[0] == texts[1] == texts[2]:
        return texts
    return 0 if texts[0] == shown.main else texts[0]


def _latex(column: Column, shown: Cell, record: Mapping[Any, Any], takes_part: bool) -> Any:
    before, main, after = cell_parts(shown)
    return [before, main, after] if takes_part and can_be_best(column, record) else f"{before}{main}{after}"


def _markdown(shown: Cell) -> str:
    return escaping.markdown(shown.main) if shown.text else shown.join()


def _csv(values: list[Any]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(
        ["" if is_missing(value) else escaping.spreadsheet(value) for value in values]
    )
    return line.getvalue() if len(values) > 1 or line.getvalue() != '""' else ""
