"""Analytic intervals with the image as the unit (cluster-t), and equivalence by two one-sided tests (TOST).

By simulation (docs/calibration.md) they cover 95 % down to 50 images, where BCa and percentile bootstrap fall short.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from scipy import stats

from harness.reports.statistics.checks import level, number
from harness.reports.statistics.errors import MissingEquivalenceBound
from harness.reports.statistics.hits import components, image_columns
from harness.reports.statistics.runs import MethodRuns
from harness.reports.statistics.variance import clustered_variance, combine


@dataclass(frozen=True)
class Interval:
    """A score with its interval, in points."""

    mean: float  # over seeds
    sd: float | None  # over seeds; None with one seed
    se: float
    low: float  # the interval is cut to the metric's range
    high: float

    def columns(self, name: str) -> dict[str, float | None]:
        """The columns of an estimate in a table: `name`, `name_sd`, `name_low` and `name_high`."""
        return {name: self.mean, f"{name}_sd": self.sd, f"{name}_low": self.low, f"{name}_high": self.high}


@dataclass(frozen=True)
class Equivalence:
    """Whether a difference lies inside ±delta, in points."""

    delta: float  # the declared margin
    p: float  # the larger of the two one-sided p-values
    low: float  # the (1 - 2 alpha) interval: equivalent exactly if it lies inside ±delta
    high: float
    equivalent: bool  # p < alpha


def t_interval(mean: float, se: float, df: float, alpha: float) -> tuple[float, float]:
    """Symmetric two-sided interval mean ± t(df) se.

    Raises:
        InvalidSetting: NaN, a negative se, df not above 0, alpha outside 0 to 1.

    >>> [round(end, 3) for end in t_interval(5.0, 1.0, 99, 0.05)]
    [3.016, 6.984]
    """
    _check_estimate(mean, se, df)
    level(alpha)
    half = float(stats.t.ppf(1.0 - alpha / 2.0, df)) * se
    return mean - half, mean + half


def t_p_value(mean: float, se: float, df: float) -> float:
    """Two-sided p of mean / se under t(df); 1 for 0 / 0 (a method against itself).

    Raises:
        InvalidSetting: NaN, a negative se, df not above 0.

    >>> round(t_p_value(2.0, 1.0, 99), 4)
    0.0482
    """
    _check_estimate(mean, se, df)
    if mean == 0.0:
        return 1.0
    return float(2.0 * stats.t.sf(abs(mean) / se, df)) if se > 0 else 0.0


def _check_estimate(mean: float, se: float, df: float) -> None:
    number(mean, "a difference")
    number(se, "a standard error", least=0)
    number(df, "degrees of freedom", above=0)


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
    """Test that |true difference| < delta: the only way to say that a difference does not matter.

    Args:
        mean: the difference, in points.
        se: its standard error.
        df: degrees of freedom of its t distribution.
        delta: the declared margin, in points.
        alpha: level of each one-sided test.

    Raises:
        MissingEquivalenceBound: no usable delta.
        InvalidSetting: a mean, SE, df or alpha out of range.

    >>> tost(0.2, se=0.4, df=99, delta=1.5).equivalent
    True
    """
    bound = checked_bound(delta)
    level(alpha, below=0.5)
    low, high = t_interval(mean, se, df, 2.0 * alpha)
    if se > 0:
        p = float(max(stats.t.sf((mean + bound) / se, df), stats.t.cdf((mean - bound) / se, df)))
    else:
        p = 0.0 if abs(mean) < bound else 1.0
    return Equivalence(bound, p, low, high, p < alpha)


def single_interval(runs: MethodRuns, metric: str, *, alpha: float = 0.05) -> Interval:
    """A method's score on one metric, with the uncertainty of new images and, given seeds, of new seeds.

    Args:
        runs: one method, S seeds.
        metric: `rsum` or a recall such as `t2i_r5`.
        alpha: 0.05 for a 95 % interval.

    Returns:
        V = s²(images)/N + s²(seeds)/S, with Satterthwaite degrees of freedom.

    Raises:
        UnknownName: not a metric.
        TooFewImages: one image.
    """
    level(alpha)
    columns = image_columns([runs], [metric])
    influence = columns.influence(columns.numerators[0, 0], columns.group_means[0, 0], 0)
    scores = columns.seed_scores[0][:, 0]
    several = len(scores) > 1
    df = len(columns.fold) - int(columns.fold.max()) - 1
    split = combine(clustered_variance(influence, columns.fold), df, [scores] if several else [])
    mean = float(columns.scores[0, 0])
    low, high = t_interval(mean, split.se, split.df, alpha)
    sd = float(scores.std(ddof=1)) if several else None
    return Interval(mean, sd, split.se, max(low, 0.0), min(high, 100.0 * len(components(metric))))
