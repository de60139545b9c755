"""The first items of every query, kept over the tiles of a matrix: exactly those of a stable sort of the whole of it.

Shape letters: I images, T captions, Q queries, N gallery items, K items kept; q queries and n items of a tile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from harness.metrics.counting import Question
from harness.metrics.operations import arrays
from harness.metrics.operations.choice import Operations, Values, operations_for
from harness.metrics.positives import Direction
from harness.metrics.sources import Tile
from harness.records.tops import DEPTH

_LARGEST = np.finfo(np.float32).max


class TopLists(NamedTuple):
    """The first items of all queries; see `harness.records.tops.TopTable`, which names them alike."""

    i2t_top: np.ndarray
    i2t_score: np.ndarray
    t2i_top: np.ndarray
    t2i_score: np.ndarray


@dataclass(frozen=True)
class TopItems(Question):
    """The items with the highest scores of every image and of every caption; of equal ones the lower row comes first.

    >>> from harness.metrics import count
    >>> (found,) = count(np.array([[0.1, 0.9, 0.9], [0.5, 0.2, 0.8]]), [TopItems(2)])
    >>> found.i2t_top.tolist(), found.t2i_top.tolist()
    ([[1, 2], [2, 0]], [[1, 0], [0, 1], [0, 1]])

    Args:
        depth: items kept per query, fewer where the gallery is smaller.
    """

    depth: int = DEPTH

    def pairs(self, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """No score has to be known before the others."""
        return np.empty(0, np.int64), np.empty(0, np.int64)

    def tallies(self, shape: tuple[int, int], scores: np.ndarray) -> list[TopTally]:
        images, texts = shape
        return [TopTally("i2t", images, min(self.depth, texts)), TopTally("t2i", texts, min(self.depth, images))]

    def answer(self, scores: np.ndarray, tallies: Sequence[TopTally]) -> TopLists:
        i2t, t2i = tallies
        return TopLists(i2t.rows, i2t.scores, t2i.rows, t2i.scores)


class TopTally:
    """The first items of every query of one direction.

    Args:
        direction: whether images or captions ask.
        queries: Q, all items of the asking side.
        depth: K, at most the size of the gallery.
    """

    searches = False

    def __init__(self, direction: Direction, queries: int, depth: int):
        self.direction, self.depth = direction, depth
        self._work: Operations = arrays
        self._scores: Values = np.full((queries, depth), -np.inf)
        self._rows: Values = np.zeros((queries, depth), np.int64)

    @property
    def rows(self) -> np.ndarray:
        """(Q, K) int32 rows of the other side, best first."""
        return self._work.as_array(self._rows).astype(np.int32)

    @property
    def scores(self) -> np.ndarray:
        """(Q, K) float32; what float32 does not reach stands at its end."""
        return np.clip(self._work.as_array(self._scores), -_LARGEST, _LARGEST).astype(np.float32)

    def add(self, tile: Tile) -> None:
        """Let the items of a tile in."""
        work = operations_for(tile.scores)
        if work is not self._work or work.home(self._scores) != work.home(tile.scores):  # the lists stay with the tiles
            self._scores = work.moved(self._work.as_array(self._scores), tile.scores)
            self._rows = work.moved(self._work.as_array(self._rows), tile.scores)
            self._work = work
        asking, items, scores = tile.images, tile.captions, tile.scores
        if self.direction == "t2i":
            asking, items, scores = items, asking, scores.T
        # Most tiles hold nothing for most queries. An equal score may, by a lower row.
        hopeful = work.true_places(work.maxima(scores) >= self._scores[asking, -1])
        if len(hopeful) < len(asking):
            asking, scores = asking[hopeful], scores[hopeful]
        if len(asking):
            self._merge(asking, *_first(work, scores, items, self.depth))

    def _merge(self, asking: Values, scores: Values, rows: Values) -> None:
        """The best of what a query has and of what a tile offers: by row first, then stably by score."""
        work = self._work
        scores = work.joined(self._scores[asking], work.doubled(scores) + 0.0)  # -0.0 becomes 0.0, which equals it
        rows = work.joined(self._rows[asking], rows)
        order = work.rising_order(rows)
        scores, rows = work.taken(scores, order), work.taken(rows, order)
        order = work.falling_order(scores)[:, : self.depth]
        self._scores[asking], self._rows[asking] = work.taken(scores, order), work.taken(rows, order)


def _first(work: Operations, scores: Values, items: Values, depth: int) -> tuple[Values, Values]:
    """The best of a tile, in any order.

    Args:
        work: for these scores.
        scores: (q, n).
        items: (n,) their rows.
        depth: K.

    Returns:
        (q, min(K, n)) scores and rows.
    """
    if scores.shape[1] <= depth:
        return scores, work.repeated(items, len(scores))
    scores = work.comparable(scores)
    values, places, out = work.largest(scores, depth)
    rows = items[places]
    # Only where the last one in equals the first one out does it matter which of the equal ones were taken.
    tied = work.true_places(work.minima(values) == out)
    if len(tied):
        values[tied], rows[tied] = _lowest_of_equal(work, scores[tied], items, values[tied], rows[tied])
    return values, rows


def _lowest_of_equal(
    work: Operations, scores: Values, items: Values, values: Values, rows: Values
) -> tuple[Values, Values]:
    """The best of a tile where items share the last score that is in: those above it, and of the equal ones the lowest rows.

    Args:
        work: for these scores.
        scores: (q, n).
        items: (n,) their rows.
        values, rows: (q, K) the best, with any of the equal ones.
    """
    depth, last = values.shape[1], work.minima(values)[:, None]
    none = np.iinfo(np.int64).max
    equal = work.lowest(work.selected(scores == last, items, none), depth)
    least = work.as_type_of(work.moved(np.array(-np.inf), values), values)
    values = work.joined(work.selected(values > last, values, least), work.selected(equal < none, last, least))
    order = work.falling_order(values)[:, :depth]
    return work.taken(values, order), work.taken(work.joined(rows, equal), order)
