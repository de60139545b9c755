"""Which values of a table are set in bold: one rule for the LaTeX file and for what a page gives to the clipboard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.reports.document.model import Column, cell, is_missing

#: `origin` of a row that a paper prints.
PUBLISHED = "published"
#: `origin` of a row that no method has: what knowing nothing comes to.
CHANCE = "chance"


def comparable(records: Sequence[Mapping[Any, Any]], *, published: bool = False) -> list[bool]:
    """Whether each row takes part: published rows are not compared with measured ones, whose set-up may differ, chance never.

    Args:
        records: the rows of a table's frame.
        published: compare them all the same.

    >>> comparable([{"origin": "published"}, {"origin": "re-implementation"}])
    [False, True]
    >>> comparable([{"origin": "published"}, {"origin": "published"}])  # with each other
    [True, True]
    >>> comparable([{"origin": "chance"}, {"origin": "published"}])
    [False, True]
    """
    origins = [record.get("origin") for record in records]
    own = any(origin not in (PUBLISHED, CHANCE) for origin in origins)
    return [origin != CHANCE and (published or not own or origin != PUBLISHED) for origin in origins]


def can_be_best(column: Column, record: Mapping[Any, Any]) -> bool:
    """Whether a value takes part: it has a better direction, is there, and was not measured in noise."""
    noisy = record.get(column.noise)
    return bool(column.better) and not is_missing(record.get(column.key)) and (is_missing(noisy) or not noisy)


def best_rows(column: Column, records: Sequence[Mapping[Any, Any]], *, published: bool = False) -> frozenset[int]:
    """The rows whose value of a column is the best, with all that are printed alike; none where fewer than two compare.

    Args:
        column: with its better direction.
        records: the rows of a table's frame.
        published: compare published rows with measured ones.

    >>> rows = [{"x": 61.24}, {"x": 61.16}, {"x": 60.0}]
    >>> sorted(best_rows(Column("x", "X", "number", better="higher"), rows))
    [0, 1]
    >>> sorted(best_rows(Column("x", "X", "number", better="lower"), rows))
    [2]
    """
    rows = [n for n, takes_part in enumerate(comparable(records, published=published)) if takes_part]
    able = [n for n in rows if can_be_best(column, records[n])]
    if len(able) < 2:
        return frozenset()
    best = (max if column.better == "higher" else min)(able, key=lambda n: float(records[n][column.key]))
    shown = cell(column, records[best]).main
    return frozenset(n for n in able if cell(column, records[n]).main == shown)
