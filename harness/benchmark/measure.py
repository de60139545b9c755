"""Interleaved timing on a shared machine."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from harness.measure.quiet import alone
from harness.measure.system import cpu_seconds
from harness.measure.timing import Stopwatch, Timing
from harness.records.noise import BUSY_PERCENT

#: A sample is rejected when other processes took more than this share of all processors while it ran.
FOREIGN_SHARE = BUSY_PERCENT / 100
#: How many times the wanted number of samples is tried before noisy ones are taken after all.
PATIENCE = 4
#: Samples that a form gets however late it is, unless it wants fewer.
FEWEST = 5
#: Of the time, the most in which disturbed samples of the forms that want a single one are taken again.
SLOW_SHARE = 0.25
#: A first call that takes this many milliseconds is a sample: a warm-up would hardly change it.
LONG_ENOUGH_MS = 3000.0

#: Milliseconds, and the share of all processors that others took meanwhile; None where unknown.
Sample = tuple[float, float | None]


@dataclass(frozen=True)
class Measured:
    """Samples of one form.

    Args:
        timing: the samples, milliseconds.
        foreign: mean share of the processors that others took, 0..1; None where unknown.
        rejected: noisy samples that were left out.
        noisy: True when there were too few quiet samples and noisy ones fill the gap.
    """

    timing: Timing
    foreign: float | None
    rejected: int
    noisy: bool


class _Samples:
    """The quiet and the noisy samples of one call."""

    def __init__(self, wanted: int):
        self.wanted = wanted
        self.quiet: list[Sample] = []
        self.noisy: list[Sample] = []

    def keep(self, milliseconds: float, foreign: float | None) -> None:
        noisy = foreign is not None and foreign > FOREIGN_SHARE
        (self.noisy if noisy else self.quiet).append((milliseconds, foreign))

    def lacking(self, late: bool) -> bool:
        taken = len(self.quiet) + len(self.noisy)
        if late:
            return taken < min(self.wanted, FEWEST)
        return len(self.quiet) < self.wanted and taken < PATIENCE * self.wanted

    def measured(self) -> Measured:
        enough = len(self.quiet) >= self.wanted or not self.noisy
        # The least disturbed noisy samples replace the quiet ones that are missing.
        spare = [] if enough else sorted(self.noisy, key=lambda s: s[1] or 0.0)[: self.wanted - len(self.quiet)]
        taken = self.quiet + spare
        shares = [share for _, share in taken if share is not None]
        return Measured(
            Timing(tuple(milliseconds for milliseconds, _ in taken)),
            sum(shares) / len(shares) if shares else None,
            len(self.noisy) - len(spare),
            not enough,
        )


def interleave(
    calls: Mapping[str, Callable[[], object]],
    samples: Mapping[str, int],
    seconds: float = math.inf,
    long_enough: float = LONG_ENOUGH_MS,
) -> tuple[dict[str, Measured], dict[str, object]]:
    """Time several calls in turn, so that a passing load or a change of clock hits all of them.

    Calls that want a single sample, which are many times as slow as the others, come first and by themselves. The others
    then have what is left of the time, or their share of it if the slow ones took more than theirs.

    Args:
        calls: what is timed, by name. The first call of each is a warm-up; one that took long enough for a warm-up not
            to matter counts as a sample.
        samples: wanted quiet samples of each.
        seconds: after so long no further round is begun, however many samples were disturbed; by then, every call has
            been sampled `FEWEST` times, or as often as it wants.
        long_enough: milliseconds after which a first call is a sample too; infinite where it compiles or tunes something.

    Returns:
        The measurements by name, and what the first calls returned.
    """
    begun = time.monotonic()
    kept = {name: _Samples(samples[name]) for name in calls}
    slow = {name: call for name, call in calls.items() if samples[name] == 1}
    results = _rounds(slow, kept, begun + SLOW_SHARE * seconds, long_enough)
    others = {name: call for name, call in calls.items() if name not in slow}
    end = max(begun + seconds, time.monotonic() + (1 - SLOW_SHARE) * seconds)
    results |= _rounds(others, kept, end, long_enough)
    return {name: own.measured() for name, own in kept.items()}, results


def _rounds(
    calls: Mapping[str, Callable[[], object]], kept: Mapping[str, _Samples], end: float, long_enough: float
) -> dict[str, object]:
    """First calls and then rounds of samples until there are enough or the clock says `end`; what the first calls returned."""
    results: dict[str, object] = {}
    for name, call in calls.items():
        milliseconds, foreign, results[name] = _sample(call)
        if milliseconds >= long_enough:
            kept[name].keep(milliseconds, foreign)
    while True:
        late = time.monotonic() > end
        waiting = [name for name in calls if kept[name].lacking(late)]
        if not waiting:
            return results
        for name in waiting:
            kept[name].keep(*_sample(calls[name])[:2])


def _sample(call: Callable[[], object]) -> tuple[float, float | None, object]:
    """Milliseconds, the share of all processors that other processes took meanwhile, and what the call returned."""
    with alone("cpu"):
        before, own = cpu_seconds(), time.process_time()
        with Stopwatch() as watch:
            result = call()
        after, own = cpu_seconds(), time.process_time() - own
    if before is None or after is None:
        return watch.ms, None, result
    # The counters tick every 10 ms; a sample of few ticks says little, so one tick is forgiven.
    foreign = after[0] - before[0] - own - 1 / os.sysconf("SC_CLK_TCK")
    return watch.ms, max(0.0, foreign) / (watch.ms / 1000 * (os.cpu_count() or 1)), result
