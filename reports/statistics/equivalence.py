"""Equivalence by two one-sided tests (TOST): the only way to say that a difference does not matter."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from scipy import stats

from harness.reports.statistics.checks import level
from harness.reports.statistics.errors import MissingEquivalenceBound
from harness.reports.statistics.intervals import t_interval


@dataclass(frozen=True)
class Equivalence:
    """Whether a difference lies inside ±delta.

    Attributes:
        delta: the declared margin, in points.
        p: the larger of the two one-sided p-values.
        low, high: the (1 - 2 alpha) interval; equivalent exactly if it lies inside ±delta.
        equivalent: p < alpha.
    """

    delta: float
    p: float
    low: float
    high: float
    equivalent: bool


def checked_bound(delta: Any, metric: str = "the metric") -> float:
    """The margin as a number.

    Raises:
        MissingEquivalenceBound: none, or not a positive finite number of points.
    """
    if isinstance(delta, bool) or not isinstance(delta, int | float) or not math.isfinite(delta) or delta <= 0:
        raise MissingEquivalenceBound(
            f"equivalence on {metric} needs a margin in points, got {delta!r}; declare the largest difference that "
            "would not matter, before looking at the results"
        )
    return float(delta)


def tost(mean: float, se: float, df: float, delta: float | None, *, alpha: float = 0.05) -> Equivalence:
    """Test that |true difference| < delta.

    Args:
        mean: the difference, in points.
        se: its standard error.
        df: degrees of freedom of its t distribution.
        delta: the declared margin, in points.
        alpha: level of each one-sided test.

    Returns:
        The test and its interval.

    Raises:
        MissingEquivalenceBound: no usable delta.
        InvalidSetting: a mean, SE, df or alpha that is none.
    """
    bound = checked_bound(delta)
    level(alpha, below=0.5)
    low, high = t_interval(mean, se, df, 2.0 * alpha)
    if se > 0:
        p = float(max(stats.t.sf((mean + bound) / se, df), stats.t.cdf((mean - bound) / se, df)))
    else:
        p = 0.0 if abs(mean) < bound else 1.0
    return Equivalence(bound, p, low, high, p < alpha)
