"""Friedman's test and Nemenyi's critical difference over datasets, guarded: with few datasets neither can reject.

Our critical-difference diagrams draw their bars from the adjusted p-matrix of a comparison instead.

Source: Demsar, JMLR 2006.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from harness.reports.statistics.checks import array, level, whole
from harness.reports.statistics.errors import InvalidSetting, TooFewDatasets


@dataclass(frozen=True)
class Friedman:
    """Friedman's chi-square over N datasets, and the F of Iman and Davenport with its p-value."""

    chi_square: float
    f: float
    p: float


def friedman(average_ranks: ArrayLike, datasets: int) -> Friedman:
    """Test whether M methods have equal average ranks over datasets.

    Args:
        average_ranks: (M,) mean rank of each method, 1 the best.
        datasets: number of independent datasets N.

    Returns:
        The test.

    Raises:
        TooFewDatasets: under 2.
        InvalidSetting: ranks outside 1 to M, or that do not add up to those of M methods.
    """
    whole(datasets, "the number of datasets")
    ranks = array(average_ranks, "average ranks", least=1)
    methods = len(ranks)
    if datasets < 2 or methods < 2:
        raise TooFewDatasets(f"Friedman's test needs 2 methods and 2 datasets, got {methods} and {datasets}")
    if ranks.max() > methods or abs(ranks.mean() - (methods + 1) / 2) > 0.01:
        raise InvalidSetting(
            f"average ranks of {methods} methods lie between 1 and {methods} with mean {(methods + 1) / 2:g}, got "
            f"{ranks.min():g} to {ranks.max():g} with mean {ranks.mean():g}"
        )
    spread = float((ranks**2).sum()) - methods * (methods + 1) ** 2 / 4.0
    chi_square = 12.0 * datasets / (methods * (methods + 1)) * spread
    rest = datasets * (methods - 1) - chi_square
    if rest <= 1e-9:  # every dataset ranks the methods alike
        return Friedman(chi_square, math.inf, 0.0)
    f = (datasets - 1) * chi_square / rest
    return Friedman(chi_square, f, float(stats.f.sf(f, methods - 1, (methods - 1) * (datasets - 1))))


def critical_difference(methods: int, datasets: int, alpha: float = 0.05) -> float:
    """Difference of average ranks that Nemenyi's test calls significant.

    Args:
        methods: M.
        datasets: N independent datasets.
        alpha: family-wise level.

    Returns:
        q sqrt(M (M + 1) / (6 N)), in ranks.

    Raises:
        TooFewDatasets: it exceeds M - 1, the largest difference there is, so that the test can never reject.
        InvalidSetting: fewer than 2 methods, no dataset, alpha outside 0 to 1.
    """
    whole(methods, "the number of methods", least=2)
    whole(datasets, "the number of datasets", least=1)
    level(alpha)
    q = float(stats.studentized_range.ppf(1.0 - alpha, methods, np.inf)) / math.sqrt(2.0)
    difference = q * math.sqrt(methods * (methods + 1) / (6.0 * datasets))
    if difference > methods - 1:
        raise TooFewDatasets(
            f"Nemenyi's test of {methods} methods on {datasets} datasets cannot reject: its critical difference "
            f"{difference:.2f} exceeds the largest possible {methods - 1}; use the comparison's adjusted p-values"
        )
    return difference
