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
    from matplotlib.figure import Figure as Drawing

Kind = Literal["text", "count", "number", "significant", "estimate", "p"]


@dataclass(frozen=True)
class Column:
    """How one column of a table is shown.

    Args:
        key: column of the table's frame.
        title: heading.
        kind: `text`; `count`, a whole number; `number` with `digits` decimals; `significant` with `digits` significant
            digits; `p`, a p-value; `estimate`, a number whose frame may also hold `<key>_sd`, `<key>_low` and
            `<key>_high`.
        digits: see kind; None = 1 decimal or 3 significant digits.
        group: heading that spans neighbouring columns of the same group.
        help: one line that explains the column, for HTML.
        pinned: stays in sight while a wide table is scrolled sideways, for HTML.
        prose: long text, which the LaTeX file leaves out.
        wide: shown on a wide terminal only.
        noise: column of the frame that says whether the value is noisy; such a value is marked where it stands.
    """

    key: str
    title: str
    kind: Kind = "text"
    digits: int | None = None
    _: KW_ONLY
    group: str = ""
    help: str = ""
    pinned: bool = False
    prose: bool = False
    wide: bool = False
    noise: str = ""

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
    """A table of a report.

    Args:
        frame: raw values, never formatted ones.
        columns: what is shown of it, in order.
        caption: one sentence above it.
        key: short name for labels and file names.
        muted: row numbers to be shown less prominently.
        collapsed: show only its caption until it is opened, where the format can.
        rule_by: columns of the frame; a thin rule is drawn where their values change (between tiers).
        for_paper: whether it goes into the LaTeX file.
    """

    frame: pd.DataFrame
    columns: Sequence[Column]
    caption: str
    key: str
    _: KW_ONLY
    muted: Sequence[int] = ()
    collapsed: bool = False
    rule_by: Sequence[str] = ()
    for_paper: bool = True

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
    """A drawing with its caption.

    Args:
        drawing: a matplotlib figure that pyplot does not know of.
        key: its file is `<stem>-<key>.svg`.
        caption: one or two sentences below it.
        alt: what it shows, for those who cannot see it.
    """

    drawing: Drawing
    key: str
    caption: str
    alt: str


@dataclass(frozen=True, eq=False, kw_only=True)
class Section:
    """A part of a report, shown in this order.

    Args:
        title: heading.
        sentences: what comes first.
        tables, figures: the evidence.
        reading: how to read it: what the numbers rest on and what they do not show.
        footnotes: sources and small print.
    """

    title: str
    sentences: Sequence[str] = ()
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    reading: Sequence[str] = ()
    footnotes: Sequence[str] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class Report:
    """A report, ready to be rendered.

    Args:
        title: heading.
        stem: name of its files, without ending.
        sentences: what a reader should know first.
        sections: the parts.
        brief: tables and sentences for a terminal.
        main: the flat table behind everything, one value per cell: the CSV.
        data: machine-readable content of the JSON (run ids, full numbers).
        attachments: content of further text files, by name.
    """

    title: str
    stem: str = "report"
    sentences: Sequence[str] = ()
    sections: Sequence[Section] = ()
    brief: Sequence[Table | str] = ()
    main: pd.DataFrame = field(default_factory=pd.DataFrame)
    data: Mapping[str, Any] = field(default_factory=dict)
    attachments: Mapping[str, str] = field(default_factory=dict)

    @property
    def figures(self) -> list[Figure]:
        """All figures, in order."""
        return [figure for section in self.sections for figure in section.figures]

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
    if column.kind == "text":
        return Cell(single_line(str(value)), text=True)
    noisy = record.get(column.noise)
    main = (MARK if not is_missing(noisy) and noisy else "") + column.shown(float(value))  # type: ignore[arg-type]
    if column.kind != "estimate":
        return Cell(main)
    sd, low, high = (record.get(f"{column.key}_{part}") for part in ("sd", "low", "high"))
    bounded = not is_missing(low) and not is_missing(high)
    return Cell(main, "" if is_missing(sd) else column.shown(sd), column.bounds(low, high) if bounded else "")  # type: ignore[arg-type]


def is_missing(value: Any) -> bool:
    """Whether a cell is empty: None, NaN, NA or an empty text."""
    return value is None or value is pd.NA or value == "" or (isinstance(value, float) and math.isnan(value))
