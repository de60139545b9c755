"""The first items of every query, kept over the tiles of a matrix: exactly those of a stable sort of the whole of it.

Shape letters: I images, T captions, Q queries, N gallery items, K items kept; q queries and n items of a tile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from harness.metrics.counting import Question
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
        self._scores = torch.full((queries, depth), -torch.inf, dtype=torch.float64)
        self._rows = torch.zeros((queries, depth), dtype=torch.int64)

    @property
    def rows(self) -> np.ndarray:
        """(Q, K) int32 rows of the other side, best first."""
        return self._rows.cpu().numpy().astype(np.int32)

    @property
    def scores(self) -> np.ndarray:
        """(Q, K) float32; what float32 does not reach stands at its end."""
        return np.clip(self._scores.cpu().numpy(), -_LARGEST, _LARGEST).astype(np.float32)

    def add(self, tile: Tile) -> None:
        """Let the items of a tile in."""
        if self._scores.device != tile.scores.device:  # the lists stay where the tiles are
            self._scores, self._rows = (side.to(tile.scores.device) for side in (self._scores, self._rows))
        asking, items, scores = tile.images, tile.captions, tile.scores
        if self.direction == "t2i":
            asking, items, scores = items, asking, scores.T
        # Most tiles hold nothing for most queries. An equal score may, by a lower row.
        hopeful = (scores.amax(1) >= self._scores[asking, -1]).nonzero().squeeze(1)
        if len(hopeful) < len(asking):
            asking, scores = asking[hopeful], scores[hopeful]
        if len(asking):
            self._merge(asking, *_first(scores, items, self.depth))

    def _merge(self, asking: Tensor, scores: Tensor, rows: Tensor) -> None:
        """The best of what a query has and of what a tile offers: by row first, then stably by score."""
        scores = torch.cat([self._scores[asking], scores.double() + 0.0], 1)  # -0.0 becomes 0.0, which equals it
        rows = torch.cat([self._rows[asking], rows], 1)
        order = rows.argsort(1)
        scores, rows = scores.gather(1, order), rows.gather(1, order)
        order = scores.argsort(dim=1, descending=True, stable=True)[:, : self.depth]
        self._scores[asking], self._rows[asking] = scores.gather(1, order), rows.gather(1, order)


def _first(scores: Tensor, items: Tensor, depth: int) -> tuple[Tensor, Tensor]:
    """The best of a tile, in any order.

    Args:
        scores: (q, n).
        items: (n,) their rows.
        depth: K.

    Returns:
        (q, min(K, n)) scores and rows.
    """
    if scores.shape[1] <= depth:
        return scores, items.expand(len(scores), -1)
    if scores.dtype in (torch.float16, torch.bfloat16):
        scores = scores.float()
    values, places, out = _largest(scores, depth)
    rows = items[places]
    # Only where the last one in equals the first one out does it matter which of the equal ones were taken.
    tied = (values.amin(1) == out).nonzero().squeeze(1)
    if len(tied):
        values[tied], rows[tied] = _lowest_of_equal(scores[tied], items, values[tied], rows[tied])
    return values, rows


def _largest(scores: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The largest of each row in any order, (q, K), where they are, and the next one after them, (q,).

    On a processor numpy's partition takes half as long as torch's selection, above all of few items.
    """
    if scores.device.type != "cpu":
        values, places = scores.topk(count + 1, dim=1)
        return values[:, :count], places[:, :count], values[:, count]
    array = np.ascontiguousarray(scores.numpy())
    first = array.shape[1] - count - 1
    places = torch.from_numpy(np.argpartition(array, first, axis=1)[:, first:].copy())
    values = scores.gather(1, places)
    return values[:, 1:], places[:, 1:], values[:, 0]


def _lowest_of_equal(scores: Tensor, items: Tensor, values: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """The best of a tile where items share the last score that is in: those above it, and of the equal ones the lowest rows.

    Args:
        scores: (q, n).
        items: (n,) their rows.
        values, rows: (q, K) the best, with any of the equal ones.
    """
    depth, last = values.shape[1], values.amin(1, keepdim=True)
    none = torch.iinfo(torch.int64).max
    equal = torch.where(scores == last, items, none).topk(depth, dim=1, largest=False).values
    values = torch.cat([torch.where(values > last, values, -torch.inf), torch.where(equal < none, last, -torch.inf)], 1)
    order = values.argsort(dim=1, descending=True, stable=True)[:, :depth]
    return values.gather(1, order), torch.cat([rows, equal], 1).gather(1, order)
