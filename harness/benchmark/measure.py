"""Interleaved timing on a machine that others may use too."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.measure.timing import Stopwatch, Timing

#: A sample is rejected when other processes took more than this share of all processors while it ran.
FOREIGN_SHARE = 0.06
#: How many times the wanted number of samples is tried before noisy ones are taken after all.
PATIENCE = 4
#: A first call of so many milliseconds is a sample: what a warm-up saves is lost in it.
LONG_ENOUGH_MS = 3000.0


@dataclass(frozen=True)
class Measured:
    """Samples of one form.

    Args:
        timing: the samples, milliseconds.
        foreign: mean share of the processors that others took, 0..1; None where unknown.
        rejected: noisy samples that were left out.
        noisy: True when too few quiet samples were to be had and noisy ones stand in.
    """

    timing: Timing
    foreign: float | None
    rejected: int
    noisy: bool


def interleave(
    calls: Mapping[str, Callable[[], object]],
    samples: Mapping[str, int],
    seconds: float = math.inf,
    long_enough: float = LONG_ENOUGH_MS,
) -> tuple[dict[str, Measured], dict[str, object]]:
    """Time several calls in turn, so that a passing load or a change of clock hits all of them.

    Args:
        calls: what is timed, by name. The first call of each is a warm-up; one that took long enough for a warm-up not
            to matter counts as a sample.
        samples: wanted quiet samples of each.
        seconds: after so long no further round is begun, however many samples were disturbed; every call is sampled at
            least once.
        long_enough: milliseconds after which a first call is a sample too; infinite where it compiles or tunes something.

    Returns:
        The measurements by name, and what the first calls returned.
    """
    end = time.monotonic() + seconds
    quiet: dict[str, list[tuple[float, float | None]]] = {name: [] for name in calls}
    noisy: dict[str, list[tuple[float, float | None]]] = {name: [] for name in calls}

    def keep(name: str, milliseconds: float, foreign: float | None) -> None:
        (noisy if foreign is not None and foreign > FOREIGN_SHARE else quiet)[name].append((milliseconds, foreign))

    results: dict[str, object] = {}
    for name, call in calls.items():
        milliseconds, foreign, results[name] = _sample(call)
        if milliseconds >= long_enough:
            keep(name, milliseconds, foreign)
    for _ in range(PATIENCE * max(samples.values())):
        late = time.monotonic() > end
        waiting = [n for n in calls if _wanted(len(quiet[n]), len(noisy[n]), samples[n], late)]
        if not waiting:
            break
        for name in waiting:
            keep(name, *_sample(calls[name])[:2])
    return {name: _measured(quiet[name], noisy[name], samples[name]) for name in calls}, results


def _wanted(quiet: int, noisy: int, samples: int, late: bool) -> bool:
    if late:
        return quiet + noisy == 0
    return quiet < samples and quiet + noisy < PATIENCE * samples


def _measured(
    quiet: list[tuple[float, float | None]], noisy: list[tuple[float, float | None]], wanted: int
) -> Measured:
    enough = len(quiet) >= wanted or not noisy
    # The least disturbed of the noisy samples stand in for quiet ones that were not to be had.
    taken = quiet if enough else quiet + sorted(noisy, key=lambda s: s[1] or 0.0)[: wanted - len(quiet)]
    shares = [share for _, share in taken if share is not None]
    return Measured(
        Timing(tuple(milliseconds for milliseconds, _ in taken)),
        sum(shares) / len(shares) if shares else None,
        len(quiet) + len(noisy) - len(taken),
        not enough,
    )


def _sample(call: Callable[[], object]) -> tuple[float, float | None, object]:
    """Milliseconds, the share of all processors that other processes took meanwhile, and what the call returned."""
    started, busy, own = time.perf_counter(), _busy_seconds(), _own_seconds()
    with Stopwatch() as watch:
        result = call()
    elapsed = time.perf_counter() - started
    after = _busy_seconds()
    if busy is None or after is None:
        return watch.ms, None, result
    foreign = max(0.0, (after - busy) - (_own_seconds() - own))
    # The counters tick every 10 ms; a sample of few ticks says little, so one tick is forgiven.
    tick = 1 / os.sysconf("SC_CLK_TCK")
    return watch.ms, max(0.0, foreign - tick) / (elapsed * (os.cpu_count() or 1)), result


def _busy_seconds() -> float | None:
    """Processor time of the whole machine since it started, idle and waiting left out; None where unknown."""
    try:
        user, nice, system, _idle, _wait, irq, softirq, steal = map(
            int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
        )
    except (OSError, ValueError):
        return None
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    times = os.times()
    return times.user + times.system
