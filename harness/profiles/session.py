"""Sampling: scenarios are timed in interleaved rounds, so that a drifting machine affects all of them equally.

Each sample times the whole chain as one piece, then the stages one by one, with the device synchronised at every reading
of the clock; the order of the two alternates, so that neither always finds warm caches. Trainings of the
same user wait while a scenario is sampled, and continue before the next one is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from harness.measure.quiet import alone
from harness.measure.system import other_load
from harness.measure.timing import Stopwatch, Timing, no_garbage_collection
from harness.records.profile import Measure, ScenarioResult

#: A 99th percentile of fewer samples is little more than their maximum.
FEWEST_FOR_P99 = 1000
WARMUP_CALLS = 2
FEWEST_PER_ROUND = 1
#: Shorter spans say nothing about other processes: the kernel counts in hundredths of a second.
SHORTEST_LOAD_MS = 200


@dataclass(frozen=True, eq=False)
class Scenario:
    """What is timed: stages in a chain, the first of which is given the number of the sample."""

    key: str
    stages: Sequence[tuple[str, Callable[[Any], Any]]]  #: each is handed what the one before it returned
    items: Mapping[str, int] = field(default_factory=dict)  #: what one call does, for throughput: `{"images": 500}`
    gallery: int | None = None  #: items that a query is compared with
    apart: bool = True  #: whether the stages are also timed one by one

    def __call__(self, number: int) -> Any:
        """Run the chain once."""
        value: Any = number
        for _, stage in self.stages:
            value = stage(value)
        return value

    @property
    def parts(self) -> list[str]:
        """Names of the stages that are timed one by one; a single stage is the whole."""
        return [name for name, _ in self.stages] if self.apart and len(self.stages) > 1 else []


class _Cell:
    """A scenario with the samples taken so far, one list per round."""

    def __init__(self, scenario: Scenario, device: torch.device | str):
        self.scenario, self.device = scenario, device
        self.ms_per_sample = pilot(scenario, device) * (2 if scenario.parts else 1)
        self.whole: list[list[float]] = []
        self.parts: dict[str, list[list[float]]] = {name: [] for name in scenario.parts}
        self.other_cpu: list[float] = []

    def sample(self, count: int) -> None:
        """One round. The same sample numbers in every round, so that rounds can be compared."""
        for rounds in (self.whole, *self.parts.values()):
            rounds.append([])
        takes = [self._take_whole, self._take_parts] if self.parts else [self._take_whole]
        with alone(self.device), no_garbage_collection(), other_load() as load:
            for number in range(count):
                for take in takes if number % 2 == 0 else reversed(takes):
                    take(number)
        if sum(self.whole[-1]) > SHORTEST_LOAD_MS:
            self.other_cpu += load.values()

    def _take_whole(self, number: int) -> None:
        with Stopwatch(self.device) as watch:
            self.scenario(number)
        self.whole[-1].append(watch.ms)

    def _take_parts(self, number: int) -> None:
        value: Any = number
        for name, stage in self.scenario.stages:
            with Stopwatch(self.device) as watch:
                value = stage(value)
            self.parts[name][-1].append(watch.ms)

    def result(self) -> ScenarioResult:
        ratio = None
        if self.parts:  # against the whole timed beside it, so that a slowing machine does not matter
            sums = np.sum([np.concatenate(rounds) for rounds in self.parts.values()], axis=0)
            ratio = float(np.median(sums / np.concatenate(self.whole)))
        return ScenarioResult(
            whole=summary(self.whole, self.other_cpu),
            parts={name: summary(rounds) for name, rounds in self.parts.items()},
            items=dict(self.scenario.items),
            gallery=self.scenario.gallery,
            parts_over_whole=ratio,
        )


def measure(
    scenarios: Sequence[Scenario],
    device: torch.device | str = "cpu",
    *,
    rounds: int = 3,
    seconds: float = 60.0,
    samples: int = 30,
    progress: Callable[[int, int], object] | None = None,
) -> list[ScenarioResult]:
    """Sample scenarios in interleaved rounds, forwards and backwards in turn.

    Args:
        scenarios: what to time.
        device: what they compute on.
        rounds: how often all of them are gone through.
        seconds: for all of them together, warm-up apart; a scenario is sampled once per round whatever it takes.
        samples: wanted of each scenario over all rounds.
        progress: called after each round with its number and the number of rounds.

    Returns:
        Results in the order of the scenarios.
    """
    cells = [_Cell(scenario, device) for scenario in scenarios]
    counts = affordable([cell.ms_per_sample for cell in cells], 1000 * seconds / rounds, -(-samples // rounds))
    order = list(zip(cells, counts, strict=True))
    for number in range(rounds):
        for cell, count in order if number % 2 == 0 else reversed(order):
            cell.sample(count)
        if progress is not None:
            progress(number + 1, rounds)
    return [cell.result() for cell in cells]


def pilot(scenario: Scenario, device: torch.device | str = "cpu") -> float:
    """Warm a scenario up; milliseconds of its last call."""
    watch = Stopwatch(device)
    with alone(device):
        for number in range(WARMUP_CALLS):
            with watch:
                scenario(number)
    return watch.ms


def affordable(costs: Sequence[float], budget: float, wanted: int) -> list[int]:
    """How many samples of each cost fit a budget: all get the same time, and what cheap ones leave goes to the others.

    Returns:
        Counts from `FEWEST_PER_ROUND` to `wanted`, whose costs exceed the budget only where that minimum does.

    >>> affordable([1.0, 10.0], budget=60, wanted=9)
    [9, 5]
    """
    counts = [FEWEST_PER_ROUND] * len(costs)
    left, waiting = budget, len(costs)
    for index in sorted(range(len(costs)), key=lambda i: costs[i]):
        fair = left / waiting
        counts[index] = max(FEWEST_PER_ROUND, min(wanted, int(fair / max(costs[index], 1e-6))))
        left, waiting = left - counts[index] * costs[index], waiting - 1
    return counts


def summary(rounds: Sequence[Sequence[float]], other_cpu: Sequence[float] = ()) -> Measure:
    """Samples of several rounds, ms, as a `Measure`."""
    pooled = Timing(tuple(sample for some in rounds for sample in some))
    low, high = pooled.interval() or (None, None)
    return Measure(
        samples=len(pooled.samples),
        p50=pooled.p50,
        p95=pooled.p95,
        p99=pooled.quantile(0.99) if len(pooled.samples) >= FEWEST_FOR_P99 else None,
        minimum=pooled.minimum,
        iqr=pooled.iqr,
        low=low,
        high=high,
        rounds=tuple(Timing(tuple(some)).p50 for some in rounds),
        other_cpu_percent=max(other_cpu, default=None),
    )
