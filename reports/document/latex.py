"""Tables for a paper: which columns fit the text, which values are bold, and how a cell is written in LaTeX."""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.errors import UnknownName
from harness.reports.document import escaping
from harness.reports.document.best import PUBLISHED, best_rows, comparable
from harness.reports.document.model import Cell, Column, Paper, Report, Table
from harness.reports.document.text import MISSING, listed

logger = logging.getLogger(__name__)

#: Width of the text of US letter paper with margins of an inch, in points. A two-column page of CVPR, ACL or ACM is wider.
TEXT_WIDTH = 469.0
#: Widths of characters at the size of a table's text (8 points), about.
_LETTER, _CAPITAL, _NARROW, _SUBSCRIPT = 4.4, 6.2, 2.5, 0.9
_BETWEEN_COLUMNS = 6.0
#: A text that is longer is set on several lines.
_LONGEST_TEXT = 140.0


@dataclass(frozen=True, eq=False)
class PaperTable:
    """A table of a LaTeX file."""

    table: Table  # with the columns that are shown
    rows: list[list[str]]  # LaTeX
    left_out: Sequence[str]  # keys of the columns that are not shown
    caption: str
    layout: str  # of the columns, as `tabular` takes it


def require_columns(names: Sequence[str], valid: Sequence[str]) -> None:
    """Check the names of columns that someone chose.

    Raises:
        UnknownName: one is not valid.
    """
    for name in names:
        if name not in valid:
            raise UnknownName("column of the LaTeX tables", name, valid)


def paper_tables(report: Report) -> list[PaperTable]:
    """The tables of a report that go into its LaTeX file. A chosen column that none of them has is warned of."""
    tables = [table for table in report.tables if table.for_paper]
    if lacking := set(report.paper.columns) - {column.key for table in tables for column in table.columns}:
        logger.warning("no LaTeX table has a column %s: nothing of it is recorded", listed(sorted(lacking)))
    return [_paper_table(table, report.paper) for table in tables]


def cell_parts(shown: Cell, *, intervals: bool = True) -> tuple[str, str, str]:
    r"""A formatted cell as (before, value, after), all LaTeX; the value alone is what may be set in bold.

    An estimate has its spread as a subscript and its interval below it, so that seven fit on a page.

    >>> cell_parts(Cell("61.2", "0.4", "[59.0, 63.3]"))
    ('\\shortstack[r]{', '61.2', '$_{\\pm 0.4}$\\\\{\\tiny {[}59.0, 63.3{]}}}')
    >>> cell_parts(Cell("61.2", "0.4", "[59.0, 63.3]"), intervals=False)
    ('', '61.2', '$_{\\pm 0.4}$')
    """
    spread = f"$_{{\\pm {shown.spread}}}$" if shown.spread else ""
    main = escaping.latex(shown.main)
    if not shown.interval or not intervals:
        return "", main, spread
    # The same size of type on both lines would not let seven estimates fit on a page.
    return r"\shortstack[r]{", main, rf"{spread}\\{{\tiny {escaping.latex(shown.interval)}}}}}"


def _paper_table(table: Table, paper: Paper) -> PaperTable:
    columns = _columns(table, paper)
    left_out = [column.key for column in table.columns if column not in columns]
    shown = Table(
        table.frame,
        columns,
        table.caption,
        table.key,
        rule_by=table.rule_by if len(columns) > 1 else (),
        muted=table.muted,
    )
    records = table.frame.to_dict("records")
    bold = [best_rows(column, records, published=paper.published) for column in columns]
    texts = shown.rows()
    folded = [
        not column.numeric and _width(column, [row[n] for row in texts], False) > _LONGEST_TEXT
        for n, column in enumerate(columns)
    ]
    rows = []
    for number, cells in enumerate(texts):
        line = []
        for cell, best, folds in zip(cells, bold, folded, strict=True):
            before, main, after = cell_parts(cell, intervals=paper.intervals)
            main = _breakable(main) if folds else main
            line.append(before + (rf"\textbf{{{main}}}" if number in best else main) + after)
        rows.append(line)
    layout = "".join(
        rf">{{\raggedright\arraybackslash}}p{{{_LONGEST_TEXT:.0f}pt}}" if folds else "r" if column.numeric else "l"
        for column, folds in zip(columns, folded, strict=True)
    )
    caption = table.caption
    if any(bold):
        compared = [column.noise for column in columns if column.better and column.noise in table.frame]
        noisy = bool(compared) and bool(table.frame[compared].eq(True).any(axis=None))
        apart = any(
            record.get("origin") == PUBLISHED and not takes_part
            for record, takes_part in zip(records, comparable(records, published=paper.published), strict=True)
        )
        caption = f"{caption.rstrip('.')}. {_rule(noisy, apart)}"
    return PaperTable(shown, rows, left_out, caption, layout)


def _breakable(text: str) -> str:
    """LaTeX that may be broken within names, settings and hashes."""
    for sign in (r"\_", ",", "("):
        text = text.replace(sign, rf"{sign}\allowbreak{{}}")
    # No command's name is that long.
    return re.sub(r"[A-Za-z0-9=.-]{20}(?=[A-Za-z0-9])", r"\g<0>\\allowbreak{}", text)


def _rule(noisy: bool, apart: bool) -> str:
    """What bold means, for the caption."""
    parts = ["Bold: the best value of a column and all printed like it"]
    parts += ["values marked ~ were measured in noise and take no part"] * noisy
    parts += ["published rows are not compared with measured ones"] * apart
    return "; ".join(parts) + "."


def _columns(table: Table, paper: Paper) -> list[Column]:
    """The chosen columns in the order of the choice; by default those that say something, as many as fit the text."""
    by_key = {column.key: column for column in table.columns}
    if chosen := [by_key[name] for name in paper.columns if name in by_key]:
        return chosen
    cells = dict(zip(by_key, zip(*table.rows(), strict=True), strict=False)) if len(table.frame) else {}
    columns = [
        column
        for column in table.columns
        if not column.prose
        and (not table.paper or column.key in table.paper)
        and any(cell.main != MISSING for cell in cells.get(column.key, [Cell("")]))
    ]
    widths = {c.key: _width(c, cells.get(c.key, ()), paper.intervals) for c in columns}
    # The first column names the row. Others give way from the right, those for wide terminals before the rest.
    widths |= {c.key: min(widths[c.key], _LONGEST_TEXT + _BETWEEN_COLUMNS) for c in columns if not c.numeric}
    going = sorted((c for c in columns[1:] if not c.pinned), key=lambda c: (c.wide, columns.index(c)))
    while going and _total(columns, widths) > TEXT_WIDTH and not paper.shrink:
        columns.remove(going.pop())
    return columns


def _total(columns: Sequence[Column], widths: Mapping[str, float]) -> float:
    """Points, about: a heading over several columns may be wider than they are."""
    total = 0.0
    for group, members in itertools.groupby(columns, lambda column: column.group):
        own = sum(widths[column.key] for column in members)
        total += max(own, min(_line(group), _LONGEST_TEXT) + _BETWEEN_COLUMNS) if group else own
    return total


def _width(column: Column, cells: Sequence[Cell], intervals: bool) -> float:
    """Points, about."""
    widths = [_line(column.title)]
    for cell in cells:
        spread = _SUBSCRIPT * _line(f"±{cell.spread}") if cell.spread else 0.0
        widths.append(1.11 * _line(cell.main) + spread)  # bold is wider
        if intervals and cell.interval:
            widths.append(0.75 * _line(cell.interval))
    return max(widths) + _BETWEEN_COLUMNS


def _line(text: str) -> float:
    return sum(_NARROW if c in " .,:;'il|[]()" else _CAPITAL if c.isupper() or c in "±%—" else _LETTER for c in text)
