"""The joint resampling of all pairs and metrics of a comparison: raw p, maxT p and simultaneous critical values.

One pass over one sign matrix. A pair's resampled sum is the difference of its methods' sums, and the sum of its
centred contributions follows from that and the signs' sums over the query groups, so both cost one product.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.reports.statistics.hits import ImageColumns
from harness.reports.statistics.permutation import (
    BLOCK_BYTES,
    MaxT,
    critical_value,
    flip_count,
    root_sum_squares,
    sign_sums,
    tail_probability,
)
from harness.reports.statistics.variance import SeedDraws


@dataclass(frozen=True, eq=False)
class Hypotheses:
    """H differences: method `first` minus method `second` on `metric`, (H,) indices each."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    metric: NDArray[np.int64]

    def numerators(self, columns: ImageColumns) -> NDArray[np.int64]:
        """(H, N) whole differences per image."""
        return columns.numerators[self.first, self.metric] - columns.numerators[self.second, self.metric]

    def group_means(self, columns: ImageColumns) -> NDArray[np.float64]:
        """(H, G) differences of the group means."""
        return columns.group_means[self.first, self.metric] - columns.group_means[self.second, self.metric]

    def influence(self, columns: ImageColumns) -> NDArray[np.float64]:
        """(H, N) centred contributions in points."""
        parts = zip(self.numerators(columns), self.group_means(columns), self.metric.tolist(), strict=True)
        return np.stack([columns.influence(*part) for part in parts])


@dataclass(frozen=True, eq=False)
class JointResult:
    """What the resampling says of H hypotheses in families."""

    p_flip: NDArray[np.float64]  # (H,) sign flip
    p_maxt: NDArray[np.float64]  # (H,) step-down, each within its family
    critical: tuple[float, ...]  # one simultaneous critical value per family, in standard errors


def resample(
    columns: ImageColumns,
    hypotheses: Hypotheses,
    families: Sequence[NDArray[np.int64]],
    *,
    t_observed: NDArray[np.float64],
    alpha: float,
    resamples: int,
    seed: int,
    draws: SeedDraws | None = None,
) -> JointResult:
    """Flip all images' signs together and compare every hypothesis and family with what chance gives.

    For checkpoints maxT is a permutation test, studentised by sqrt(sum d²). For methods it compares with centred flips
    plus drawn seed effects, each draw studentised by its own variance.

    Args:
        columns: the numerators of all methods and metrics.
        hypotheses: the differences to test.
        families: index arrays into the hypotheses.
        t_observed: (H,) |difference| / SE, the statistic of maxT for a claim about methods.
        alpha: level of the critical values.
        resamples: rows of signs.
        seed: of the signs.
        draws: seed effects, for a claim about methods; None for checkpoints.
    """
    differences = hypotheses.numerators(columns).T  # (N, H)
    observed = np.abs(differences.sum(axis=0)).astype(np.float64)
    root = root_sum_squares(differences)
    squares = np.square(hypotheses.influence(columns)).sum(axis=1)
    stepwise = [MaxT((observed / root if draws is None else t_observed)[family]) for family in families]
    counts = np.zeros(len(observed), dtype=np.int64)
    maxima: list[list[NDArray[np.float64]]] = [[] for _ in families]

    for sums, effects in _pair_sums(columns, hypotheses, resamples, seed):
        absolute = np.abs(sums)
        counts += (absolute >= observed).sum(axis=0)
        centred = _studentised(effects, squares, len(columns.fold), draws, hypotheses)
        statistics = absolute / root if draws is None else centred
        for family, steps, largest in zip(families, stepwise, maxima, strict=True):
            steps.update(statistics[:, family])
            largest.append(centred[:, family].max(axis=1))

    rows, exact = flip_count(len(columns.fold), resamples)
    p_maxt = np.ones(len(observed))
    for family, steps in zip(families, stepwise, strict=True):
        p_maxt[family] = steps.p_values(rows, exact)[0]
    critical = tuple(critical_value(np.concatenate(largest), alpha) for largest in maxima)
    return JointResult(tail_probability(counts, rows, exact), p_maxt, critical)


def _pair_sums(
    columns: ImageColumns, hypotheses: Hypotheses, resamples: int, seed: int
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Yield blocks (rows, H): flipped sums of whole differences, and of centred contributions in points."""
    methods, metrics, size = columns.numerators.shape
    flat = columns.numerators.reshape(methods * metrics, size)
    first = hypotheses.first * metrics + hypotheses.metric
    second = hypotheses.second * metrics + hypotheses.metric
    # A block holds a row of signs per image and about eight temporary rows per hypothesis.
    rows = max(1, BLOCK_BYTES // (8 * max(size, 8 * len(first))))
    means, scale = hypotheses.group_means(columns), columns.scale[hypotheses.metric]
    for block in sign_sums(np.concatenate([flat, columns.groups]).T, resamples, seed, rows):
        sums = block[:, first] - block[:, second]
        # einsum, not a BLAS product: its order of summation does not depend on the number of threads.
        yield sums, sums * scale - np.einsum("rg,hg->rh", block[:, len(flat) :], means)


def _studentised(
    effects: NDArray[np.float64],
    squares: NDArray[np.float64],
    images: int,
    draws: SeedDraws | None,
    hypotheses: Hypotheses,
) -> NDArray[np.float64]:
    """|effect| over the standard error that the resample itself would have estimated, (rows, H)."""
    variance = (squares - np.square(effects) / images).clip(min=0.0) * (images / (images - 1.0))
    if draws is not None:
        seeds, seed_variance = draws.block(len(effects), hypotheses.first, hypotheses.second, hypotheses.metric)
        effects, variance = effects + seeds, variance + seed_variance
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(variance > 0, np.abs(effects) / np.sqrt(variance), 0.0)
