"""What a report is: a title and sections of sentences, tables and figures, as data. `render` and `terminal` show it.

Every text in it is untrusted (method names, captions, error messages): the renderers escape it, nobody else has to.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from harness.records.noise import MARK
from harness.reports.document.text import MISSING, fixed, interval, p_value, significant, single_line

if TYPE_CHECKING:
    from harness.reports.document.figures import Drawing

Kind = Literal["text", "count", "number", "significant", "estimate", "p"]


@dataclass(frozen=True)
class Column:
    """How one column of a table is shown."""

    key: str  # column of the table's frame; an `estimate` may have `<key>_sd`, `<key>_low` and `<key>_high` beside it
    title: str
    kind: Kind = "text"
    digits: int | None = None  # decimals of a `number` or `estimate`, 1 by default; digits of a `significant`, 3
    _: KW_ONLY
    group: str = ""  # heading that spans neighbouring columns of the same group
    help: str = ""  # one line that explains the column, for HTML
    pinned: bool = False  # stays in sight while a wide table is scrolled sideways, for HTML
    prose: bool = False  # long text, which the LaTeX file leaves out
    wide: bool = False  # shown on a wide terminal only
    link: str = ""  # column of the frame with the ids of the runs behind the value, separated by spaces, for the site
    file: str = ""  # column of the frame with the path of a file below the results folder, for the site
    better: Literal["", "higher", "lower"] = ""  # which values are better, where any are: the best is set in bold
    noise: str = ""  # column of the frame that says whether the value is noisy; such a value is marked where it stands

    @property
    def numeric(self) -> bool:
        """Whether it is aligned to the right."""
        return self.kind != "text"

    def shown(self, value: float) -> str:
        """A value of a numeric column as it is printed."""
        match self.kind:
            case "significant":
                return significant(value, 3 if self.digits is None else self.digits)
            case "p":
                return p_value(value)
            case "count":
                return fixed(value, 0)
        return fixed(value, self._decimals)

    def bounds(self, low: float, high: float) -> str:
        """The interval of an estimate as it is printed."""
        return interval(low, high, self._decimals)

    @property
    def _decimals(self) -> int:
        return 1 if self.digits is None else self.digits


@dataclass(frozen=True, eq=False)
class Table:
    """A table of a report: raw values, and which of them are shown how."""

    frame: pd.DataFrame
    columns: Sequence[Column]
    caption: str
    key: str  # short name for labels and file names
    _: KW_ONLY
    muted: Sequence[int] = ()  # row numbers to be shown less prominently
    collapsed: bool = False  # show only the caption until it is opened, where the format can
    rule_by: Sequence[str] = ()  # columns of the frame; a thin rule is drawn where their values change (between tiers)
    for_paper: bool = True  # whether it goes into the LaTeX file
    paper: Sequence[str] = ()  # keys of its columns there; all that fit the width of the text by default

    @property
    def rules(self) -> list[int]:
        """Row numbers above which a rule is drawn."""
        if not self.rule_by:
            return []
        values = [tuple(row) for row in self.frame[list(self.rule_by)].astype(object).fillna("").to_numpy()]
        return [row for row in range(1, len(values)) if values[row] != values[row - 1]]

    def rows(self) -> list[list[Cell]]:
        """The formatted cells, row by row."""
        return [[cell(column, record) for column in self.columns] for record in self.frame.to_dict("records")]

    def groups(self) -> list[tuple[str, int, int]]:
        """Spanning headings with their first and last column, from 1; all empty names where there are none."""
        spans = itertools.groupby(enumerate(self.columns, 1), lambda pair: pair[1].group)
        found = [(name, [number for number, _ in pairs]) for name, pairs in spans]
        return [(name, numbers[0], numbers[-1]) for name, numbers in found]


@dataclass(frozen=True, eq=False)
class Figure:
    """A drawing with its caption."""

    drawing: Drawing | bytes  # of a `figures.canvas`; the SVG of a stored report's
    key: str  # its file is `<stem>-<key>.svg`
    caption: str
    alt: str  # what it shows, for those who cannot see it


@dataclass(frozen=True)
class Picture:
    """A photograph of a gallery."""

    content: bytes  # a JPEG
    alt: str  # what it is, for those who cannot see it
    label: str = ""  # one line below it


@dataclass(frozen=True)
class Tile:
    """Pictures that belong together, side by side, with what is said of them."""

    pictures: Sequence[Picture]
    title: str = ""
    lines: Sequence[str] = ()


@dataclass(frozen=True)
class Gallery:
    """Photographs with their texts; its files are `<stem>-<key>/<number>.jpg`."""

    tiles: Sequence[Tile]
    key: str
    caption: str


@dataclass(frozen=True)
class Notice:
    """One thing that a reader should know, with how much it matters."""

    level: Literal["error", "warning", "note"]
    text: str


@dataclass(frozen=True)
class Listing:
    """Text that is shown as it is, line by line: a command to type, a file."""

    text: str
    title: str = ""
    collapsed: bool = False  # show only the title until it is opened, where the format can


@dataclass(frozen=True, eq=False, kw_only=True)
class Section:
    """A part of a report, shown in this order."""

    title: str
    sentences: Sequence[str] = ()
    notices: Sequence[Notice] = ()
    listings: Sequence[Listing] = ()
    tables: Sequence[Table] = ()
    galleries: Sequence[Gallery] = ()
    figures: Sequence[Figure] = ()
    reading: Sequence[str] = ()  # what the numbers rest on and what they do not show
    footnotes: Sequence[str] = ()  # sources and small print


@dataclass(frozen=True, kw_only=True)
class Paper:
    """How the LaTeX tables of a report are made."""

    columns: Sequence[str] = ()  # keys of the columns, in their order; empty = those of each table
    intervals: bool = False  # below the estimates
    shrink: bool = False  # all columns, made smaller where they are wider than the text
    published: bool = False  # compare published rows with measured ones for the best value


@dataclass(frozen=True, eq=False, kw_only=True)
class Report:
    """A report, ready to be rendered."""

    title: str
    stem: str = "report"  # name of its files, without ending
    sentences: Sequence[str] = ()  # what a reader should know first
    sections: Sequence[Section] = ()
    brief: Sequence[Table | str | Notice | Listing] = ()  # what of it is for a terminal
    main: pd.DataFrame = field(default_factory=pd.DataFrame)  # the flat table behind everything: the CSV
    data: Mapping[str, Any] = field(default_factory=dict)  # machine-readable content of the JSON, at full precision
    attachments: Mapping[str, str] = field(default_factory=dict)  # content of further text files, by name
    paper: Paper = Paper()

    @property
    def figures(self) -> list[Figure]:
        """All figures, in order."""
        return [figure for section in self.sections for figure in section.figures]

    @property
    def galleries(self) -> list[Gallery]:
        """All galleries, in order."""
        return [gallery for section in self.sections for gallery in section.galleries]

    @property
    def tables(self) -> list[Table]:
        """All tables, in order."""
        return [table for section in self.sections for table in section.tables]


@dataclass(frozen=True)
class Cell:
    """A formatted cell: the value, its spread ("0.4") and its interval ("[59.0, 63.3]"); empty parts are not shown.

    A text cell holds untrusted text; the parts of the others are made of digits and signs.
    """

    main: str
    spread: str = ""
    interval: str = ""
    text: bool = False
    runs: tuple[str, ...] = ()  # ids of the runs behind it, that the site links to
    file: str = ""  # path below the results folder of the file that it names, that the site links to

    def join(self, plus_minus: str = " ± ") -> str:
        """The cell on one line."""
        spread = f"{plus_minus}{self.spread}" if self.spread else ""
        return f"{self.main}{spread}" + (f" {self.interval}" if self.interval else "")


def cell(column: Column, record: Mapping[Any, Any]) -> Cell:
    """Format a value of a record (a row of a frame).

    >>> cell(Column("x", "X", "estimate"), {"x": 61.24, "x_low": 59.0, "x_high": 63.26}).join()
    '61.2 [59.0, 63.3]'
    """
    value = record.get(column.key)
    if is_missing(value):
        return Cell(MISSING)
    behind = record.get(column.link)
    runs = () if is_missing(behind) else tuple(str(behind).split())
    if column.kind == "text":
        file = record.get(column.file)
        return Cell(single_line(str(value)), text=True, runs=runs, file="" if is_missing(file) else str(file))
    noisy = record.get(column.noise)
    main = (MARK if not is_missing(noisy) and noisy else "") + column.shown(float(value))  # type: ignore[arg-type]
    if column.kind != "estimate":
        return Cell(main, runs=runs)
    sd, low, high = (record.get(f"{column.key}_{part}") for part in ("sd", "low", "high"))
    bounded = not is_missing(low) and not is_missing(high)
    spread = "" if is_missing(sd) else column.shown(sd)  # type: ignore[arg-type]
    return Cell(main, spread, column.bounds(low, high) if bounded else "", runs=runs)  # type: ignore[arg-type]


def is_missing(value: Any) -> bool:
    """Whether a cell is empty: None, NaN, NA or an empty text."""
    return value is None or value is pd.NA or value == "" or (isinstance(value, float) and math.isnan(value))
