"""Sign-flip permutation of image differences by matrix products: one sign matrix for all pairs and metrics.

A flip swaps two methods' answers on one image. Sums of whole numbers under 2^24 are exact in float32, so the product
gives the same bits on any number of threads, and a pair's sum is the difference of its two methods' sums: the product
has one column per method and metric, not one per pair and metric.

Source: Smucker et al. 2007; Phipson & Smyth 2010 for (b + 1) / (R + 1); Westfall & Young 1993 for maxT.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.reports.statistics.checks import array, level, resample_count, whole
from harness.reports.statistics.errors import InvalidSetting, TooFewResamples

EXACT_UP_TO = 16  # images; 2^15 sign rows, the other half being their mirror image
BLOCK_BYTES = 64 * 2**20
LARGEST_SUM = 2**51  # up to here sums and their doubles are exact in float64
_SLACK = 1.0 - 1e-10  # two studentised statistics that are equal on paper may differ in their last bits


@dataclass(frozen=True, eq=False)
class FlipTest:
    """Two-sided sign-flip p-values (C,): of each column alone, and adjusted over the columns by maxT."""

    p: NDArray[np.float64]
    p_single_step: NDArray[np.float64]
    p_step_down: NDArray[np.float64]


def flip_count(images: int, resamples: int) -> tuple[int, bool]:
    """Rows of signs that `sign_sums` yields, and whether they are an exact enumeration.

    Up to 16 images all sign vectors are enumerated up to a global sign, which a two-sided test cannot see.
    """
    return (2 ** (images - 1), True) if images <= EXACT_UP_TO else (resamples, False)


def sign_sums(
    columns: NDArray[Any], resamples: int, seed: int, block_rows: int | None = None
) -> Iterator[NDArray[np.float64]]:
    """Sums of columns under random (or all) signs, in blocks of bounded memory.

    Args:
        columns: (N, C) whole numbers, sums of their absolutes below 2^51.
        resamples: rows R to draw when N > 16.
        seed: of the sign matrix; the same signs come for any block size.
        block_rows: rows at a time; about 64 MiB of signs if None.

    Yields:
        (rows, C) float64, exact.
    """
    size = len(columns)
    rows, exact = flip_count(size, resamples)
    bound = 2 * int(np.abs(columns).sum(axis=0).max(initial=0))
    dtype = np.float32 if bound < 2**24 else np.float64
    matrix = np.ascontiguousarray(columns, dtype=dtype)
    totals = matrix.sum(axis=0, dtype=np.float64)
    block = block_rows or max(1, BLOCK_BYTES // (size * np.dtype(dtype).itemsize))
    generator = np.random.default_rng(seed)
    for start in range(0, rows, block):
        count = min(block, rows - start)
        plus = _all_signs(start, count, size) if exact else _random_signs(generator, count, size)
        # sum of s x = 2 * (sum of x where s = +1) - (sum of x): zeros and ones are cheaper to make than signs.
        yield 2.0 * np.matmul(plus.astype(dtype), matrix).astype(np.float64) - totals


def _random_signs(generator: np.random.Generator, rows: int, size: int) -> NDArray[np.uint8]:
    words = generator.integers(0, 2**64, size=(rows, -(-size // 64)), dtype=np.uint64)
    return np.unpackbits(words.astype("<u8").view(np.uint8), axis=1, count=size)


def _all_signs(start: int, rows: int, size: int) -> NDArray[np.uint8]:
    codes = np.arange(start, start + rows, dtype=np.int64)[:, None]
    return (1 - ((codes >> np.arange(size)) & 1)).astype(np.uint8)  # row 0 is all +1: the data as they came


#: Hypotheses whose resampled statistics are held at once, so that they stay in a processor's cache.
CHUNK = 16


#: Gives statistics (len(indices), n) of the hypotheses at some indices, non-negative, with the n resamples that they are of.
#: It is told of a floor (rows,) and may leave out resamples in which none of them is above it.
Statistics = Callable[[NDArray[np.int64], NDArray[np.float64]], tuple[NDArray[np.int64] | slice, NDArray[np.float64]]]


class MaxT:
    """Counts, over blocks of resampled statistics, how often the largest beats the observed one.

    Args:
        observed: (H,) studentised statistics, non-negative.
    """

    def __init__(self, observed: NDArray[np.float64]):
        self.order = np.argsort(-observed, kind="stable")
        self.sorted = observed[self.order] * _SLACK
        self.step_down = np.zeros(len(observed), dtype=np.int64)
        self.single_step = np.zeros(len(observed), dtype=np.int64)

    def update(self, rows: int, statistics: Statistics) -> NDArray[np.float64]:
        """Add a block of resampled statistics.

        Args:
            rows: resamples in the block.
            statistics: gives those of some of the hypotheses; each is asked for once.

        Returns:
            The largest statistic of each resample, (rows,).
        """
        # Of hypotheses j, j + 1, ... in the order of the observed statistics, the largest; j falls.
        tail = np.full(rows, -np.inf)
        size = len(self.order)
        for end in range(size, 0, -CHUNK):
            start = max(0, end - CHUNK)
            where, drawn = statistics(self.order[start:end], tail)
            for j in range(end - 1, start - 1, -1):
                tail[where] = np.maximum(tail[where], drawn[j - start])
                self.step_down[j] += np.count_nonzero(tail >= self.sorted[j])
        self.single_step += rows - np.searchsorted(np.sort(tail), self.sorted)
        return tail

    def merge(self, other: MaxT) -> None:
        """Add the counts of other blocks, for the same observed statistics."""
        self.step_down += other.step_down
        self.single_step += other.single_step

    def p_values(self, resamples: int, exact: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Step-down and single-step adjusted p-values, (H,) each."""
        step_down, single_step = np.empty(len(self.order)), np.empty(len(self.order))
        step_down[self.order] = np.maximum.accumulate(tail_probability(self.step_down, resamples, exact))
        single_step[self.order] = tail_probability(self.single_step, resamples, exact)
        return step_down, single_step


def tail_probability(counts: NDArray[np.int64], resamples: int, exact: bool) -> NDArray[Any]:
    """b / R when all signs were enumerated, (b + 1) / (R + 1) when they were drawn: never zero."""
    return counts / resamples if exact else (counts + 1.0) / (resamples + 1.0)


def root_sum_squares(columns: NDArray[Any]) -> NDArray[np.float64]:
    """Root of the sum of squares over axis 0, and 1 for an all-zero column, whose statistic is then 0."""
    root = np.sqrt(np.square(columns.astype(np.float64)).sum(axis=0))
    return np.where(root > 0, root, 1.0)


def _of_all_resamples(
    drawn: NDArray[np.float64], which: NDArray[np.int64], _floor: NDArray[np.float64]
) -> tuple[slice, NDArray[np.float64]]:
    return slice(None), drawn[which]


def flip_test(differences: ArrayLike, *, resamples: int = 10_000, seed: int = 0) -> FlipTest:
    """Sign-flip test of plain columns of paired differences, one row per image.

    Args:
        differences: (N,) or (N, C) whole numbers.
        resamples: rows of signs when N > 16; up to there all are enumerated.
        seed: of the signs.

    Raises:
        InvalidSetting: differences that are not whole finite numbers or whose sums are not exact, or a setting out of
            range.

    >>> flip_test([5, 4, 3, 2, 1, -1]).p.tolist()
    [0.09375]
    """
    resample_count(resamples)
    whole(seed, "the seed of the resampling")
    columns = array(differences, "differences, whole finite numbers (N,) or (N, C),", dimensions=(1, 2))
    columns = columns[:, None] if columns.ndim == 1 else columns
    if not np.array_equal(columns, np.rint(columns)):
        raise InvalidSetting("differences must be whole finite numbers, got fractions; scale them")
    if (np.abs(columns).sum(axis=0) >= LARGEST_SUM).any():
        raise InvalidSetting("differences must sum to less than 2^51 in absolute value; use a coarser unit")
    observed = np.abs(columns.sum(axis=0))
    root = root_sum_squares(columns)
    family = MaxT(observed / root)
    counts = np.zeros(columns.shape[1], dtype=np.int64)
    for sums in sign_sums(columns, resamples, seed):
        absolute = np.abs(sums)
        counts += (absolute >= observed).sum(axis=0)
        family.update(len(sums), partial(_of_all_resamples, (absolute / root).T))
    rows, exact = flip_count(len(columns), resamples)
    step_down, single_step = family.p_values(rows, exact)
    return FlipTest(tail_probability(counts, rows, exact), single_step, step_down)


def critical_value(maxima: NDArray[np.float64], alpha: float) -> float:
    """The (1 - alpha) quantile of resampled maxima, as an order statistic of R + 1.

    Raises:
        TooFewResamples: R + 1 is below 1 / alpha.
        InvalidSetting: NaN among the maxima, or alpha outside 0 to 1.

    >>> critical_value(np.arange(1.0, 20.0), alpha=0.05)
    19.0
    """
    level(alpha)
    if not len(maxima) or np.isnan(maxima).any():  # infinite where a resample varies by nothing
        raise InvalidSetting(f"maxima must be a non-empty array without NaN, got shape {np.shape(maxima)}")
    position = int(np.ceil((1.0 - alpha) * (len(maxima) + 1)))
    if position > len(maxima):
        raise TooFewResamples(f"{len(maxima)} resamples cannot give a quantile at alpha {alpha:g}; use more resamples")
    return float(np.partition(maxima, position - 1)[position - 1])
