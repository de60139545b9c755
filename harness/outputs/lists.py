"""Candidate lists: the first items of each query, best first. A number that the lists do not decide is not given.

An item that a list leaves out stands below all that it holds. Where that leaves a query's rank open, all ranks that are
possible are tried: a metric is known exactly where the best and the worst case agree.

Shape letters: I images, T captions, M listed items of all queries of a direction.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from harness.errors import InvalidProtocol
from harness.metrics.positives import Direction
from harness.outputs.base import Measured, Output
from harness.protocols import Protocol, Subject
from harness.records.ranks import RankTable
from harness.records.ties import RECALLS, Ties
from harness.scoring.memory import empty_array

#: Metrics that only fall when a correct item is moved down, so that equal bounds prove them.
_MONOTONE = re.compile(r"(i2t|t2i)_(r\d+|map_at_r|r_precision|medr|meanr)")
#: Below every place of a list; float32 is exact down to here.
_UNLISTED = -(2.0**24)


@dataclass(frozen=True, eq=False)
class Listed:
    """The lists of one direction.

    Args:
        queries: number of queries of the split, listed or not.
        query, item: (M,) int64 row of each listed item's query, and of the item.
        place: (M,) int64 0-based place in the list.
        level: (M,) int64 number of items of the list that score higher; the place where no scores are given.
    """

    queries: int
    query: np.ndarray
    item: np.ndarray
    place: np.ndarray
    level: np.ndarray

    @property
    def depths(self) -> np.ndarray:
        """(queries,) number of items listed for each query."""
        return np.bincount(self.query, minlength=self.queries)

    def matrix(self, direction: Direction, images: int, texts: int, values: np.ndarray) -> np.ndarray:
        """(I, T) float32 with minus the values of the listed items, and a value below them everywhere else."""
        rows, columns = (self.query, self.item) if direction == "i2t" else (self.item, self.query)
        scores = empty_array(images, texts)
        scores.fill(_UNLISTED)
        scores[rows, columns] = -values
        return scores


@dataclass(eq=False)
class CandidateLists(Output):
    """Candidate lists of one or both directions.

    Args:
        listed: by direction.
        images, texts: I and T.
        title, precision: see `Output`.
    """

    listed: Mapping[Direction, Listed]
    images: int
    texts: int
    title: str = ""
    precision: str = ""
    _known: dict[tuple[Protocol, Direction], frozenset[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        parts = []
        for direction, lists in self.listed.items():
            depths = lists.depths
            low, high = int(depths.min()), int(depths.max())
            parts.append(f"{direction} {high if low == high else f'{low} to {high}'} per query")
        self.title = f"candidate lists ({', '.join(parts)})"

    def measure(self, protocol: Protocol, subject: Subject, ties: Ties) -> Measured:
        """The metrics that the lists decide; see `Output.measure`.

        Raises:
            InvalidProtocol: they decide none.
        """
        metrics: dict[str, float] = {}
        info: dict[str, Any] = {}
        tables: dict[Direction, RankTable] = {}
        for direction, lists in self.listed.items():
            scores = lists.matrix(direction, self.images, self.texts, lists.level)
            found = protocol.evaluate(scores, subject, ties)
            known = self._decided(protocol, subject, direction)
            metrics |= {key: value for key, value in found.metrics.items() if key in known}
            info, tables[direction] = found.info, found.ranks
        if not metrics:
            raise InvalidProtocol(f"protocol {protocol.name}: {self.title} decide none of its numbers")
        if all(recall in metrics for recall in RECALLS):
            metrics["rsum"] = sum(metrics[recall] for recall in RECALLS)
        depths: dict[str, int] = {
            direction: depth for direction in tables if (depth := self._depth(protocol, subject, direction))
        }
        return Measured(metrics, info, _joined(tables), depths)

    def _depth(self, protocol: Protocol, subject: Subject, direction: Direction) -> int | None:
        """The largest K at which every query's hit is known; None = every K is."""
        best, worst = (
            getattr(protocol.evaluate(self._places(direction), subject, rule).ranks, f"{direction}_rank")
            for rule in ("optimistic", "pessimistic")
        )
        open_ranks = best[best != worst]
        return int(open_ranks.min()) if len(open_ranks) else None

    def _places(self, direction: Direction) -> np.ndarray:
        """(I, T) by which listed items stand in the order of the list, and all others tie below them."""
        lists = self.listed[direction]
        return lists.matrix(direction, self.images, self.texts, lists.place)

    def _decided(self, protocol: Protocol, subject: Subject, direction: Direction) -> frozenset[str]:
        """The metrics of a direction that no order of the items left out can change."""
        key = protocol, direction
        if key not in self._known:
            scores = self._places(direction)
            best = protocol.evaluate(scores, subject, "optimistic").metrics
            worst = protocol.evaluate(scores, subject, "pessimistic").metrics
            found = {
                name
                for name, value in best.items()
                if _MONOTONE.fullmatch(name) and name.startswith(direction) and worst.get(name) == value
            }
            if f"{direction}_meanr" not in found:  # a median beside an unknown mean would be read as complete
                found.discard(f"{direction}_medr")
            self._known[key] = frozenset(found)
        return self._known[key]


def _joined(tables: Mapping[Direction, RankTable]) -> RankTable | None:
    """The ranks of both directions in one table; None where one is missing."""
    if len(tables) < 2:
        return None
    of_captions = {f.name: getattr(tables["t2i"], f.name) for f in fields(RankTable) if f.name.startswith("t2i_")}
    return replace(tables["i2t"], **of_captions)


def levels(query: np.ndarray, place: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """(M,) number of items of the same list that score higher, from scores of any scale.

    >>> levels(np.array([0, 0, 0]), np.arange(3), np.array([0.9, 0.9, 0.1])).tolist()
    [0, 0, 2]
    """
    order = np.lexsort((place, -scores, query))
    ranked, owner = scores[order], query[order]
    index = np.arange(len(order))
    new_query = np.r_[True, owner[1:] != owner[:-1]]
    new_level = new_query | np.r_[True, ranked[1:] != ranked[:-1]]
    start = np.maximum.accumulate(np.where(new_query, index, 0))
    level = np.maximum.accumulate(np.where(new_level, index, 0)) - start
    found = np.empty(len(order), dtype=np.int64)
    found[order] = level
    return found
