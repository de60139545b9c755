"""A report in a terminal: the few columns that fit, printed by rich, which never reads names as its markup."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table as Grid
from rich.text import Text

from harness.reports.document.model import Listing, Notice
from harness.reports.document.text import plain_lines, shortened, single_line

if TYPE_CHECKING:
    from harness.reports.document.model import Cell, Report, Table

#: Width of a terminal, in characters, below which columns marked `wide` and standard deviations are left to the files.
_WIDE = 96
#: A longer text is cut. Shorter ones fold instead, as names may differ in their ends only.
_LONGEST_TEXT = 120
_SPREAD = " ± SD"
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
                yield table(part, narrow=options.max_width < _WIDE)


def notice(notice: Notice) -> Grid:
    """A notice for rich: how much it matters, and its text with a hanging indent."""
    made = Grid.grid(padding=(0, 1))
    made.add_column(width=_LONGEST_LEVEL)
    made.add_column(overflow="fold")
    made.add_row(Text(notice.level, style=_STYLES[notice.level]), Text(single_line(notice.text)))
    return made


def table(table: Table, *, narrow: bool = False) -> Grid:
    """A table of a report for rich: rules become blank lines, muted rows are dim.

    Args:
        table: its caption is the title.
        narrow: leave out columns marked `wide`, and standard deviations.
    """
    columns = [column for column in table.columns if not (narrow and column.wide)]
    rows = replace(table, columns=columns).rows()
    return grid(
        [column.title.replace(_SPREAD, "") if narrow else column.title for column in columns],
        [[_text(cell, narrow) for cell in row] for row in rows],
        title=table.caption,
        numeric=[number for number, column in enumerate(columns) if column.numeric],
        rules=table.rules,
        muted=table.muted,
    )


def grid(
    titles: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    title: str = "",
    numeric: Collection[int] = (),
    rules: Collection[int] = (),
    muted: Collection[int] = (),
) -> Grid:
    """Plain cells for rich. Texts fold where a row is too long; numbers never do.

    Args:
        titles: headings.
        rows: cells, whose `str` is shown.
        title: above the table.
        numeric: numbers of the columns that are aligned to the right.
        rules: numbers of the rows that follow a blank line.
        muted: numbers of the rows that are dim.
    """
    made = Grid(
        title=Text(single_line(title)) if title else None,
        title_justify="left",
        box=box.SIMPLE_HEAD if title else None,
        pad_edge=False,
        header_style="bold",
    )
    for number, heading in enumerate(titles):
        right = number in numeric
        made.add_column(Text(heading), justify="right" if right else "left", no_wrap=right, overflow="fold")
    for number, row in enumerate(rows):
        made.add_row(
            *(Text(str(cell)) for cell in row), style="dim" if number in muted else "", end_section=number + 1 in rules
        )
    return made


def _text(cell: Cell, narrow: bool) -> str:
    return (
        shortened(cell.main, _LONGEST_TEXT) if cell.text else replace(cell, spread="" if narrow else cell.spread).join()
    )
