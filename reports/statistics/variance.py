"""The variance of a difference, from new images and from new seeds.

A claim about methods, not checkpoints, needs both: V = s²(d_i)/N + s²_A/S_A + s²_B/S_B with Satterthwaite's degrees of
freedom. A Welch test on seed means forgets the first term: by simulation its type I error grows from 16 % to 52 %
between 3 and 10 seeds. What a variance lets one detect is in `power`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.reports.statistics.checks import array, codes, number
from harness.reports.statistics.errors import TooFewImages, TooFewSeeds


@dataclass(frozen=True)
class VarianceSplit:
    """Where the uncertainty of a difference comes from; variances in points squared."""

    images: float
    seeds: tuple[float, ...]  # of each method; empty for a claim about checkpoints
    df: float  # Satterthwaite degrees of freedom of the total
    dfs: tuple[float, ...] = ()  # of each part alone: images, then seeds; those of the total where there is one part

    @property
    def total(self) -> float:
        """The variance of the difference."""
        return math.fsum([self.images, *self.seeds])

    @property
    def se(self) -> float:
        """The standard error of the difference, in points."""
        return math.sqrt(self.total)

    @property
    def seed_share(self) -> float:
        """Part of the variance that more seeds would reduce, 0 to 1."""
        return sum(self.seeds) / self.total if self.total > 0 else 0.0

    def advice(self) -> str:
        """What to add to know more, in a sentence; empty for a claim about checkpoints."""
        if not self.seeds or self.total == 0:
            return ""
        percent = 100.0 * self.seed_share
        share = f"{percent:.0f} % of the variance comes from seeds, {100 - percent:.0f} % from images"
        if self.seed_share > 0.6:
            return f"{share}: add seeds."
        if self.seed_share < 0.4:
            return f"{share}: add test images (another dataset or a larger split), not seeds."
        return f"{share}: adding both helps."


def clustered_variance(influence: NDArray[np.float64], fold: NDArray[np.int64]) -> float:
    """Variance of a sum of centred image contributions, folds being strata.

    Args:
        influence: (N,) contributions in points that sum to zero in every fold, see `ImageColumns.influence`.
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


def combine(images: float, df_images: float, seed_scores: Sequence[ArrayLike]) -> VarianceSplit:
    """Add the seed variances of any number of independent groups of runs to that of the images.

    Args:
        images: variance from images, in points squared.
        df_images: its degrees of freedom, N - 1 (N - folds with strata).
        seed_scores: per group the scores (S,) of its seeds in points.

    Returns:
        The split, with df = V² / [V_img²/df_img + sum (s²/S)²/(S - 1)].

    Raises:
        TooFewSeeds: a group of one seed, whose variance is unknown.
        InvalidSetting: a negative variance, no degrees of freedom, scores that are not finite.

    >>> split = combine(25.0, 999, [[500, 502, 504], [495, 497, 499]])
    >>> round(split.se, 5), round(split.df, 3)
    (5.25991, 318.484)
    """
    number(images, "the variance of the images", least=0)
    number(df_images, "degrees of freedom", above=0)
    terms, dfs, shares = [], [], [images**2 / df_images]
    for group in seed_scores:
        scores = array(group, "scores of the seeds")
        if len(scores) < 2:
            raise TooFewSeeds("the variance between seeds needs at least 2 seeds, got 1; train more seeds")
        term = float(scores.var(ddof=1)) / len(scores)
        terms.append(term)
        dfs.append(len(scores) - 1.0)
        shares.append(term**2 / (len(scores) - 1))
    # fsum: exact in any order, so that swapping two methods changes no bit.
    total, denominator = math.fsum([images, *terms]), math.fsum(shares)
    df = total**2 / denominator if denominator > 0 else float(df_images)
    return VarianceSplit(images, tuple(terms), df, (float(df_images), *dfs))


class SeedDraws:
    """Random seed effects of M methods on K metrics, for the joint distribution of method claims.

    A draw has the seed-level covariance between metrics, and its own estimate of the seeds' variance (chi-square with
    S - 1 degrees of freedom), so that the studentised maximum has the heavy tails that few seeds give.

    Args:
        seed_scores: per method (S_m, K) points.
        seed: of the draws.
    """

    def __init__(self, seed_scores: Sequence[NDArray[np.float64]], seed: np.random.SeedSequence):
        self.deviations = [scores - scores.mean(axis=0) for scores in seed_scores]
        self.generator = np.random.default_rng(seed)

    def block(self, rows: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Draw once per row.

        Returns:
            Seed effects (M, K, rows) in points, and the variances (M, K, rows) that such a draw would have estimated.
        """
        effects, variances = [], []
        for deviations in self.deviations:
            seeds = len(deviations)
            normal = self.generator.standard_normal((rows, seeds))
            chi = self.generator.chisquare(seeds - 1, rows) / (seeds - 1)
            effects.append((np.einsum("rs,sk->rk", normal, deviations) / math.sqrt(seeds * (seeds - 1))).T)
            variances.append(np.outer(np.square(deviations).sum(axis=0) / (seeds * (seeds - 1)), chi))
        return np.stack(effects), np.stack(variances)
