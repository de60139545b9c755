"""The base of further metrics: what the rank of a query's best positive is worth.

They stand beside the metrics that every protocol gives, and are averaged as those are: over the queries of each fold, and over
the folds.

Shape letters: Q queries.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import numpy as np

from harness.records.ties import TiedRanks, Ties


class Metric(ABC):
    """A number per query; its mean becomes `i2t_<name>` and `t2i_<name>`.

    Attributes:
        description: one line.
        better: which values are better.
        lowest, highest: the bounds of its values.
    """

    description: ClassVar[str] = ""
    better: ClassVar[Literal["higher", "lower"]] = "higher"
    lowest: ClassVar[float] = 0.0
    highest: ClassVar[float] = math.inf

    @abstractmethod
    def values(self, ranks: np.ndarray, gallery: int) -> np.ndarray:
        """(Q,) float64, each of its own query alone.

        Args:
            ranks: (Q,) int64, 0-based rank of the best positive.
            gallery: number of items that are ranked.
        """

    def of_tied(self, tied: TiedRanks, gallery: int, ties: Ties) -> np.ndarray:
        """(Q,) float64 under a tie rule; the expected one takes the mean over all orders of the tied items.

        Args:
            tied: where the best positive of each query lies.
            gallery: number of items that are ranked.
            ties: the rule.

        >>> from harness.metrics.reciprocal import ReciprocalRank
        >>> tied = TiedRanks(np.array([0]), wrong=np.array([1]), correct=np.array([1]))
        >>> [ReciprocalRank().of_tied(tied, 5, rule).item() for rule in ("pessimistic", "expected", "optimistic")]
        [50.0, 75.0, 100.0]
        """
        if ties != "expected":
            return np.asarray(self.values(tied.ranks(ties), gallery), dtype=np.float64)
        behind = TiedRanks(np.zeros_like(tied.above), tied.wrong, tied.correct)
        found = np.zeros(len(tied.above))
        for place in range(int(tied.wrong.max(initial=0)) + 1):  # wrong tied items before the first correct one
            chance = behind.hits(place + 1, ties) - behind.hits(place, ties)
            found += chance * self.values(tied.above + np.minimum(place, tied.wrong), gallery)
        return found
