"""Mean reciprocal rank: 100 for a query whose best positive comes first, 50 where it comes second."""

from __future__ import annotations

import numpy as np

from harness.metrics.base import Metric


class ReciprocalRank(Metric):
    """100 / (1 + rank)."""

    description = "mean reciprocal rank of the best positive, percent"
    highest = 100.0

    def values(self, ranks: np.ndarray, gallery: int) -> np.ndarray:
        """(Q,) percent."""
        return 100.0 / (1 + ranks)
