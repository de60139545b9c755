"""Relevance sets: queries with any number of correct items, and the metrics that look at all of them.

Shape letters: I images, T captions, Q queries, P correct items of all queries together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.records.ties import TiedRanks, Ties, check_ties

Direction = Literal["i2t", "t2i"]


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

        >>> Positives.from_pairs([2, 0, 2], [5, 1, 3]).items.tolist()
        [1, 3, 5]
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
    def first(self) -> TiedRanks:
        """Where the best correct item of each query lies."""
        first = self.starts[:-1]
        return TiedRanks(self.above[first], (self.equal - self.correct_equal)[first], self.correct_equal[first])

    def r_precision(self, ties: Ties = "pessimistic") -> np.ndarray:
        """(Q,) share of correct items among the first R, where R is the query's number of correct items; 0..1.

        Raises:
            InvalidSimilarity: unknown tie rule.
        """
        return self._share_within(self._depth, ties)

    def coverage(self, k: int, ties: Ties = "pessimistic") -> np.ndarray:
        """(Q,) share of a query's correct items among the first k; 0..1, and at most k / R.

        It is information retrieval's Recall@k, which the field's "R@K", a hit rate, is not.

        >>> from harness.metrics import count_positives
        >>> scores, true = np.array([[0.9, 0.7, 0.8, 0.1]]), Positives.from_pairs([0, 0], [0, 1])
        >>> [count_positives(scores, true, "i2t").coverage(k).item() for k in (1, 2, 3)]
        [0.5, 0.5, 1.0]

        Raises:
            InvalidSimilarity: unknown tie rule.
        """
        return self._share_within(k, ties)

    def _share_within(self, depth: int | np.ndarray, ties: Ties) -> np.ndarray:
        """(Q,) share of the correct items among the first `depth`: one number, or (P,) of each item's query."""
        check_ties(ties)
        if ties == "expected":  # each order of tied items puts the same share of them among the first
            return self._mean(np.clip(depth - self.above, 0, self.equal) / self.equal)
        return self._mean(self._item_ranks(ties) < depth)

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
