"""A report in a terminal: the few columns that fit, printed by rich, which never reads names as its markup."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table as Grid
from rich.text import Text

from harness.errors import counted
from harness.reports.document import fitting
from harness.reports.document.model import Listing, Notice
from harness.reports.document.text import listed, plain_lines, shortened, single_line

if TYPE_CHECKING:
    from harness.reports.document.model import Cell, Column, Report, Table

#: Width of a terminal, in characters, below which columns marked `wide` and standard deviations are left to the files.
_WIDE = 96
#: Below this one, intervals are left to the files, too.
_NARROW = 60
#: A longer text is cut. Shorter ones fold instead, as names may differ in their ends only.
_LONGEST_TEXT = 120
_SPREAD, _INTERVAL = " ± SD", " [95 % CI]"
#: By the level of a notice.
_STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}
_LONGEST_LEVEL = max(map(len, _STYLES))


class Page:
    """The brief form of a report: its tables and sentences, cut to the width of the terminal.

    Args:
        report: its `brief` is shown.
    """

    def __init__(self, report: Report):
        self.parts = report.brief

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for part in self.parts:
            if isinstance(part, str):
                yield Text(single_line(part))
            elif isinstance(part, Notice):
                yield notice(part)
            elif isinstance(part, Listing):
                yield Text(plain_lines(part.text), overflow="fold")
            else:
                yield from table(part, options.max_width)


def notice(notice: Notice) -> Grid:
    """A notice for rich: how much it matters, and its text with a hanging indent."""
    made = Grid.grid(padding=(0, 1))
    made.add_column(width=_LONGEST_LEVEL)
    made.add_column(overflow="fold")
    made.add_row(Text(notice.level, style=_STYLES[notice.level]), Text(single_line(notice.text)))
    return made


def table(table: Table, width: int = _WIDE) -> Iterator[Grid | Text]:
    """A table of a report for rich, in the columns that fit; what is left out is said below it.

    Args:
        table: its caption is the title.
        width: of the terminal, in characters.

    Yields:
        The table: rules are blank lines, muted rows are dim. Then a line about the columns that have no room.
    """
    columns = [column for column in table.columns if not (width < _WIDE and column.wide)]
    spreads, intervals = width >= _WIDE, width >= _NARROW
    while True:
        shown = replace(table, columns=columns)
        titles = [_title(column, spreads, intervals) for column in columns]
        rows = [[_text(cell, spreads, intervals) for cell in row] for row in shown.rows()]
        numeric = [number for number, column in enumerate(columns) if column.numeric]
        if fitting.widths(titles, rows, numeric, _room(width, len(columns), bool(table.caption))) or len(columns) == 1:
            break
        columns = _without_one(columns)
    yield grid(titles, rows, title=table.caption, numeric=numeric, rules=table.rules, muted=table.muted, width=width)
    if left := [column for column in table.columns if column not in columns]:
        names = listed([single_line(column.title) for column in left])
        yield Text(f"{counted(len(left), 'column')} for a wider terminal: {names}", style="dim")


def _without_one(columns: Sequence[Column]) -> list[Column]:
    """The columns but for the last of those that matter least."""
    free = [column for column in columns[1:] if not column.pinned] or columns[1:]
    gone = next((column for column in reversed(free) if column.wide), free[-1])
    return [column for column in columns if column is not gone]


def _room(width: int, columns: int, framed: bool) -> int:
    """What rich's padding and frame leave to the cells."""
    return width - (3 * (columns - 1) + 2 if framed else 2 * (columns - 1))


def grid(
    titles: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    title: str = "",
    numeric: Collection[int] = (),
    rules: Collection[int] = (),
    muted: Collection[int] = (),
    width: int = 0,
) -> Grid:
    """Plain cells for rich. Texts fold at their seams where a row is too long; numbers never do.

    Args:
        titles: headings.
        rows: cells, whose `str` is shown.
        title: above the table.
        numeric: numbers of the columns that are aligned to the right.
        rules: numbers of the rows that follow a blank line.
        muted: numbers of the rows that are dim.
        width: of the terminal, in characters; 0 = there is none.
    """
    texts = [[str(cell) for cell in row] for row in rows]
    wide = fitting.widths(titles, texts, numeric, _room(width, len(titles), bool(title))) if width else None
    made = Grid(
        title=Text(single_line(title)) if title else None,
        title_justify="left",
        box=box.SIMPLE_HEAD if title else None,
        pad_edge=False,
        header_style="bold",
    )
    for number, heading in enumerate(titles):
        right = number in numeric
        made.add_column(
            Text(fitting.folded(heading, wide[number]) if wide else heading),
            justify="right" if right else "left",
            no_wrap=right and not wide,
            overflow="fold",
            width=wide[number] if wide else None,
        )
    for number, row in enumerate(texts):
        cells = [Text(fitting.folded(text, wide[n]) if wide else text) for n, text in enumerate(row)]
        made.add_row(*cells, style="dim" if number in muted else "", end_section=number + 1 in rules)
    return made


def blocks(titles: Sequence[str], rows: Iterable[Sequence[object]], width: int) -> Iterator[Text]:
    """Plain cells in a narrow terminal: a block per row, whose first cell is its heading.

    Args:
        titles: headings.
        rows: cells, whose `str` is shown; empty ones are left out.
        width: of the terminal, in characters.
    """
    for first, *others in rows:
        yield Text(fitting.folded(str(first), width), style="bold")
        for title, cell in zip(titles[1:], others, strict=True):
            if str(cell):
                yield Text(textwrap.indent(fitting.folded(f"{title}: {cell}", max(8, width - 2)), "  "))


def fits(titles: Sequence[str], rows: Sequence[Sequence[object]], numeric: Collection[int], width: int) -> bool:
    """Whether a table without a title has room."""
    texts = [[str(cell) for cell in row] for row in rows]
    return fitting.widths(titles, texts, numeric, _room(width, len(titles), False)) is not None


def _title(column: Column, spreads: bool, intervals: bool) -> str:
    title = column.title if spreads else column.title.replace(_SPREAD, "")
    return title if intervals else title.replace(_INTERVAL, "")


def _text(cell: Cell, spreads: bool, intervals: bool) -> str:
    if cell.text:
        return shortened(cell.main, _LONGEST_TEXT)
    return replace(cell, spread=cell.spread if spreads else "", interval=cell.interval if intervals else "").join()
