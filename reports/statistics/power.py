"""What a test can find: the chance that it finds a true difference, and the difference that it finds with a given chance.

A standard error from few seeds is itself uncertain, and so are its degrees of freedom. Both are averaged over here: the
parts of the variance are drawn as chi-squares, by Gauss quadrature, and the test that `intervals.t_p_value` makes of each
draw is carried out. Normal quantiles (2.80 standard errors for 80 %) promise too much from three seeds, and so does a
noncentral t with Satterthwaite's degrees of freedom: where seeds are all of the variance, the difference at which it says
80 % is found in 70 % (docs/calibration.md).

For planning. The power at the observed difference is never computed, since it says nothing that the p-value does not.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special
from scipy.interpolate import CubicSpline, RectBivariateSpline

from harness.reports.statistics.checks import level, number, whole
from harness.reports.statistics.variance import VarianceSplit

POWER = 0.8
#: Nodes of the quadrature for a part of the variance with few degrees of freedom, and for the images, which have many.
_FEW, _MANY = 32, 5
#: Draws of less weight, three of four where two parts have few degrees of freedom, change a power by less than 1e-7.
_NEGLIGIBLE = 1e-12
_STEPS = 64
_GAUSSIAN_FROM = 29  # degrees of freedom: above, Wilson and Hilferty's cube root is accurate to 1e-4
#: Nodes of the tables from which reports of thousands of pairs read; denser where seeds are all of the variance.
_SHARES = 1.0 - np.linspace(1.0, 0.0, 17) ** 2
_BALANCES = np.linspace(0.0, 1.0, 11)


@dataclass(frozen=True)
class Part:
    """A part of a variance that is estimated on its own: points squared, and degrees of freedom of the estimate."""

    variance: float
    df: float

    def __post_init__(self) -> None:
        number(self.variance, "a part of the variance", least=0)
        number(self.df, "degrees of freedom", above=0)


def power_at(difference: float, parts: Sequence[Part], *, alpha: float = 0.05, variance: float | None = None) -> float:
    """Chance that the two-sided test finds a true difference.

    Args:
        difference: the true one, in points.
        parts: what the variance is made of, as the test estimates it: images, then seeds.
        alpha: level of the test.
        variance: of the difference in truth, where the estimate is on average larger; None = the sum of the parts.

    Raises:
        InvalidSetting: no variance at all, or a number out of range.

    >>> round(power_at(2.8016, [Part(1.0, 1e6)]), 3)
    0.8
    >>> round(power_at(3.761, [Part(0.5, 2), Part(0.5, 2)]), 2)  # three seeds of two methods: 4 degrees of freedom at best
    0.7
    """
    number(difference, "the difference")
    level(alpha)
    true = number(math.fsum(p.variance for p in parts) if variance is None else variance, "the variance", above=0)
    return float(_power(difference, *_thresholds(parts, alpha), math.sqrt(true)))


def detectable_at(
    parts: Sequence[Part], *, alpha: float = 0.05, power: float = POWER, variance: float | None = None
) -> float:
    """Smallest true difference, in points, that the test finds with the given power; see `power_at`.

    Raises:
        InvalidSetting: a power outside alpha to 1, or as `power_at`.

    >>> round(detectable_at([Part(1.0, 1e6)]), 2), round(detectable_at([Part(0.5, 2), Part(0.5, 2)]), 2)
    (2.8, 4.3)
    """
    level(alpha)
    number(power, "power", above=alpha, below=1)
    true = number(math.fsum(p.variance for p in parts) if variance is None else variance, "the variance", least=0)
    if true == 0:
        return 0.0
    thresholds, weights = _thresholds(parts, alpha)
    se = math.sqrt(true)

    def missing(difference: float) -> float:
        return float(_power(difference, thresholds, weights, se)) - power

    upper = 4.0 * se
    while missing(upper) < 0:
        upper *= 2.0
    return float(optimize.brentq(missing, 0.0, upper, xtol=1e-9 * se, rtol=1e-9))


def detection_factor(alpha: float = 0.05, power: float = POWER, df: float = math.inf) -> float:
    """Standard errors between zero and a difference found with that power, by a t test: 2.80 for 80 % at a two-sided 5 %.

    By the noncentral t: a standard error of few degrees of freedom needs more of them.

    Raises:
        InvalidSetting: alpha or the power outside 0 to 1, degrees of freedom not above 0.

    >>> round(detection_factor(), 2), round(detection_factor(df=4), 2)
    (2.8, 3.76)
    """
    level(alpha)
    number(power, "power", above=0, below=1)
    if math.isinf(df):
        return float(special.ndtri(1.0 - alpha / 2.0) + special.ndtri(power))
    number(df, "degrees of freedom", above=0)
    return float(special.nctdtrinc(df, 1.0 - power, special.stdtrit(df, 1.0 - alpha / 2.0)))


def minimum_detectable(
    split: VarianceSplit, *, alpha: float = 0.05, power: float = POWER, comparisons: int = 1
) -> float:
    """Smallest true difference, in points, found with the given power at alpha / comparisons.

    The variances of the split are taken for the true ones. Differences with seeds of two methods are read from a table of
    `detectable_at`, to 1 %.

    Raises:
        InvalidSetting: no comparison, alpha or the power outside 0 to 1.
    """
    whole(comparisons, "the number of comparisons", least=1)
    if split.total == 0:
        return 0.0
    return float(_detectable(split, np.ones(1), alpha / comparisons, power)[0])


def images_needed(
    split: VarianceSplit, images: int, target: float, *, alpha: float = 0.05, power: float = POWER, comparisons: int = 1
) -> float:
    """Images with which a true difference of `target` points would be found with the given power.

    Args:
        split: the variance at the present number of images; only its image part shrinks with more images, and its degrees
            of freedom with it.
        images: the present N.
        target: points.
        alpha, power, comparisons: as in `minimum_detectable`.

    Returns:
        A whole number, or infinity when the seeds alone vary too much.

    Raises:
        InvalidSetting: a target that is not above 0, or counts below 1.
    """
    number(target, "the difference to find", above=0)
    whole(images, "images", least=1)
    whole(comparisons, "the number of comparisons", least=1)
    if split.total == 0:
        return 1.0
    level_each = alpha / comparisons
    strata = max(1.0, images - split.dfs[0]) if split.dfs else 1.0

    def enough(counts: NDArray[np.float64]) -> NDArray[np.bool_]:
        return _detectable(split, counts / images, level_each, power) <= target

    low, high = strata, 1e4 * max(images, 30)
    if not enough(np.full(1, high))[0]:  # far beyond any test set either the seeds decide, or 1 / sqrt(N) alone
        if sum(split.seeds) > 0:
            return math.inf
        return float(math.ceil(split.images * images * (detection_factor(level_each, power) / target) ** 2))
    while (
        high - low > 1
    ):  # more images do not always help: with few seeds their certain variance adds degrees of freedom
        steps = np.geomspace if high > 4 * low else np.linspace
        counts = np.unique(np.ceil(steps(low + 1, high, _STEPS)))
        first = int(np.argmax(enough(counts)))
        low, high = float(counts[first - 1]) if first else low, float(counts[first])
        if first == 0:
            break
    return high


def _thresholds(parts: Sequence[Part], alpha: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The differences above which the test rejects, over draws of the estimated parts, and the draws' weights."""
    variance, squares, weights = np.zeros(1), np.zeros(1), np.ones(1)
    for part in parts:
        if part.variance == 0:
            continue
        drawn, weight = _chi_squares(part.df)
        drawn = drawn * part.variance
        variance = np.add.outer(variance, drawn).ravel()
        squares = np.add.outer(squares, drawn**2 / part.df).ravel()
        weights = np.multiply.outer(weights, weight).ravel()
    seen = weights > _NEGLIGIBLE
    variance, squares, weights = variance[seen], squares[seen], weights[seen]
    with np.errstate(divide="ignore", invalid="ignore"):
        df = np.where(squares > 0, variance**2 / squares, np.inf)
    return special.stdtrit(np.minimum(df, 1e9), 1.0 - alpha / 2.0) * np.sqrt(variance), weights


def _power(difference: float, thresholds: NDArray[np.float64], weights: NDArray[np.float64], se: float) -> float:
    above, below = (difference - thresholds) / se, (-difference - thresholds) / se
    return float(weights @ (special.ndtr(above) + special.ndtr(below)))


@functools.lru_cache(maxsize=256)
def _chi_squares(df: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nodes and weights for the mean of a function of chi²(df) / df."""
    if df < _GAUSSIAN_FROM:
        nodes, weights = special.roots_genlaguerre(_FEW, df / 2.0 - 1.0)
        return 2.0 * nodes / df, weights / weights.sum()
    nodes, weights = special.roots_hermitenorm(_MANY)
    spread = 2.0 / (9.0 * df)
    return (1.0 - spread + nodes * math.sqrt(spread)) ** 3, weights / weights.sum()


def _detectable(split: VarianceSplit, times: NDArray[np.float64], alpha: float, power: float) -> NDArray[np.float64]:
    """Detectable differences with `times` as many images."""
    level(alpha)
    number(power, "power", above=0, below=1)
    images, df_images = split.images / times, _df_images(split) * times
    if len(split.seeds) != 2 or sum(split.seeds) == 0:
        parts = [Part(v, df) for v, df in zip(split.seeds, split.dfs[1:], strict=True)]
        if not any(part.variance for part in parts):
            return np.sqrt(images) * _factors(df_images, alpha, power)
        found = zip(images.tolist(), df_images.tolist(), strict=True)
        return np.asarray([detectable_at([Part(v, df), *parts], alpha=alpha, power=power) for v, df in found])
    # In one order whichever method is named first, so that swapping two of them changes no bit.
    (df_a, a), (df_b, b) = sorted(zip(split.dfs[1:], split.seeds, strict=True))
    share = (a + b) / (images + a + b)
    read = np.exp(_table(_df_images(split), (df_a, df_b), alpha, power).ev(share, np.full(len(share), a / (a + b))))
    # The table is of the present number of images; others change their degrees of freedom, which matters a little.
    total, constant = images + a + b, a**2 / df_a + b**2 / df_b
    now, then = (total**2 / (images**2 / df + constant) for df in (_df_images(split), df_images))
    return np.asarray(read * np.sqrt(total) * _factors(then, alpha, power) / _factors(now, alpha, power))


def _df_images(split: VarianceSplit) -> float:
    return split.dfs[0] if split.dfs else split.df


def _factors(df: ArrayLike, alpha: float, power: float) -> NDArray[np.float64]:
    """`detection_factor` of arrays; above a million degrees of freedom a t is normal."""
    return np.exp(_curve(alpha, power)(np.log(np.clip(np.asarray(df, dtype=np.float64), 1.0, 1e6))))


@functools.lru_cache(maxsize=128)
def _curve(alpha: float, power: float) -> CubicSpline:
    logs = np.linspace(0.0, math.log(1e6), 400)
    return CubicSpline(logs, [math.log(detection_factor(alpha, power, df)) for df in np.exp(logs).tolist()])


@functools.lru_cache(maxsize=128)
def _table(df_images: float, dfs: tuple[float, float], alpha: float, power: float) -> RectBivariateSpline:
    """Log of the standard errors needed, over the seeds' share of the variance and the first method's share of the seeds'."""
    values = np.empty((len(_SHARES), len(_BALANCES)))
    for j, balance in enumerate(_BALANCES.tolist()):
        mirror = len(_BALANCES) - 1 - j
        if dfs[0] == dfs[1] and mirror < j:
            values[:, j] = values[:, mirror]
            continue
        for i, share in enumerate(_SHARES.tolist()):
            seeds = [Part(share * balance, dfs[0]), Part(share * (1.0 - balance), dfs[1])]
            values[i, j] = math.log(detectable_at([Part(1.0 - share, df_images), *seeds], alpha=alpha, power=power))
    return RectBivariateSpline(_SHARES, _BALANCES, values)
