"""A score as what every picture contributes to it, so that whatever is made of scores has an interval and a paired test.

Answers belong to pictures, and pictures to no one else: the picture is the unit. A mean over items is a ratio of sums over
pictures; a sum, a slope or a ratio of such means is a smooth function of them. Each is kept as its value and its influence:
by how much a picture moves the value, to first order (the delete-one change, up to terms of order 1/N). The variance of
any of them is then that of a sum over pictures, and two methods are compared picture by picture.

Shape letters: S seeds, Q items, N pictures, L levels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.reports.statistics.checks import array, codes, level
from harness.reports.statistics.errors import InvalidSetting, TooFewImages
from harness.reports.statistics.intervals import Interval, t_interval
from harness.reports.statistics.variance import VarianceSplit, clustered_variance, combine

#: Points of a mean of hits or shares that are all 1.
PERCENT = 100.0


@dataclass(frozen=True, eq=False)
class Score:
    """One score of one method.

    Args:
        values: (S,) of each seed.
        influence: (S, N) of each picture; a row sums to zero.
        support: (N,) which pictures have a part in it.
        denominator: where every picture adds whole multiples of 100 / denominator, that number; else 0.
    """

    values: NDArray[np.float64]
    influence: NDArray[np.float64]
    support: NDArray[np.bool_]
    denominator: int = 0

    @property
    def mean(self) -> float:
        """The score, averaged over seeds."""
        return float(self.values.mean())

    @property
    def pictures(self) -> int:
        """How many pictures have a part in it."""
        return int(self.support.sum())

    @property
    def parts(self) -> NDArray[np.float64]:
        """(N,) what each picture contributes, averaged over seeds; they sum to the score."""
        return self.influence.mean(axis=0) + self.mean / self.pictures * self.support

    def split(self, *, seeds: bool = True) -> VarianceSplit:
        """Its variance from new pictures and, where it has several seeds and `seeds` is true, from new seeds.

        Raises:
            TooFewImages: fewer than two pictures.
        """
        own = self.influence.mean(axis=0)[self.support]
        if len(own) < 2:
            raise TooFewImages(f"an interval needs 2 pictures, got {len(own)}")
        images = clustered_variance(own, np.zeros(len(own), dtype=np.int64))
        return combine(images, len(own) - 1, [self.values] if seeds and len(self.values) > 1 else [])

    def interval(self, alpha: float = 0.05, low: float = -math.inf, high: float = math.inf) -> Interval:
        """The score with its interval, cut to the range that the score can have.

        Raises:
            TooFewImages: fewer than two pictures.
        """
        level(alpha)
        split = self.split()
        ends = t_interval(self.mean, split.se, split.df, alpha)
        sd = float(self.values.std(ddof=1)) if len(self.values) > 1 else None
        return Interval(self.mean, sd, split.se, max(ends[0], low), min(ends[1], high))

    def __add__(self, other: Score) -> Score:
        return weighted([self, other], [1, 1])

    def __sub__(self, other: Score) -> Score:
        return weighted([self, other], [1, -1])


def mean_score(values: ArrayLike, cluster: ArrayLike, size: int, *, points: float = PERCENT) -> Score:
    """The mean over items, a ratio of sums over pictures.

    Args:
        values: (S, Q); NaN = the item takes no part.
        cluster: (Q,) number of the picture that each item belongs to.
        size: N.
        points: that a mean of 1 is worth.

    Raises:
        InvalidSetting: infinite values, pictures out of range, or a seed without any item.

    >>> score = mean_score([[1, 0, 1, 1]], [0, 0, 1, 2], 3)
    >>> score.mean, score.parts.round(2).tolist()
    (75.0, [12.5, 31.25, 31.25])
    """
    found = np.atleast_2d(np.asarray(values, dtype=np.float64))
    owner = codes(cluster, "pictures of items", length=found.shape[1])
    if owner.max() >= size or np.isinf(found).any():
        raise InvalidSetting(f"items must be finite and of pictures 0 to {size - 1}, got picture {int(owner.max())}")
    there = ~np.isnan(found)
    if not there.any(axis=1).all():
        raise InvalidSetting("a mean needs items, and a seed has none")
    sums, counts = (_by_picture(rows, owner, size) for rows in (np.where(there, found, 0.0), there.astype(np.float64)))
    totals = counts.sum(axis=1, keepdims=True)
    means = sums.sum(axis=1, keepdims=True) / totals
    support: NDArray[np.bool_] = np.logical_or.reduce(counts > 0)
    whole = points == PERCENT and np.array_equal(sums, np.rint(sums)) and len(np.unique(counts[:, support])) == 1
    return Score(
        values=points * means[:, 0],
        influence=points * (sums - means * counts) / totals,
        support=support,
        denominator=int(totals[0, 0]) if whole else 0,
    )


def _by_picture(rows: NDArray[np.float64], owner: NDArray[np.int64], size: int) -> NDArray[np.float64]:
    return np.stack([np.bincount(owner, weights=row, minlength=size) for row in rows])


def weighted(scores: Sequence[Score], weights: Sequence[float | Fraction]) -> Score:
    """A sum of scores with weights, seed by seed and picture by picture.

    Raises:
        InvalidSetting: no score, or scores with different seeds or pictures.

    >>> both = weighted([mean_score([[1, 0]], [0, 1], 2), mean_score([[1, 1]], [0, 1], 2)], [Fraction(1, 2)] * 2)
    >>> both.mean, both.parts.tolist()
    (75.0, [50.0, 25.0])
    """
    if not scores or len({score.influence.shape for score in scores}) > 1 or len(scores) != len(weights):
        shapes = [score.influence.shape for score in scores]
        raise InvalidSetting(f"scores to be added must be of the same seeds and pictures, got {shapes}")
    plain = [float(weight) for weight in weights]
    support: NDArray[np.bool_] = np.logical_or.reduce([score.support for score in scores])
    return Score(
        values=np.sum([w * score.values for w, score in zip(plain, scores, strict=True)], axis=0),
        influence=np.sum([w * score.influence for w, score in zip(plain, scores, strict=True)], axis=0),
        support=support,
        denominator=_denominator(scores, weights, support),
    )


def _denominator(scores: Sequence[Score], weights: Sequence[float | Fraction], support: NDArray[np.bool_]) -> int:
    """Of a sum: none where a weight is no fraction, or where a picture has a part in some of the scores only."""
    exact = all(isinstance(weight, int | Fraction) for weight in weights)
    if not exact or any(s.denominator == 0 or not np.array_equal(s.support, support) for s in scores):
        return 0
    return math.lcm(*(s.denominator * Fraction(w).denominator for s, w in zip(scores, weights, strict=True)))


def average(scores: Sequence[Score]) -> Score:
    """The mean of scores, each with the same weight whatever its number of items (a macro average)."""
    return weighted(scores, [Fraction(1, len(scores))] * len(scores))


def relative(part: Score, whole: Score) -> Score:
    """100 * part / whole, by the delta method: d(p/w) = dp/w - p dw/w².

    Raises:
        InvalidSetting: a whole of zero, or scores with different seeds or pictures.

    >>> relative(mean_score([[1, 0]], [0, 1], 2), mean_score([[1, 1]], [0, 1], 2)).mean
    50.0
    """
    if part.influence.shape != whole.influence.shape:
        raise InvalidSetting(
            f"a ratio needs the same seeds and pictures, got {part.influence.shape} and {whole.influence.shape}"
        )
    if (whole.values == 0).any():
        raise InvalidSetting("nothing is a share of a score of 0")
    below = whole.values[:, None]
    ratios = part.values / whole.values
    return Score(
        values=PERCENT * ratios,
        influence=PERCENT * (part.influence - ratios[:, None] * whole.influence) / below,
        support=part.support | whole.support,
    )


def slope_weights(places: ArrayLike) -> NDArray[np.float64]:
    """(L,) weights whose sum with scores at these places is their least-squares slope.

    Raises:
        InvalidSetting: fewer than two different places.

    >>> slope_weights([2, 4, 6]).tolist()
    [-0.25, 0.0, 0.25]
    """
    x = array(places, "places along an axis")
    centred = x - x.mean()
    squares = float(np.square(centred).sum())
    if squares == 0:
        raise InvalidSetting(f"a slope needs two places along its axis, got {x.tolist()}")
    return centred / squares


def area_weights(places: ArrayLike) -> NDArray[np.float64]:
    """(L,) weights whose sum with scores at these places is the mean height of the line through them (trapezoids).

    Raises:
        InvalidSetting: fewer than two different places.

    >>> area_weights([0, 1, 3]).round(3).tolist()
    [0.167, 0.5, 0.333]
    """
    x = array(places, "places along an axis")
    order = np.argsort(x, kind="stable")
    steps = np.diff(x[order])
    if steps.sum() == 0:
        raise InvalidSetting(f"an area needs two places along its axis, got {x.tolist()}")
    weights = np.zeros(len(x))
    weights[order[:-1]] += steps / 2
    weights[order[1:]] += steps / 2
    return weights / steps.sum()


def slope(scores: Sequence[Score], places: ArrayLike) -> Score:
    """Points per unit of the axis, by least squares over levels with equal weight."""
    return weighted(scores, slope_weights(places).tolist())


def area(scores: Sequence[Score], places: ArrayLike) -> Score:
    """The mean height under the line through scores at these places."""
    return weighted(scores, area_weights(places).tolist())


def total(scores: Iterable[Score]) -> Score:
    """The sum of scores, such as rSum of six recalls."""
    every = list(scores)
    return weighted(every, [1] * len(every))
