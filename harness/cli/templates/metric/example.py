"""Metric `example`: the discount of DCG, 100 where the best positive comes first and 63.1 where it comes second.

Shape letters: Q queries.
"""

from __future__ import annotations

import numpy as np

from harness.metrics.base import Metric


class Example(Metric):
    """100 / log2(2 + rank)."""

    description = "discounted gain of the best positive, percent"
    better = "higher"
    lowest, highest = 0.0, 100.0

    def values(self, ranks: np.ndarray, gallery: int) -> np.ndarray:
        """(Q,) percent, from 0-based ranks among `gallery` items. The mean over the queries is reported."""
        return 100.0 / np.log2(2.0 + ranks)
