"""Where a number lies over many things."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.records.description import Spread


def spread(values: Sequence[float] | np.ndarray) -> Spread:
    """Mean, extremes, median and 95th percentile; percentiles are interpolated.

    Args:
        values: at least one finite number.

    >>> spread([1, 2, 3, 10]).median
    2.5
    """
    numbers = np.asarray(values, dtype=np.float64)
    median, p95 = np.percentile(numbers, (50, 95))
    return Spread(
        number=len(numbers),
        mean=float(numbers.mean()),
        smallest=float(numbers.min()),
        median=float(median),
        p95=float(p95),
        largest=float(numbers.max()),
    )
