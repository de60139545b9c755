"""Ranks of tied items: what a tie rule makes of the counts above and level with the best positive.

Shape letters: Q queries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from harness.errors import InvalidSimilarity

Ties = Literal["pessimistic", "optimistic", "expected"]
ALL_TIES: tuple[Ties, ...] = get_args(Ties)
#: Directions: an image searches captions, and a caption searches images.
WAYS = ("i2t", "t2i")
#: The field's cut-offs, and the recalls at them as a record names them.
KS = (1, 5, 10)
RECALLS = tuple(f"{direction}_r{k}" for direction in WAYS for k in KS)
_ROUNDING = 1e-9  # of a mean of chances


def check_ties(ties: str) -> None:
    """Refuse an unknown tie rule.

    Raises:
        InvalidSimilarity: naming the valid ones.
    """
    if ties not in ALL_TIES:
        raise InvalidSimilarity(f"unknown tie rule '{ties}'; valid: {', '.join(ALL_TIES)}")


@dataclass(frozen=True, eq=False)
class TiedRanks:
    """Where the best positive of Q queries lies, before a tie rule orders the tied items.

    >>> tied = TiedRanks(np.array([2]), wrong=np.array([3]), correct=np.array([1]))
    >>> [tied.ranks(rule).item() for rule in ("optimistic", "expected", "pessimistic")]
    [2, 3.5, 5]

    Args:
        above: (Q,) int64, items that score higher.
        wrong: (Q,) int64, wrong items that score the same.
        correct: (Q,) int64, correct items that score the same, itself included (at least 1).
    """

    above: np.ndarray
    wrong: np.ndarray
    correct: np.ndarray

    @classmethod
    def from_ranks(cls, ranks: np.ndarray, wrong: np.ndarray, correct: np.ndarray, ties: Ties) -> TiedRanks:
        """From the ranks (Q,) that a tie rule has given."""
        check_ties(ties)
        before = {"pessimistic": wrong, "optimistic": 0 * wrong, "expected": wrong / (correct + 1)}[ties]
        return cls(np.rint(ranks - before).astype(np.int64), wrong, correct)

    def of(self, queries: np.ndarray) -> TiedRanks:
        """Of some of the queries (rows or flags)."""
        return TiedRanks(self.above[queries], self.wrong[queries], self.correct[queries])

    def ranks(self, ties: Ties = "pessimistic") -> np.ndarray:
        """(Q,) 0-based ranks: int64, or the float64 mean over all orders under the expected rule.

        Raises:
            InvalidSimilarity: unknown tie rule.
        """
        check_ties(ties)
        if ties == "expected":  # e wrong and p correct ones: e / (p + 1) wrong ones come before the first correct one
            return self.above + self.wrong / (self.correct + 1)
        return self.above + (self.wrong if ties == "pessimistic" else 0)

    def hits(self, k: int, ties: Ties = "pessimistic") -> np.ndarray:
        """(Q,) float64 chance that a correct item is among the first k: 0 or 1 unless the rule is the expected one.

        Under that rule the n = e + p tied items stand in a random order and m = k - above places are left for them. All of
        these go to wrong ones with probability C(e, m) / C(n, m), which is the product of (n - m - i) / (n - i) over
        i = 0 .. p - 1: the hypergeometric law.

        Raises:
            InvalidSimilarity: unknown tie rule.
        """
        if ties != "expected":
            return (self.ranks(ties) < k).astype(np.float64)
        tied = self.wrong + self.correct
        places = np.clip(k - self.above, 0, tied)
        missed = np.ones(len(tied))
        for i in range(int(self.correct.max(initial=0))):
            factor = np.maximum(tied - places - i, 0) / np.maximum(tied - i, 1)
            missed *= np.where(i < self.correct, factor, 1.0)
        return np.where(self.correct == 1, places / tied, 1.0 - missed)

    def median(self, ties: Ties = "pessimistic") -> float:
        """0-based median rank of all queries, the mean of the middle two if two ranks are in the middle.

        Under the expected rule it is the median of the ranks that the queries take over all orders of the tied items, each
        query with equal weight.

        Raises:
            InvalidSimilarity: unknown tie rule.
        """
        if ties != "expected":
            return float(np.median(self.ranks(ties)))
        return (self._smallest(0.5 - _ROUNDING) + self._smallest(0.5 + _ROUNDING)) / 2

    def _smallest(self, share: float) -> int:
        """The smallest 0-based rank that more than `share` of the queries reach."""
        low, high = 0, int((self.above + self.wrong).max(initial=0))
        while low < high:
            middle = (low + high) // 2
            low, high = (
                (low, middle) if float(np.mean(self.hits(middle + 1, "expected"))) > share else (middle + 1, high)
            )
        return low
