"""What a report is: a title and sections of sentences, tables and figures, as data. `harness.reports.document.render` writes it.

Every text in it is untrusted (method names, captions, error messages): the renderers escape it, nobody else has to.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from harness.records.noise import MARK
from harness.reports.document.text import MISSING, fixed, interval, p_value, significant, single_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

Kind = Literal["text", "number", "significant", "estimate", "p"]


@dataclass(frozen=True, kw_only=True)
class Column:
    """How one column of a table is shown.

    Args:
        key: column of the table's frame.
        title: heading.
        kind: `text`; `number` with `digits` decimals; `significant` with `digits` significant digits; `p`, a p-value;
            `estimate`, a number whose frame may also hold `<key>_sd`, `<key>_low` and `<key>_high`.
        digits: see kind.
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
    digits: int = 1
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


@dataclass(frozen=True, eq=False, kw_only=True)
class Table:
    """A table of a report.

    Args:
        frame: one row a row; raw values, never formatted ones.
        columns: what is shown of it, in order.
        caption: one sentence above it.
        key: short name for labels and file names.
        muted: row numbers to be shown less prominently.
        collapsed: show only its caption until it is opened, where the format can.
        rules: row numbers above which a thin rule is drawn (between tiers).
        for_paper: whether it goes into the LaTeX file.
    """

    frame: pd.DataFrame
    columns: Sequence[Column]
    caption: str
    key: str
    muted: Sequence[int] = ()
    collapsed: bool = False
    rules: Sequence[int] = ()
    for_paper: bool = True

    def rows(self) -> list[list[Cell]]:
        """The formatted cells, row by row."""
        records = self.frame.to_dict("records")
        return [[cell(column, record) for column in self.columns] for record in records]

    def groups(self) -> list[tuple[str, int]]:
        """Spanning headings and their widths in columns, left to right; all empty names where there are none."""
        spans: list[tuple[str, int]] = []
        for column in self.columns:
            if spans and spans[-1][0] == column.group:
                spans[-1] = (column.group, spans[-1][1] + 1)
            else:
                spans.append((column.group, 1))
        return spans


@dataclass(frozen=True, eq=False, kw_only=True)
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
        sentences: what a reader should know first.
        stem: name of its files, without ending.
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
    """Format a value of a record (a row of a frame)."""
    value = record.get(column.key)
    if is_missing(value):
        return Cell(MISSING)
    if column.kind == "text":
        return Cell(single_line(str(value)), text=True)
    number = float(value)  # type: ignore[arg-type]
    noisy = record.get(column.noise) if column.noise else None
    mark = MARK if not is_missing(noisy) and noisy else ""
    if column.kind == "significant":
        return Cell(mark + significant(number, column.digits))
    if column.kind == "p":
        return Cell(p_value(number))
    if column.kind == "number":
        return Cell(mark + fixed(number, column.digits))
    sd, low, high = (record.get(f"{column.key}_{part}") for part in ("sd", "low", "high"))
    return Cell(
        mark + fixed(number, column.digits),
        "" if is_missing(sd) else fixed(float(sd), column.digits),  # type: ignore[arg-type]
        "" if is_missing(low) or is_missing(high) else interval(float(low), float(high), column.digits),  # type: ignore[arg-type]
    )


def is_missing(value: Any) -> bool:
    """Whether a cell is empty: None, NaN, NA or an empty text."""
    return value is None or value is pd.NA or value == "" or (isinstance(value, float) and math.isnan(value))
