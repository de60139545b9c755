"""Claims about methods, not checkpoints: the variance of new images and of new seeds together.

V = s²(d_i)/N + s²_A/S_A + s²_B/S_B with Satterthwaite's degrees of freedom. A Welch test on seed means forgets the
first term: its error grows from 16 % to 52 % between 3 and 10 seeds, by simulation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.reports.statistics.checks import array, number
from harness.reports.statistics.errors import TooFewSeeds


@dataclass(frozen=True)
class VarianceSplit:
    """Where the uncertainty of a difference comes from.

    Attributes:
        images: variance from the sampling of images, in points squared.
        seeds: variance from the seeds of each method (or of the paired seeds), in points squared; empty for a claim
            about checkpoints.
        df: Satterthwaite degrees of freedom of the total.
    """

    images: float
    seeds: tuple[float, ...]
    df: float

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


def combine(images: float, df_images: float, seed_scores: Sequence[ArrayLike]) -> VarianceSplit:
    """Add the seed variances of any number of independent groups of runs to that of the images.

    Args:
        images: variance from images, in points squared.
        df_images: its degrees of freedom, N - 1 (N - folds with strata).
        seed_scores: for each group the seed-level scores (S,) in points; paired seeds are one group of differences.

    Returns:
        The split, with df = V² / [V_img²/df_img + sum (s²/S)²/(S - 1)].

    Raises:
        TooFewSeeds: a group of one seed, whose variance is unknown.
        InvalidSetting: a negative variance, no degrees of freedom, scores that are not finite.
    """
    number(images, "the variance of the images", least=0)
    number(df_images, "degrees of freedom", above=0)
    terms, shares = [], [images**2 / df_images]
    for group in seed_scores:
        scores = array(group, "scores of the seeds")
        if len(scores) < 2:
            raise TooFewSeeds("the variance between seeds needs at least 2 seeds, got 1; train more seeds")
        term = float(scores.var(ddof=1)) / len(scores)
        terms.append(term)
        shares.append(term**2 / (len(scores) - 1))
    # fsum: exact in any order, so that swapping two methods changes no bit.
    total, denominator = math.fsum([images, *terms]), math.fsum(shares)
    return VarianceSplit(images, tuple(terms), total**2 / denominator if denominator > 0 else float(df_images))


class SeedDraws:
    """Random seed effects of M methods on K metrics, for the joint distribution of method claims.

    A draw has the seed-level covariance between metrics, and its own estimate of the seeds' variance (chi-square with
    S - 1 degrees of freedom), so that the studentised maximum has the heavy tails that few seeds give.

    Args:
        seed_scores: for each method (S_m, K) points.
        paired: seeds are shared by all methods, and so are their draws.
        seed: of the draws.
    """

    def __init__(self, seed_scores: Sequence[NDArray[np.float64]], paired: bool, seed: np.random.SeedSequence):
        self.deviations = [scores - scores.mean(axis=0) for scores in seed_scores]
        self.paired = paired
        self.generator = np.random.default_rng(seed)

    def block(
        self, rows: int, first: NDArray[np.int64], second: NDArray[np.int64], metric: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Draw for H hypotheses: method `first` minus method `second` on `metric`, (H,) indices each.

        Returns:
            Seed effects (rows, H) in points, and the variances (rows, H) that such a draw would have estimated.
        """
        normals, chi = [], []
        for deviation in self.deviations[:1] if self.paired else self.deviations:
            seeds = len(deviation)
            normals.append(self.generator.standard_normal((rows, seeds)))
            chi.append(self.generator.chisquare(seeds - 1, rows) / (seeds - 1))
        if self.paired:
            stack = np.stack(self.deviations)
            contrast = stack[first, :, metric] - stack[second, :, metric]  # (H, S)
            seeds = contrast.shape[1]
            effect = np.einsum("rs,hs->rh", normals[0], contrast) / math.sqrt(seeds * (seeds - 1))
            return effect, np.outer(chi[0], np.square(contrast).sum(axis=1) / (seeds * (seeds - 1)))
        effects, variances = [], []
        for deviation, normal, factor in zip(self.deviations, normals, chi, strict=True):
            seeds = len(deviation)
            effects.append(np.einsum("rs,sk->rk", normal, deviation) / math.sqrt(seeds * (seeds - 1)))
            variances.append(np.outer(factor, np.square(deviation).sum(axis=0) / (seeds * (seeds - 1))))
        effect, variance = np.stack(effects, axis=1), np.stack(variances, axis=1)  # (rows, M, K)
        return (
            effect[:, first, metric] - effect[:, second, metric],
            variance[:, first, metric] + variance[:, second, metric],
        )
