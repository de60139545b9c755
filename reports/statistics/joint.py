"""The joint resampling of all pairs and metrics of a comparison: raw p, maxT p and simultaneous critical values.

One pass over one sign matrix. A pair's resampled sum is the difference of its methods' sums, and the sum of its
centred contributions follows from that and the signs' sums over the query groups, so both cost one product.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from harness.reports.statistics.hits import ImageColumns
from harness.reports.statistics.permutation import (
    BLOCK_BYTES,
    CHUNK,
    MaxT,
    critical_value,
    flip_count,
    root_sum_squares,
    sign_sums,
    tail_probability,
)
from harness.reports.statistics.variance import SeedDraws

#: Resamples that are worked on at once, and threads that do so.
_ROWS, _THREADS = 2048, max(1, min(4, os.cpu_count() or 1))
#: Of rough statistics: the share of a variance and of a square that may be rounding, the smallest difference between two
#: methods that their rounding leaves room for, and the smallest floor to which this applies; see `_Rough`.
_SLACK, _RESOLUTION, _LEAST_FLOOR = 1e-3, 1e-3, 0.5
#: Told of work done and of all work.
Progress = Callable[[int, int], None]


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

    p_flip: NDArray[np.float64] | None  # (H,) sign flip; None for a claim about methods, which has no use for it
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
    progress: Progress | None = None,
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
        progress: told how many resamples of how many are done.
    """
    differences = hypotheses.numerators(columns).T  # (N, H)
    observed = np.abs(differences.sum(axis=0)).astype(np.float64)
    root = root_sum_squares(differences)
    squares = np.square(hypotheses.influence(columns)).sum(axis=1)
    statistic = observed / root if draws is None else t_observed
    total, exact = flip_count(len(columns.fold), resamples)
    blocks = _blocks(columns, hypotheses, resamples, seed, draws)
    lock, done = Lock(), 0

    def work() -> _Work:
        """Take blocks until none is left. What is counted does not depend on who took which."""
        nonlocal done
        own = _Work(_Tests(hypotheses, columns, observed, root, squares), families, statistic)
        while True:
            with lock:
                block = next(blocks, None)
            if block is None:
                return own
            own.add(block)
            with lock:
                done += block.rows
                if progress:
                    progress(done, total)

    with ThreadPoolExecutor(_THREADS) as pool:
        first, *others = [future.result() for future in [pool.submit(work) for _ in range(_THREADS)]]
    for other in others:
        first.merge(other)
    p_maxt = np.ones(len(observed))
    for family, steps in zip(families, first.steps, strict=True):
        p_maxt[family] = steps.p_values(total, exact)[0]
    critical = tuple(critical_value(np.concatenate(largest), alpha) for largest in first.maxima)
    p_flip = tail_probability(first.tests.counts, total, exact) if draws is None else None
    return JointResult(p_flip, p_maxt, critical)


class _Work:
    """What one thread counts."""

    def __init__(self, tests: _Tests, families: Sequence[NDArray[np.int64]], statistic: NDArray[np.float64]):
        self.tests, self.families = tests, families
        self.steps = [MaxT(statistic[family]) for family in families]
        self.maxima: list[list[NDArray[np.float64]]] = [[] for _ in families]

    def add(self, block: _Block) -> None:
        """Count a block."""
        rough = self.tests.rough(block)
        for family, steps, largest in zip(self.families, self.steps, self.maxima, strict=True):
            if block.effects is not None:
                largest.append(steps.update(block.rows, partial(self.tests.centred, block, rough, family)))
                continue
            top = np.full(block.rows, -np.inf)
            steps.update(block.rows, partial(self.tests.flipped, block, rough, family, top))
            largest.append(top)

    def merge(self, other: _Work) -> None:
        """Add what another thread counted."""
        self.tests.counts += other.tests.counts
        for steps, theirs in zip(self.steps, other.steps, strict=True):
            steps.merge(theirs)
        for largest, more in zip(self.maxima, other.maxima, strict=True):
            largest += more


@dataclass(frozen=True, eq=False)
class _Block:
    """Resamples of all methods: what each hypothesis is made of, with the resamples along the last axis."""

    sums: NDArray[np.float64]  # (M K, rows) of the numerators
    groups: NDArray[np.float64]  # (rows, G) of the queries
    effects: NDArray[np.float64] | None  # (M K, rows) of seeds, and the variances estimated with them
    variances: NDArray[np.float64] | None

    @property
    def rows(self) -> int:
        """Resamples."""
        return len(self.groups)


@dataclass(frozen=True, eq=False)
class _Rough:
    """The parts of all statistics in single precision: most are far below the largest one, and need not be known better.

    A statistic t is effect / sqrt(variance); t >= floor only if effect² >= floor² variance. The left side is known to
    `_SLACK` of the right one: single precision has 2^-24, and of an effect at least 1 / `_RESOLUTION` is left where
    two methods' effects cancel.
    """

    parts: NDArray[np.float32]  # (M K, 3, rows): effect with seeds, that of images over sqrt(N - 1), variance of seeds
    # (H, 1): the variance from images before the resample's own effect is taken off; -inf = unknown
    least: NDArray[np.float32]
    first: NDArray[np.int64]
    second: NDArray[np.int64]

    @cached_property
    def _held(self) -> NDArray[np.float32]:
        """Room for the parts of both methods, used again and again: new memory would take longer than the sums."""
        return np.empty((2, CHUNK, *self.parts.shape[1:]), np.float32)

    def above(self, h: NDArray[np.int64], floor: NDArray[np.float64]) -> NDArray[np.int64]:
        """The resamples in which the statistic of one of these hypotheses may be above the floor (rows,)."""
        first, second = self._held[:, : len(h)]
        # "clip" writes straight into the room; no index is out of range.
        np.take(self.parts, self.first[h], axis=0, out=first, mode="clip")
        np.take(self.parts, self.second[h], axis=0, out=second, mode="clip")
        difference = first[:, :2]
        difference -= second[:, :2]
        np.square(difference, out=difference)
        variance = first[:, 2]
        variance += second[:, 2]
        variance += self.least[h]
        variance -= difference[:, 1]
        known = np.where(floor < _LEAST_FLOOR, 0.0, np.square(floor) * (1.0 - _SLACK))
        with np.errstate(invalid="ignore"):  # 0 times an unknown variance: not below it, so it may be above the floor
            variance *= known.astype(np.float32)
        return np.flatnonzero(~(difference[:, 0] < variance).all(axis=0))


def _blocks(
    columns: ImageColumns, hypotheses: Hypotheses, resamples: int, seed: int, draws: SeedDraws | None
) -> Iterator[_Block]:
    """Blocks of resamples, large enough for long loops of the processor."""
    methods, metrics, size = columns.numerators.shape
    flat = columns.numerators.reshape(methods * metrics, size)
    # How many rows are drawn at a time decides which seed effects meet which signs: other blocks, other numbers.
    rows = max(1, BLOCK_BYTES // (8 * max(size, 8 * len(hypotheses.first))))
    held: list[_Block] = []
    for drawn in sign_sums(np.concatenate([flat, columns.groups]).T, resamples, seed, rows):
        effects, variances = draws.block(len(drawn)) if draws else (None, None)
        held.append(
            _Block(
                drawn[:, : len(flat)].T,
                drawn[:, len(flat) :],
                None if effects is None else effects.reshape(len(flat), -1),
                None if variances is None else variances.reshape(len(flat), -1),
            )
        )
        if sum(block.rows for block in held) >= _ROWS:
            yield _joined(held)
            held = []
    if held:
        yield _joined(held)


def _joined(blocks: Sequence[_Block]) -> _Block:
    drawn = blocks[0].effects is not None
    return _Block(
        # One method's resamples side by side in memory, as all that follows reads them.
        np.ascontiguousarray(np.concatenate([block.sums for block in blocks], axis=1)),
        np.concatenate([block.groups for block in blocks]),
        np.concatenate([block.effects for block in blocks], axis=1) if drawn else None,
        np.concatenate([block.variances for block in blocks], axis=1) if drawn else None,
    )


class _Tests:
    """Statistics of hypotheses under resampling; without seed effects it also counts how often a flip beats the data."""

    def __init__(
        self,
        hypotheses: Hypotheses,
        columns: ImageColumns,
        observed: NDArray[np.float64],
        root: NDArray[np.float64],
        squares: NDArray[np.float64],
    ):
        metrics = len(columns.metrics)
        self.first = hypotheses.first * metrics + hypotheses.metric
        self.second = hypotheses.second * metrics + hypotheses.metric
        self.means, self.scale = hypotheses.group_means(columns), columns.scale[hypotheses.metric][:, None]
        self.observed, self.root, self.squares = observed[:, None], root[:, None], squares[:, None]
        self.images = len(columns.fold)
        self.counts = np.zeros(len(observed), dtype=np.int64)
        self._columns = columns

    def rough(self, block: _Block) -> _Rough:
        """What tells at little cost which statistics of a block are small."""
        of_groups = self._columns.group_means.reshape(len(block.sums), -1) @ block.groups.T
        scale = np.tile(self._columns.scale, len(self._columns.numerators))[:, None]
        centred = block.sums * scale - of_groups
        effects = centred if block.effects is None else centred + block.effects
        variances = np.zeros_like(centred) if block.variances is None else block.variances
        parts = np.stack([effects, centred / np.sqrt(self.images - 1.0), variances], axis=1)
        images = self.squares * (self.images / (self.images - 1.0))
        resolved = np.sqrt(images) > _RESOLUTION * np.abs(effects).max()
        least = np.where(resolved, images * (1.0 - _SLACK), -np.inf)
        return _Rough(parts.astype(np.float32), least.astype(np.float32), self.first, self.second)

    def flipped(
        self,
        block: _Block,
        rough: _Rough,
        family: NDArray[np.int64],
        top: NDArray[np.float64],
        which: NDArray[np.int64],
        _floor: NDArray[np.float64],
    ) -> tuple[slice, NDArray[np.float64]]:
        """What maxT compares for some members of a family of checkpoints; see `MaxT.update`.

        Counts the flips that beat the data, and raises `top` to the largest centred statistic.
        """
        rows, centred = self.centred(block, rough, family, which, top)
        top[rows] = np.maximum(top[rows], centred.max(axis=0))
        h = family[which]
        absolute = block.sums[self.first[h]]
        absolute -= block.sums[self.second[h]]
        np.abs(absolute, out=absolute)
        self.counts[h] += (absolute >= self.observed[h]).sum(axis=1)
        absolute /= self.root[h]
        return slice(None), absolute

    def centred(
        self,
        block: _Block,
        rough: _Rough,
        family: NDArray[np.int64],
        which: NDArray[np.int64],
        floor: NDArray[np.float64],
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Centred statistics of some members of a family where one of them may be above the floor; see `MaxT.update`."""
        h = family[which]
        rows = rough.above(h, floor)
        return rows, self._exact(block, h, rows)

    def _exact(self, block: _Block, h: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Centred statistics of some hypotheses in some resamples, (len(h), len(rows))."""
        first, second = np.ix_(self.first[h], rows), np.ix_(self.second[h], rows)
        effects = (block.sums[first] - block.sums[second]) * self.scale[h]
        effects -= self._of_groups(block.groups[rows], self.means[h])
        variance = self._variance(effects, h)
        if block.effects is not None and block.variances is not None:
            effects += block.effects[first] - block.effects[second]
            variance += block.variances[first] + block.variances[second]
        return _studentised(effects, variance)

    @staticmethod
    def _of_groups(groups: NDArray[np.float64], means: NDArray[np.float64]) -> NDArray[np.float64]:
        """(H, rows) what the query groups' means come to under the signs."""
        if groups.shape[1] == 2:  # the sum of two products has one order; einsum is slow at so short a sum
            found = means[:, :1] * groups[:, 0]
            found += means[:, 1:] * groups[:, 1]
            return found
        # einsum, not a BLAS product: its order of summation does not depend on the number of threads.
        return np.asarray(np.einsum("rg,hg->hr", groups, means))

    def _variance(self, effects: NDArray[np.float64], h: NDArray[np.int64]) -> NDArray[np.float64]:
        """What each resample itself would have estimated as the variance from images."""
        variance = np.square(effects)
        variance /= self.images
        np.subtract(self.squares[h], variance, out=variance)
        np.maximum(variance, 0.0, out=variance)
        variance *= self.images / (self.images - 1.0)
        return variance


def _studentised(effects: NDArray[np.float64], variance: NDArray[np.float64]) -> NDArray[np.float64]:
    """|effect| over the standard error; 0 where that is 0. Both arrays are used up."""
    nothing = variance <= 0
    np.sqrt(variance, out=variance)
    np.abs(effects, out=effects)
    with np.errstate(invalid="ignore", divide="ignore"):
        effects /= variance
    if nothing.any():
        effects[nothing] = 0.0
    return effects
