"""Taking samples: scenarios as chains of stages, sampled in interleaved rounds so that a drifting machine hurts all alike.

Each sample times the whole chain as one piece, then the stages one by one, with the device synchronised at every reading
of the clock; the order of the two alternates, so that neither always finds warm caches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from harness.measure.cost import other_load
from harness.measure.timing import Stopwatch, Timing, no_garbage_collection
from harness.records.profile import Measure, ScenarioResult

#: A 99th percentile of fewer samples is little more than their maximum.
FEWEST_FOR_P99 = 1000
WARMUP_CALLS = 2
#: After the rates are known, samples are limited by the time of a cell and by this.
FEWEST_A_ROUND = 1

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Scenario:
    """What is timed: stages in a chain, the first of which is given the number of the sample.

    Args:
        key: unique in a session.
        stages: name and function; each is handed what the one before it returned.
        items: what one call does, for throughput: `{"images": 500}`.
        gallery: items that a query is compared with.
        apart: whether the stages are also timed one by one.
    """

    key: str
    stages: Sequence[tuple[str, Callable[[Any], Any]]]
    items: Mapping[str, int] = field(default_factory=dict)
    gallery: int | None = None
    apart: bool = True

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


@dataclass(eq=False)
class _Cell:
    """A scenario with the samples taken so far, a list a round."""

    scenario: Scenario
    pilot_ms: float
    whole: list[list[float]] = field(default_factory=list)
    parts: dict[str, list[list[float]]] = field(default_factory=dict)
    other_cpu: list[float] = field(default_factory=list)


def measure(
    scenarios: Sequence[Scenario],
    device: torch.device | str = "cpu",
    *,
    rounds: int = 3,
    seconds: float = 60.0,
    samples: int = 30,
    progress: Progress | None = None,
) -> dict[str, ScenarioResult]:
    """Sample scenarios in interleaved rounds.

    Args:
        scenarios: with different keys.
        device: what they compute on.
        rounds: how often all of them are gone through, forwards and backwards in turn.
        seconds: for all of them together, warm-up apart; a scenario is sampled once a round whatever it takes.
        samples: wanted of each scenario over all rounds.
        progress: called after each round with its number and theirs.

    Returns:
        Results by key.
    """
    cells = [_Cell(scenario, pilot(scenario, device)) for scenario in scenarios]
    wanted = -(-samples // rounds)
    counts = affordable(
        [(2 if cell.scenario.parts else 1) * cell.pilot_ms for cell in cells], 1000 * seconds / rounds, wanted
    )
    for number in range(rounds):
        order = list(zip(cells, counts, strict=True))
        for cell, count in order if number % 2 == 0 else reversed(order):
            _sample(cell, count, device)
        if progress is not None:
            progress(number + 1, rounds)
    return {cell.scenario.key: _result(cell) for cell in cells}


def pilot(scenario: Scenario, device: torch.device | str = "cpu") -> float:
    """Warm a scenario up; milliseconds of its last call."""
    watch = Stopwatch(device)
    for number in range(WARMUP_CALLS):
        with watch:
            scenario(number)
    return watch.ms


def affordable(costs: Sequence[float], budget: float, wanted: int) -> list[int]:
    """How many samples of each cost fit a budget: all the same time, and what cheap ones leave goes to the others.

    Args:
        costs: of one sample each.
        budget: for all together, in the same unit.
        wanted: most samples of each.

    Returns:
        Counts, at least `FEWEST_A_ROUND`, whose costs exceed the budget only where that minimum does.
    """
    counts = [FEWEST_A_ROUND] * len(costs)
    left, waiting = budget, len(costs)
    for index in sorted(range(len(costs)), key=lambda i: costs[i]):
        fair = left / waiting
        counts[index] = max(FEWEST_A_ROUND, min(wanted, int(fair / max(costs[index], 1e-6))))
        left, waiting = left - counts[index] * costs[index], waiting - 1
    return counts


def summary(rounds: Sequence[Sequence[float]], other_cpu: Sequence[float] = ()) -> Measure:
    """Samples of several rounds, ms, as a `Measure`."""
    pooled = Timing(tuple(sample for some in rounds for sample in some))
    interval = pooled.interval()
    return Measure(
        samples=len(pooled.samples),
        p50=pooled.p50,
        p95=pooled.p95,
        p99=pooled.quantile(0.99) if len(pooled.samples) >= FEWEST_FOR_P99 else None,
        minimum=pooled.minimum,
        iqr=pooled.iqr,
        low=interval[0] if interval else None,
        high=interval[1] if interval else None,
        rounds=tuple(Timing(tuple(some)).p50 for some in rounds),
        other_cpu_percent=max(other_cpu) if other_cpu else None,
    )


def _sample(cell: _Cell, count: int, device: torch.device | str) -> None:
    """One round of one scenario. The same sample numbers in every round, so that rounds can be compared."""
    whole: list[float] = []
    parts: dict[str, list[float]] = {name: [] for name in cell.scenario.parts}
    takes = [lambda n: _take_whole(cell.scenario, n, whole, device)]
    if parts:
        takes.append(lambda n: _take_parts(cell.scenario, n, parts, device))
    with no_garbage_collection(), other_load() as load:
        for number in range(count):
            for take in takes if number % 2 == 0 else reversed(takes):
                take(number)
    cell.whole.append(whole)
    for name, taken in parts.items():
        cell.parts.setdefault(name, []).append(taken)
    if sum(whole) > 200:  # the kernel counts in hundredths of a second: shorter spans say nothing
        cell.other_cpu += load.values()


def _take_whole(scenario: Scenario, number: int, samples: list[float], device: torch.device | str) -> None:
    with Stopwatch(device) as watch:
        scenario(number)
    samples.append(watch.ms)


def _take_parts(scenario: Scenario, number: int, samples: dict[str, list[float]], device: torch.device | str) -> None:
    value: Any = number
    for name, stage in scenario.stages:
        with Stopwatch(device) as watch:
            value = stage(value)
        samples[name].append(watch.ms)


def _result(cell: _Cell) -> ScenarioResult:
    return ScenarioResult(
        whole=summary(cell.whole, cell.other_cpu),
        parts={name: summary(rounds) for name, rounds in cell.parts.items()},
        items=dict(cell.scenario.items),
        gallery=cell.scenario.gallery,
        parts_over_whole=_parts_over_whole(cell),
    )


def _parts_over_whole(cell: _Cell) -> float | None:
    """Each sum against the whole that was timed beside it, so that a machine that slows down in between says nothing."""
    if not cell.parts:
        return None
    sums = np.sum([np.concatenate(rounds) for rounds in cell.parts.values()], axis=0)
    return float(np.median(sums / np.concatenate(cell.whole)))
