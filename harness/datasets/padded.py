"""Region features as fragments: the one place where a dataset meets torch."""

from __future__ import annotations

import numpy as np
import torch

from harness.fragments import Fragments


def padded(features: np.ndarray, counts: np.ndarray) -> Fragments:
    """Fragments of images whose first regions are real.

    Args:
        features: (n, R, D) float32, padded.
        counts: (n,) the number of real regions of each image.

    >>> padded(np.zeros((2, 3, 4), np.float32), np.array([1, 3])).mask.tolist()
    [[True, False, False], [True, True, True]]
    """
    return Fragments(torch.from_numpy(features), torch.from_numpy(np.arange(features.shape[1]) < counts[:, None]))


def in_order(first: Fragments, second: Fragments, order: np.ndarray) -> Fragments:
    """Items of two sets in another order, (n,) int64 among those of the first and then those of the second."""
    return Fragments.cat([first, second])[torch.from_numpy(order)]
