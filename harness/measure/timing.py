"""Timing: samples of a latency, and what may be said of them.

Every sample is taken after a warm-up and between two device synchronisations, so it holds the work and not only its
launch.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

#: A 95th percentile of fewer samples is little more than their maximum, so none is given.
FEWEST_FOR_P95 = 20
FEWEST_REPEATS = 3


@dataclass(frozen=True)
class Timing:
    """Samples of one latency.

    Args:
        samples: milliseconds, in the order they were taken; at least one.
    """

    samples: tuple[float, ...]

    @property
    def p50(self) -> float:
        """Median, ms."""
        return self.quantile(0.5)

    @property
    def p95(self) -> float | None:
        """95th percentile, ms; None with fewer than `FEWEST_FOR_P95` samples."""
        return self.quantile(0.95) if len(self.samples) >= FEWEST_FOR_P95 else None

    @property
    def iqr(self) -> float:
        """Distance between the quartiles, ms."""
        return self.quantile(0.75) - self.quantile(0.25)

    @property
    def minimum(self) -> float:
        """The fastest sample, ms."""
        return min(self.samples)

    def quantile(self, q: float) -> float:
        """A quantile of the samples, ms, interpolated linearly."""
        return float(np.quantile(self.samples, q))

    def interval(self, q: float = 0.5, confidence: float = 0.95) -> tuple[float, float] | None:
        """Interval of a quantile between two order statistics; it assumes no distribution.

        Args:
            q: the quantile, within (0, 1).
            confidence: smallest probability that the interval holds it.

        Returns:
            Both ends, ms; None if there are too few samples for it.

        Source:
            The number of samples below a quantile is binomial; e.g. Conover, Practical Nonparametric Statistics, 3.2.
        """
        n, tail = len(self.samples), (1 - confidence) / 2
        below = np.cumsum([_binomial(n, k, q) for k in range(n + 1)])  # P(count <= k)
        low = int(np.searchsorted(below, tail, side="right")) - 1  # 0-based; -1: even the minimum may be above it
        high = int(np.searchsorted(below, 1 - tail, side="left"))  # 0-based; n: even the maximum may be below it
        if low < 0 or high >= n:
            return None
        ordered = sorted(self.samples)
        return ordered[low], ordered[high]

    def as_cost(self, name: str) -> dict[str, float]:
        """`{name}_ms_p50` and, with enough samples, `{name}_ms_p95`."""
        p95 = self.p95
        return {f"{name}_ms_p50": self.p50} | ({f"{name}_ms_p95": p95} if p95 is not None else {})


class Stopwatch:
    """Wall-clock time of a block, with the work that it gave to the device finished: `with Stopwatch(d) as watch: ...`.

    Args:
        device: what the block computes on.
    """

    ms: float = math.nan

    def __init__(self, device: torch.device | str = "cpu"):
        self.device = torch.device(device)

    def __enter__(self) -> Stopwatch:
        synchronize(self.device)
        self._start = time.perf_counter()
        return self

    def __exit__(self, *exception: object) -> None:
        synchronize(self.device)
        self.ms = (time.perf_counter() - self._start) * 1000


def timed(
    fn: Callable[[], object],
    repeats: int = 30,
    warmup: int = 3,
    device: torch.device | str = "cpu",
    seconds: float = math.inf,
) -> Timing:
    """Time a call.

    Args:
        fn: what to time.
        repeats: samples to take.
        warmup: calls before the first sample.
        device: what it computes on.
        seconds: no further sample is begun after that time, once there are `FEWEST_REPEATS` (or `repeats`).

    Returns:
        The samples; the garbage collector rests while they are taken.
    """
    for _ in range(warmup):
        fn()
    samples: list[float] = []
    watch = Stopwatch(device)
    with no_garbage_collection():
        end = time.perf_counter() + seconds
        while len(samples) < repeats and (len(samples) < FEWEST_REPEATS or time.perf_counter() < end):
            with watch:
                fn()
            samples.append(watch.ms)
    return Timing(tuple(samples))


class StepTimer:
    """Times the steps of a training loop: `with timer: step()`.

    Args:
        device: what the steps compute on.
        warmup: first steps that are left out: they allocate, compile and fill caches.

    Attributes:
        samples: milliseconds a step, without the warm-up; a resumed training may put back those of its first part.
    """

    def __init__(self, device: torch.device | str = "cpu", warmup: int = 3):
        self.samples: list[float] = []
        self._to_skip = warmup
        self._watch = Stopwatch(device)

    def __enter__(self) -> StepTimer:
        self._watch.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._watch.__exit__()
        if kind is not None:
            return  # half a step is no sample
        if self._to_skip > 0:
            self._to_skip -= 1
        else:
            self.samples.append(self._watch.ms)

    def summary(self) -> dict[str, float]:
        """`train_step_ms_p50` and `_p95`; empty if no step followed the warm-up."""
        return Timing(tuple(self.samples)).as_cost("train_step") if self.samples else {}


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished what it was given; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _binomial(n: int, k: int, q: float) -> float:
    """P(count = k); by logarithms, since the coefficients of a thousand samples do not fit a float."""
    log_choose = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(log_choose + k * math.log(q) + (n - k) * math.log1p(-q))


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """The collector rests for the time of the block."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
