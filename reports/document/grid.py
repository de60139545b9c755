"""A table as a page shows it: each cell with the value it is sorted by, and its noise; each row with its tier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from harness.records.noise import LEGEND, MARK
from harness.reports.document.model import Cell, Column, Table, cell, is_missing

_LONG_TEXT = 24
_PUBLISHED = "published"


@dataclass(frozen=True)
class GridCell:
    """A formatted cell and what a page does with it."""

    cell: Cell
    order: str | None  # what a number is sorted by, at full precision; empty if missing; None if it is what is shown
    noisy: str = ""  # why the value cannot be relied on
    tag: str = ""  # a word beside a name that tells the row apart
    classes: str = ""  # in HTML


@dataclass(frozen=True)
class GridRow:
    """A row of a page's table."""

    cells: tuple[GridCell, ...]
    muted: bool  # shown less prominently
    rule: bool  # whether a rule is drawn above it
    tier: int | None  # where the table is ruled by tiers

    @property
    def classes(self) -> str:
        """Its classes in HTML."""
        tier = f"tiered tier-{min(self.tier, 6)}" if self.tier else ""
        return " ".join(filter(None, ("muted" if self.muted else "", "rule" if self.rule else "", tier)))


def grid_rows(table: Table) -> list[GridRow]:
    """The rows of a table for a page, in order.

    >>> import pandas as pd
    >>> frame = pd.DataFrame({"x": [61.24], "noisy": [True]})
    >>> [row] = grid_rows(Table(frame, [Column("x", "X", "number", noise="noisy")], "Speed", "speed"))
    >>> row.cells[0].cell.main, row.cells[0].order
    ('~61.2', '61.24')
    """
    rules, muted = set(table.rules), set(table.muted)
    tiered = list(table.rule_by) == ["tier"]
    rows = []
    for number, record in enumerate(table.frame.to_dict("records")):
        published = record.get("origin") == _PUBLISHED
        tier = record.get("tier") if tiered else None
        cells = [_grid_cell(column, record) for column in table.columns]
        if published:
            cells = _tagged(table, cells)
        rows.append(
            GridRow(
                cells=tuple(cells),
                muted=published or number in muted,
                rule=number in rules,
                tier=None if is_missing(tier) else int(tier),  # type: ignore[arg-type]
            )
        )
    return rows


def _grid_cell(column: Column, record: Mapping[Any, Any]) -> GridCell:
    shown, value, noisy = cell(column, record), record.get(column.key), record.get(column.noise)
    return GridCell(
        cell=shown,
        order=_order(value, shown) if column.numeric else None,
        classes=f"{column_classes(column)} long".strip() if _is_long(shown) else column_classes(column),
        noisy=LEGEND if shown.main.startswith(MARK) and not is_missing(noisy) and noisy else "",
    )


def column_classes(column: Column) -> str:
    """The classes of a column's cells in HTML."""
    pinned = ("pinned pin-end" if column.numeric else "pinned") if column.pinned else ""
    return " ".join(filter(None, ("num" if column.numeric else "", pinned)))


def _is_long(shown: Cell) -> bool:
    """Whether a text may wrap."""
    return shown.text and len(shown.main) > _LONG_TEXT


def _order(value: Any, shown: Cell) -> str | None:
    if is_missing(value):
        return ""
    plain = shown.join().isascii() and shown.join().replace(".", "", 1).isdecimal()
    return None if plain and float(shown.main) == value else repr(float(value))


def _tagged(table: Table, cells: list[GridCell]) -> list[GridCell]:
    """The cells of a published row, its name tagged unless a column says where each row comes from."""
    if any(column.key == "origin" for column in table.columns):
        return cells
    texts = [number for number, column in enumerate(table.columns) if not column.numeric]
    names = [number for number in texts if table.columns[number].pinned] or texts
    return [replace(one, tag=_PUBLISHED) if [number] == names[:1] else one for number, one in enumerate(cells)]
