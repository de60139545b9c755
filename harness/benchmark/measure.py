"""Interleaved timing on a machine that others may use too."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.timing import Stopwatch, Timing

#: A sample is rejected when other processes took more than this share of all processors while it ran.
FOREIGN_SHARE = 0.06
#: How many times the wanted number of samples is tried before noisy ones are taken after all.
PATIENCE = 4


@dataclass(frozen=True)
class Measured:
    """Samples of one form.

    Args:
        timing: the samples, milliseconds.
        foreign: mean share of the processors that others took, 0..1; None where unknown.
        rejected: noisy samples that were left out.
        noisy: True when quiet samples were not to be had and noisy ones stand in.
    """

    timing: Timing
    foreign: float | None
    rejected: int
    noisy: bool


def interleave(calls: Mapping[str, Callable[[], object]], samples: Mapping[str, int]) -> dict[str, Measured]:
    """Time several calls in turn, so that a passing load or a change of clock hits all of them.

    Args:
        calls: what is timed, by name; each is called once before as a warm-up.
        samples: wanted quiet samples of each.

    Returns:
        By name.
    """
    quiet: dict[str, list[tuple[float, float | None]]] = {name: [] for name in calls}
    noisy: dict[str, list[tuple[float, float | None]]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(PATIENCE * max(samples.values())):
        waiting = [name for name in calls if _wanted(len(quiet[name]), len(noisy[name]), samples[name])]
        if not waiting:
            break
        for name in waiting:
            milliseconds, foreign = _sample(calls[name])
            (noisy if foreign is not None and foreign > FOREIGN_SHARE else quiet)[name].append((milliseconds, foreign))
    return {name: _measured(quiet[name], noisy[name], samples[name]) for name in calls}


def _wanted(quiet: int, noisy: int, samples: int) -> bool:
    return quiet < samples and quiet + noisy < PATIENCE * samples


def _measured(
    quiet: list[tuple[float, float | None]], noisy: list[tuple[float, float | None]], wanted: int
) -> Measured:
    enough = len(quiet) >= wanted
    # The least disturbed of the noisy samples stand in for quiet ones that were not to be had.
    taken = quiet if enough else quiet + sorted(noisy, key=lambda s: s[1] or 0.0)[: wanted - len(quiet)]
    shares = [share for _, share in taken if share is not None]
    return Measured(
        Timing(tuple(milliseconds for milliseconds, _ in taken)),
        sum(shares) / len(shares) if shares else None,
        len(quiet) + len(noisy) - len(taken),
        not enough,
    )


def _sample(call: Callable[[], object]) -> tuple[float, float | None]:
    """Milliseconds, and the share of all processors that other processes took meanwhile."""
    started, busy, own = time.perf_counter(), _busy_seconds(), _own_seconds()
    with Stopwatch() as watch:
        call()
    elapsed = time.perf_counter() - started
    after = _busy_seconds()
    if busy is None or after is None:
        return watch.ms, None
    foreign = max(0.0, (after - busy) - (_own_seconds() - own))
    # The counters tick every 10 ms; a sample of few ticks says little, so one tick is forgiven.
    tick = 1 / os.sysconf("SC_CLK_TCK")
    return watch.ms, max(0.0, foreign - tick) / (elapsed * (os.cpu_count() or 1))


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
