"""Distributions of numbers that a report describes: mean, spread and deciles, and means by group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def distribution(values: NDArray[np.floating[Any]]) -> dict[str, Any] | None:
    """Count, mean, standard deviation and deciles (minimum and maximum at their ends) of all values that are not NaN.

    None where there is no value.

    >>> found = distribution(np.array([[0.0, 1.0], [2.0, np.nan]]))
    >>> found["count"], found["mean"], found["deciles"][5]
    (3, 1.0, 1.0)
    """
    real = values[~np.isnan(values)].astype(np.float64)
    if not len(real):
        return None
    deciles = np.quantile(real, np.linspace(0, 1, 11))
    return {
        "count": len(real),
        "mean": float(real.mean()),
        "sd": float(real.std()),
        "deciles": tuple(deciles.tolist()),
    }


def means_by_column(values: NDArray[np.floating[Any]]) -> tuple[float, ...]:
    """Mean of each column of (N, F) over the rows that have it; columns that no row has are left out.

    >>> means_by_column(np.array([[0.0, 1.0], [2.0, np.nan]]))
    (1.0, 1.0)
    """
    there = ~np.isnan(values)
    sums, counts = np.where(there, values, 0).sum(0, dtype=np.float64), there.sum(0)
    return tuple((sums[counts > 0] / counts[counts > 0]).tolist())


def means_by_key(
    values: NDArray[np.floating[Any]], keys: NDArray[np.integer[Any]], fewest: int
) -> list[tuple[int, float, int]]:
    """(key, mean, count) of each key that occurs at least `fewest` times with a value, the lowest mean first.

    Args:
        values: (N, W), NaN = no value.
        keys: (N, W).
        fewest: occurrences below which a mean says little.

    >>> means_by_key(np.array([[0.5, 0.25, np.nan], [1.0, 0.75, 0.0]]), np.array([[7, 8, 0], [7, 8, 9]]), fewest=2)
    [(8, 0.5, 2), (7, 0.75, 2)]
    """
    there = ~np.isnan(values)
    found, place, counts = np.unique(keys[there], return_inverse=True, return_counts=True)
    means = np.bincount(place, weights=values[there].astype(np.float64), minlength=len(found)) / np.maximum(counts, 1)
    rows = zip(found.tolist(), means.tolist(), counts.tolist(), strict=True)
    return sorted((row for row in rows if row[2] >= fewest), key=lambda row: (row[1], row[0]))


def ends(rows: Sequence[tuple[int, float, int]], most: int) -> tuple[list[tuple[int, float, int]], ...]:
    """The first and the last rows, the last one first; of few rows each is in one end only.

    >>> ends([(1, 0.1, 9), (2, 0.2, 9), (3, 0.3, 9)], most=2)
    ([(1, 0.1, 9)], [(3, 0.3, 9)])
    """
    half = min(most, len(rows) // 2)
    return list(rows[:half]), list(rows[len(rows) - half :])[::-1]
