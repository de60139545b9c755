"""Timing: samples of a latency and their statistics.

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
from typing import Self

import numpy as np
import torch

#: A 95th percentile of fewer samples is little more than their maximum, so none is given.
FEWEST_FOR_P95 = 20
FEWEST_REPEATS = 3


@dataclass(frozen=True)
class Timing:
    """Samples of one latency.

    >>> Timing((3.0, 1.0, 2.0)).as_cost("query")
    {'query_ms_p50': 2.0}

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
        """Interval of a quantile (within (0, 1)) between two order statistics, ms; it assumes no distribution.

        Returns:
            Both ends, which hold the quantile with at least the confidence; None if there are too few samples for it.

        Source:
            The number of samples below a quantile is binomial; Conover, Practical Nonparametric Statistics, 3.2.
        """
        from scipy.stats import quantile_test  # here, not above: it takes half a second

        ends = quantile_test(self.samples, p=q).confidence_interval(confidence)
        return None if math.isnan(ends.low) or math.isnan(ends.high) else (float(ends.low), float(ends.high))

    def as_cost(self, name: str) -> dict[str, float]:
        """`{name}_ms_p50` and, with enough samples, `{name}_ms_p95`."""
        p95 = self.p95
        return {f"{name}_ms_p50": self.p50} | ({f"{name}_ms_p95": p95} if p95 is not None else {})


class Stopwatch:
    """Wall-clock time of a block, the work that it gave to the device included: `with Stopwatch(d) as watch: ...`."""

    ms: float = math.nan

    def __init__(self, device: torch.device | str = "cpu"):
        self.device = torch.device(device)

    def __enter__(self) -> Self:
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
    """Time a call, with the garbage collector off.

    Args:
        fn: what to time.
        repeats: samples to take.
        warmup: calls before the first sample.
        device: what it computes on.
        seconds: no further sample is begun after that time, once there are `FEWEST_REPEATS` (or `repeats`).
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


class StepTimer(Stopwatch):
    """Times the steps of a training loop: `with timer: step()`.

    Args:
        device: what the steps compute on.
        warmup: first steps that are left out: they allocate, compile and fill caches.

    Attributes:
        samples: milliseconds per step, without the warm-up; a resumed training may put back those of its first part.
    """

    def __init__(self, device: torch.device | str = "cpu", warmup: int = 3):
        super().__init__(device)
        self.samples: list[float] = []
        self._to_skip = warmup

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        if any(exception):
            return  # half a step is no sample
        if self._to_skip > 0:
            self._to_skip -= 1
        else:
            self.samples.append(self.ms)

    def summary(self) -> dict[str, float]:
        """`train_step_ms_p50` and `_p95`; empty if no step followed the warm-up."""
        return Timing(tuple(self.samples)).as_cost("train_step") if self.samples else {}


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished what it was given; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """The collector is off for the duration of the block."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
