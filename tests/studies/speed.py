"""How long a full leaderboard's comparison takes: run `python -m tests.studies.speed`.

10 methods, 45 pairs, 7 metrics, 5,000 images with 5 captions, 10,000 resamples; the promise is 5 s and 1 GB on 2 cores.
"""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass

import numpy as np
from scipy import stats

from harness.reports.statistics.comparison import compare
from harness.reports.statistics.permutation import flip_test
from tests.studies.simulation import World


@dataclass(frozen=True)
class Speed:
    """Measured times in seconds and memory in MiB.

    Attributes:
        compare_s: the whole comparison, all pairs and metrics.
        peak_mib: the process's peak resident memory after it, imports and input included.
        column_s, scipy_s: one column of differences by our sign flip and by scipy's.
        tests: pairs times metrics.
    """

    compare_s: float
    peak_mib: float
    column_s: float
    scipy_s: float
    tests: int


def measure(methods: int = 10, images: int = 5000, resamples: int = 10_000, seed: int = 0) -> Speed:
    """Time a comparison, one column by us, and the same column by scipy.

    Args:
        methods: M, all pairs are compared on all seven metrics.
        images: N, with 5 captions each.
        resamples: R.
        seed: of the made-up methods.
    """
    runs = World(images=images, methods=methods).draw(np.random.default_rng(seed))
    start = time.perf_counter()
    result = compare(runs, resamples=resamples)
    elapsed = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)

    hits = [(r.i2t_ranks[0] < 1).astype(np.int64) for r in runs[:2]]
    difference = hits[0] - hits[1]
    start = time.perf_counter()
    flip_test(difference, resamples=resamples)
    column = time.perf_counter() - start
    start = time.perf_counter()
    stats.permutation_test(
        (difference,),
        lambda x, axis: x.sum(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=resamples,
        batch=1000,
        rng=np.random.default_rng(seed),
    )
    return Speed(elapsed, peak, column, time.perf_counter() - start, len(result.rows))


def main() -> None:
    """Print the measurements."""
    speed = measure()
    print(f"{speed.tests} tests (pairs x metrics): {speed.compare_s:.2f} s, peak memory {speed.peak_mib:.0f} MiB")
    print(f"one column: {speed.column_s:.3f} s; scipy permutation_test {speed.scipy_s:.2f} s")
    print(f"scipy on one column / everything here: {speed.scipy_s / speed.compare_s:.1f}")
    print(f"scipy on one column / one column here: {speed.scipy_s / speed.column_s:.0f}")


if __name__ == "__main__":
    main()
