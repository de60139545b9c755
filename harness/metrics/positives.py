"""Relevance sets: queries with any number of correct items, their ranks, and the metrics that look at all of them.

A query's items are counted, not ordered: one sort of its scores, then two binary searches for every correct item tell
how many items lie above it and how many tie with it. Each tie rule follows from those counts exactly.

Shape letters: I images, T captions, Q queries, N items of the gallery, P correct items of all queries together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from harness.errors import InvalidSimilarity
from harness.records.scores import comparable
from harness.records.ties import TiedRanks, Ties, check_ties

Direction = Literal["i2t", "t2i"]
_BLOCK_ELEMENTS = 8_000_000  # scores held and sorted at once


@dataclass(frozen=True, eq=False)
class Positives:
    """The correct items of some queries of one direction.

    Args:
        queries: (Q,) int64, rising: image rows (i2t) or caption columns (t2i). Each has at least one correct item.
        starts: (Q + 1,) int64; the items of query q are `items[starts[q]:starts[q + 1]]`.
        items: (P,) int64, distinct and rising within a query: caption columns (i2t) or image rows (t2i).
        absent: (Q,) int64, further correct items that the gallery does not hold: they count in R and are never found.
    """

    queries: np.ndarray
    starts: np.ndarray
    items: np.ndarray
    absent: np.ndarray

    @classmethod
    def from_pairs(cls, queries: np.ndarray, items: np.ndarray) -> Positives:
        """From pairs of a query and a correct item, (n,) each, in any order; repeats count once, items below 0 are absent.

        A query of absent items alone is left out.
        """
        asked, named = np.asarray(queries, np.int64), np.asarray(items, np.int64)
        pairs = np.unique(np.stack([asked, named])[:, named >= 0], axis=1)
        found, counts = np.unique(pairs[0], return_counts=True)
        absent = np.array([], dtype=np.int64) if (named >= 0).all() else asked[named < 0]
        place = np.searchsorted(found, absent)
        known = place[(place < len(found)) & (found[np.minimum(place, len(found) - 1)] == absent)]
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return cls(found, starts, pairs[1], np.bincount(known, minlength=len(found)))

    @classmethod
    def from_relevance(cls, relevance: np.ndarray, direction: Direction) -> Positives:
        """From a matrix (I, T) bool; queries without a correct item are left out."""
        return cls.from_pairs(*np.nonzero(relevance if direction == "i2t" else np.asarray(relevance).T))

    @property
    def sizes(self) -> np.ndarray:
        """(Q,) the number of correct items of each query in the gallery."""
        return np.diff(self.starts)


@dataclass(frozen=True, eq=False)
class PositiveCounts:
    """Where the correct items of each query lie, counted.

    The four counts run over the correct items of each query from its highest score down (same `starts`).

    Args:
        starts: (Q + 1,) as in `Positives`.
        relevant: (Q,) R, the number of correct items of each query, absent ones included.
        above: (P,) items of the gallery that score higher, correct ones included.
        equal: (P,) items that score the same, itself included.
        correct_above, correct_equal: (P,) the correct ones among them.
        best: (Q,) the correct item that scores highest (the first of those that tie).
    """

    starts: np.ndarray
    relevant: np.ndarray
    above: np.ndarray
    equal: np.ndarray
    correct_above: np.ndarray
    correct_equal: np.ndarray
    best: np.ndarray

    @property
    def tied(self) -> np.ndarray:
        """(Q,) wrong items that tie with the best correct one."""
        first = self.starts[:-1]
        return self.equal[first] - self.correct_equal[first]

    def ranks(self, ties: Ties = "pessimistic") -> np.ndarray:
        """(Q,) 0-based rank of the best correct item; int64, float64 under the expected rule.

        Raises:
            InvalidSimilarity: unknown tie rule.
        """
        return self.first.ranks(ties)

    @property
    def first(self) -> TiedRanks:
        """Where the best correct item of each query lies."""
        first = self.starts[:-1]
        return TiedRanks(self.above[first], self.tied, self.correct_equal[first])

    def r_precision(self, ties: Ties = "pessimistic") -> np.ndarray:
        """(Q,) share of correct items among the first R, where R is the query's number of correct items; 0..1.

        Raises:
            InvalidSimilarity: unknown tie rule.
        """
        check_ties(ties)
        if ties == "expected":  # each order of tied items puts the same share of them among the first R
            return self._mean(np.clip(self._depth - self.above, 0, self.equal) / self.equal)
        return self._mean(self._item_ranks(ties) < self._depth)

    def average_precision_at_r(self, ties: Ties = "pessimistic") -> np.ndarray:
        """(Q,) mean over the first R places of the precision at each place that holds a correct item; 0..1.

        Raises:
            InvalidSimilarity: unknown tie rule.

        Source:
            Musgrave et al., A Metric Learning Reality Check, ECCV 2020; Chun et al., ECCV Caption, ECCV 2022.
        """
        check_ties(ties)
        if ties == "expected":
            return self._mean(self._expected_precision())
        rank = self._item_ranks(ties)
        return self._mean(np.where(rank < self._depth, (self._place + 1) / (rank + 1), 0.0))

    @property
    def _place(self) -> np.ndarray:
        """(P,) number of each correct item among those of its query, from 0."""
        return np.arange(len(self.above)) - np.repeat(self.starts[:-1], np.diff(self.starts))

    @property
    def _depth(self) -> np.ndarray:
        """(P,) R of the item's query."""
        return np.repeat(self.relevant, np.diff(self.starts))

    def _item_ranks(self, ties: Ties) -> np.ndarray:
        """(P,) 0-based rank of every correct item, tied wrong ones all before or all behind it."""
        wrong = self.above - self.correct_above
        return self._place + wrong + (self.equal - self.correct_equal if ties == "pessimistic" else 0)

    def _expected_precision(self) -> np.ndarray:
        """(P,) each correct item's share of its query's expected sum of precisions at the first R places.

        Within n tied items, p of them correct, below s others with c correct: place s + j holds a correct item with
        chance p / n, and then c + 1 + (j - 1)(p - 1)/(n - 1) of the first s + j are expected to be correct.
        """
        places = np.clip(self._depth - self.above, 0, self.equal)  # of the tied ones, those among the first R
        harmonic = np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, int(self._depth.max(initial=0)) + 1))])
        upper = harmonic[np.minimum(self.above + places, self._depth)]
        inverse = np.where(places > 0, upper - harmonic[np.minimum(self.above, self._depth)], 0.0)  # sum of 1 / (s + j)
        others = (self.correct_equal - 1) / np.maximum(self.equal - 1, 1)
        return ((self.correct_above + 1) * inverse + others * (places - (self.above + 1) * inverse)) / self.equal

    def _mean(self, values: np.ndarray) -> np.ndarray:
        return np.add.reduceat(values.astype(np.float64), self.starts[:-1]) / self.relevant


def rankable(similarity: Tensor | np.ndarray) -> Tensor | np.ndarray:
    """The matrix in a type that can be compared exactly; floating-point tensors are left where they are."""
    if not isinstance(similarity, Tensor):
        return comparable(similarity)
    if similarity.is_floating_point():
        return similarity
    return torch.from_numpy(comparable(similarity.cpu().numpy()).astype(np.float64)).to(similarity.device)


def count_positives(similarity: Tensor | np.ndarray, positives: Positives, direction: Direction) -> PositiveCounts:
    """Count, for every correct item of every query, what lies above it and what ties with it.

    Args:
        similarity: (I, T), higher is better; a tensor, an array or a memory map, read in blocks.
        positives: Q queries of that direction.
        direction: `i2t`: rows are queries, all T captions the gallery; `t2i`: columns, all I images.

    Returns:
        The counts.

    Raises:
        InvalidSimilarity: no query, or a value that is not finite.
    """
    if not len(positives.queries):
        raise InvalidSimilarity(f"no {direction} query has a correct item")
    similarity = rankable(similarity)
    size = similarity.shape[1 if direction == "i2t" else 0]
    step = max(1, _BLOCK_ELEMENTS // size)
    counts = np.empty((4, len(positives.items)), dtype=np.int64)
    best = np.empty(len(positives.queries), dtype=np.int64)
    for start in range(0, len(positives.queries), step):
        block = _query_block(similarity, positives.queries[start : start + step], direction)
        ordered = np.sort(block, axis=1)
        for row in range(len(block)):
            query = start + row
            part = slice(positives.starts[query], positives.starts[query + 1])
            items = positives.items[part]
            scores = block[row, items]
            best[query] = items[np.argmax(scores)]
            scores = np.sort(scores)
            down = scores[::-1]
            counts[:2, part] = _above_and_equal(ordered[row], down)
            counts[2:, part] = _above_and_equal(scores, down)
    relevant = positives.sizes + positives.absent
    return PositiveCounts(positives.starts, relevant, counts[0], counts[1], counts[2], counts[3], best)


def _above_and_equal(ordered: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many entries of a rising array are greater than each value, and how many equal it."""
    right = ordered.searchsorted(values, side="right")
    return len(ordered) - right, right - ordered.searchsorted(values, side="left")


def _query_block(similarity: Tensor | np.ndarray, queries: np.ndarray, direction: Direction) -> np.ndarray:
    """(len(queries), N) the scores of some queries, checked for finite values."""
    whole_range = queries[-1] - queries[0] + 1 == len(queries)  # a slice is read without an index of every element
    chosen = slice(int(queries[0]), int(queries[-1]) + 1) if whole_range else queries
    block = similarity[chosen] if direction == "i2t" else similarity[:, chosen].T
    if isinstance(block, Tensor):
        block = block.to(torch.float64 if block.dtype == torch.float64 else torch.float32).cpu().numpy()
    # half precision sorts and searches slowly; every value of it is a float32
    kind = np.float64 if block.dtype.kind != "f" or block.dtype.itemsize > 4 else np.float32
    block = np.ascontiguousarray(block, dtype=kind)
    if not np.isfinite(block).all():
        query, item = np.argwhere(~np.isfinite(block))[0].tolist()
        image, caption = (queries[query], item) if direction == "i2t" else (item, queries[query])
        raise InvalidSimilarity(
            f"similarity holds {float(block[query, item])} at image {image}, caption {caption}; "
            "every score must be finite, or ranks are undefined"
        )
    return block
