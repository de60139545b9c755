"""Intervals with the image as the unit: analytic cluster-t, and the cluster bootstrap for what is not a mean.

By simulation (docs/calibration.md) the cluster-t interval covers 95 % down to 50 images, where BCa and percentile fall
short; the bootstrap is for statistics without a formula.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from harness.reports.statistics.checks import array, codes, level, number, resample_count, whole
from harness.reports.statistics.errors import InvalidSetting, TooFewImages
from harness.reports.statistics.hits import components, image_columns
from harness.reports.statistics.method_claim import combine
from harness.reports.statistics.runs import MethodRuns


@dataclass(frozen=True)
class Interval:
    """A score with its interval.

    Attributes:
        mean: points, averaged over seeds.
        sd: standard deviation over seeds, None with one seed.
        se: standard error in points.
        df: degrees of freedom of its t quantile.
        low, high: the interval, cut to the metric's range.
        images, seeds: what it rests on.
    """

    mean: float
    sd: float | None
    se: float
    df: float
    low: float
    high: float
    images: int
    seeds: int


def clustered_variance(influence: NDArray[np.float64], fold: NDArray[np.int64]) -> float:
    """Variance of a sum of centred image contributions, folds being strata.

    Args:
        influence: (N,) contributions in points that sum to zero in every fold, as `ImageColumns.influence` gives them.
        fold: (N,) fold number of each image.

    Returns:
        Points squared; sd(d)^2 / N for one fold.

    Raises:
        TooFewImages: a fold with one image.
        InvalidSetting: NaN, or folds that are not one whole number per contribution.
    """
    influence = array(influence, "contributions")
    fold = codes(fold, "folds", length=len(influence))
    sizes = np.bincount(fold)
    if (sizes < 2).any():
        raise TooFewImages(f"an interval needs 2 images in every fold, got {int(sizes.min())}; evaluate on more images")
    squares = np.bincount(fold, weights=influence**2)
    return float((squares * sizes / (sizes - 1)).sum())


def t_interval(mean: float, se: float, df: float, alpha: float) -> tuple[float, float]:
    """Symmetric two-sided interval mean ± t(df) se.

    Raises:
        InvalidSetting: NaN, a negative se, df not above 0, alpha outside 0 to 1.
    """
    _check_estimate(mean, se, df)
    level(alpha)
    half = float(stats.t.ppf(1.0 - alpha / 2.0, df)) * se
    return mean - half, mean + half


def t_p_value(mean: float, se: float, df: float) -> float:
    """Two-sided p of mean / se under t(df); 1 for 0 / 0 (a method against itself).

    Raises:
        InvalidSetting: NaN, a negative se, df not above 0.
    """
    _check_estimate(mean, se, df)
    if mean == 0.0:
        return 1.0
    return float(2.0 * stats.t.sf(abs(mean) / se, df)) if se > 0 else 0.0


def _check_estimate(mean: float, se: float, df: float) -> None:
    number(mean, "a difference")
    number(se, "a standard error", least=0)
    number(df, "degrees of freedom", above=0)


def single_interval(runs: MethodRuns, metric: str, *, alpha: float = 0.05) -> Interval:
    """A method's score on one metric, with the uncertainty of new images and, given seeds, of new seeds.

    Args:
        runs: one method, S seeds.
        metric: `rsum` or a recall such as `t2i_r5`.
        alpha: 0.05 for a 95 % interval.

    Returns:
        Mean over seeds in points and interval: V = s²(images)/N + s²(seeds)/S, Satterthwaite degrees of freedom.

    Raises:
        UnknownName: not a metric.
        TooFewImages: one image.
    """
    level(alpha)
    columns = image_columns([runs], [metric])
    influence = columns.influence(columns.numerators[0, 0], columns.group_means[0, 0], 0)
    scores = columns.seed_scores[0][:, 0]
    images, folds = len(columns.fold), int(columns.fold.max()) + 1
    split = combine(clustered_variance(influence, columns.fold), images - folds, [scores] if len(scores) > 1 else [])
    mean = float(columns.scores[0, 0])
    low, high = t_interval(mean, split.se, split.df, alpha)
    top = 100.0 * len(components(metric))
    return Interval(
        mean=mean,
        sd=float(scores.std(ddof=1)) if len(scores) > 1 else None,
        se=split.se,
        df=split.df,
        low=max(low, 0.0),
        high=min(high, top),
        images=images,
        seeds=len(scores),
    )


@dataclass(frozen=True, eq=False)
class BootstrapInterval:
    """Percentile interval of a statistic (C values) over resampled images: estimate, SE, low and high, (C,) each."""

    estimate: NDArray[np.float64]
    se: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    distribution: NDArray[np.float64]


def resampled_rows(size: int, generator: np.random.Generator, strata: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """Row numbers (N,) of one resample with replacement, within each stratum."""
    if strata is None:
        return generator.integers(0, size, size)
    rows = np.empty(size, dtype=np.int64)
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        rows[members] = members[generator.integers(0, len(members), len(members))]
    return rows


def cluster_bootstrap(
    rows: ArrayLike,
    statistic: Callable[[NDArray[np.float64]], ArrayLike],
    *,
    resamples: int = 2000,
    seed: int = 0,
    alpha: float = 0.05,
    strata: ArrayLike | None = None,
    crossed: bool = False,
) -> BootstrapInterval:
    """Percentile bootstrap over images, for statistics that are not means (a median rank, a ratio, a rank order).

    Args:
        rows: (N, ...) one row an image, whatever the statistic needs of it.
        statistic: from resampled rows to a number or (C,) numbers, all from the same resample.
        resamples: number of resamples.
        seed: of the resampling.
        alpha: 0.05 for a 95 % interval.
        strata: (N,) folds; images are resampled within theirs.
        crossed: also resample axis 1 of rows (seeds), independently of the images.

    Returns:
        Estimates and intervals.

    Raises:
        TooFewImages: under 2 rows.
        InvalidSetting: rows that are not finite numbers, strata that do not fit them, rows without a second axis to
            cross, a statistic that is not finite, or a setting outside its range.
    """
    level(alpha)
    resample_count(resamples)
    whole(seed, "the seed of the resampling")
    values = array(rows, "rows", axes=None)
    if len(values) < 2:
        raise TooFewImages(f"a bootstrap needs 2 images, got {len(values)}; evaluate on more images")
    if crossed and values.ndim < 2:
        raise InvalidSetting(f"a crossed bootstrap needs rows (N, S, ...), got shape {values.shape}")
    groups = None if strata is None else np.unique(codes(strata, "strata", length=len(values)), return_inverse=True)[1]
    generator = np.random.default_rng(seed)
    draws = []
    for _ in range(resamples):
        sample = values[resampled_rows(len(values), generator, groups)]
        if crossed:
            sample = sample[:, generator.integers(0, sample.shape[1], sample.shape[1])]
        draws.append(np.atleast_1d(np.asarray(statistic(sample), dtype=np.float64)))
    distribution = array(np.stack(draws), "the statistic of resampled rows", axes=2)
    low, high = np.quantile(distribution, [alpha / 2.0, 1.0 - alpha / 2.0], axis=0)
    return BootstrapInterval(
        estimate=np.atleast_1d(np.asarray(statistic(values), dtype=np.float64)),
        se=distribution.std(axis=0, ddof=1),
        low=low,
        high=high,
        distribution=distribution,
    )
