"""From pairwise tests to a ranking that is honest about itself: rank intervals and tiers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.reports.statistics.checks import array, resample_count, whole
from harness.reports.statistics.errors import InvalidSetting
from harness.reports.statistics.results import Comparison


@dataclass(frozen=True)
class RankedMethod:
    """A method's place.

    Attributes:
        name: the method.
        score: points, averaged over seeds.
        rank: 1-based by score; equal scores share the better rank.
        rank_low, rank_high: interval, from 1 + methods significantly better to M - methods significantly worse.
        tier: 1-based; a method leads a new tier when it is significantly worse than the leader of the last one.
    """

    name: str
    score: float
    rank: int
    rank_low: int
    rank_high: int
    tier: int


def tiers(comparison: Comparison, metric: str | None = None) -> tuple[RankedMethod, ...]:
    """Rank methods with intervals and tiers, from a comparison of all pairs.

    Args:
        comparison: `compare(..., pairs="all")` with a family-wise correction (Holm or maxT).
        metric: which; the primary one if None.

    Returns:
        Methods from best to worst, equal scores in the order of the comparison.

    Raises:
        InvalidSetting: some pair was not compared, or the pairs were corrected for discovery rate only.
        UnknownName: the metric was not compared.
    """
    metric = metric or comparison.families[0].metrics[0]
    rows = comparison.of_metric(metric)
    size = len(comparison.methods)
    if len(rows) < size * (size - 1) // 2:
        raise InvalidSetting(
            f"tiers need all {size * (size - 1) // 2} pairs, got {len(rows)}; compare with pairs='all'"
        )
    if rows[0].family.correction == "bh":
        raise InvalidSetting("tiers need a family-wise correction, got bh; compare with holm or maxt")
    place = {name: i for i, name in enumerate(comparison.methods)}
    better = np.zeros((size, size), dtype=bool)  # better[i, j]: i significantly better than j
    for row in rows:
        if row.significant and row.difference != 0:
            i, j = (row.a, row.b) if row.difference > 0 else (row.b, row.a)
            better[place[i], place[j]] = True
    scores = comparison.scores[:, comparison.metrics.index(metric)]
    return rank_intervals(comparison.methods, scores, better)


def rank_intervals(
    names: Sequence[str], scores: NDArray[np.float64], better: NDArray[np.bool_]
) -> tuple[RankedMethod, ...]:
    """Rank intervals and tiers from a matrix of significant differences.

    Args:
        names: M methods.
        scores: (M,) points.
        better: (M, M), entry [i, j] true where i is significantly better than j.

    Returns:
        Methods from best to worst.

    Raises:
        InvalidSetting: scores that are not finite, or a matrix that does not fit the names or contradicts itself.
    """
    scores = array(scores, "scores", length=len(names))
    better = np.asarray(better)
    if better.dtype != bool or better.shape != (len(names), len(names)) or (better & better.T).any():
        raise InvalidSetting(
            f"better must be {len(names)} x {len(names)} booleans, no method better than one that is better than it, "
            f"got shape {better.shape} of {better.dtype}"
        )
    ranked: list[RankedMethod] = []
    leader, tier = -1, 0
    for i in np.argsort(-scores, kind="stable"):
        if leader < 0 or better[leader, i]:
            leader, tier = int(i), tier + 1
        low, high = 1 + int(better[:, i].sum()), len(names) - int(better[i].sum())
        rank = 1 + int((scores > scores[i]).sum())
        ranked.append(RankedMethod(names[i], float(scores[i]), rank, low, high, tier))
    return tuple(ranked)


def best_frequency(contributions: NDArray[np.float64], *, resamples: int = 2000, seed: int = 0) -> NDArray[np.float64]:
    """How often each method has the highest score when images are resampled: a bootstrap frequency.

    It is not the probability that a method is the best, and reports must not call it that.

    Args:
        contributions: (M, N) points that each image adds to each method's score.
        resamples: number of resamples of the N images.
        seed: of the resampling.

    Returns:
        (M,) shares that sum to 1; a tie is shared.

    Raises:
        InvalidSetting: contributions that are not finite (M, N), or a setting outside its range.
    """
    contributions = array(contributions, "contributions", axes=2)
    resample_count(resamples)
    whole(seed, "the seed of the resampling")
    size = contributions.shape[1]
    generator = np.random.default_rng(seed)
    wins = np.zeros(len(contributions))
    for _ in range(resamples):
        counts = np.bincount(generator.integers(0, size, size), minlength=size)
        scores = np.einsum("mn,n->m", contributions, counts.astype(np.float64))
        best = scores >= scores.max() - 1e-9 * max(1.0, abs(float(scores.max())))
        wins += best / best.sum()
    return wins / resamples
