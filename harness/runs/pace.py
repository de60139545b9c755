"""How long the rest of a plan takes, learnt from its runs that ended and from the epochs of those in progress."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import mean

from harness.records.run import RunRecord
from harness.spec import RunSpec, canonical_json


@dataclass
class _Open:
    """A run in progress.

    Args:
        spec: of the run.
        ours: whether one of our workers has it.
        since: when it last reported, by the pace's clock: its start, or the end of an epoch.
        done: epochs, those of earlier calls too.
        epochs: seconds of the epochs that were told.
    """

    spec: RunSpec
    ours: bool
    since: float
    done: int = 0
    epochs: list[float] = field(default_factory=list)


class Pace:
    """Seconds that are left, by what is known so far; None while nothing is known.

    Runs that differ in their seed alone take the same time. A run of another kind counts as the mean of the kinds that
    are known. Runs that wait are taken in the order of the plan by whoever is free first: our workers, and the workers
    of other commands on this folder, each of which is known by the run that it has now.

    Args:
        missing: the runs of this call, in the order in which they are taken.
        recorded: finished runs of the plan, from earlier calls; a time of this call counts in place of theirs.
        workers: of ours, side by side. May be changed at any time.
        clock: seconds.
    """

    def __init__(
        self,
        missing: Sequence[RunSpec],
        recorded: Iterable[tuple[RunSpec, RunRecord]] = (),
        workers: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.workers = workers
        self._clock = clock
        self._missing = {spec.run_id: spec for spec in missing}
        self._before: dict[str, list[float]] = {}
        for spec, record in recorded:
            if record.training.seconds:
                self._before.setdefault(kind(spec), []).append(record.training.seconds)
        self._ended: dict[str, list[float]] = {}
        self._tails: dict[str, float] = {}  # of a run, after its last epoch: evaluation and cost
        self._open: dict[str, _Open] = {}

    def start(self, spec: RunSpec, *, ours: bool = True) -> None:
        """A run begins, in a worker of ours or of another command."""
        self._open[spec.run_id] = _Open(spec, ours, self._clock())

    def epoch(self, spec: RunSpec, number: int, seconds: float) -> None:
        """The epoch of this 1-based number has ended; a resumed run begins with a later one."""
        run = self._open.setdefault(spec.run_id, _Open(spec, True, self._clock()))
        run.epochs.append(seconds)
        run.done, run.since = number, self._clock()

    def stop(self, spec: RunSpec) -> None:
        """The worker of a run is gone; the run waits again."""
        self._open.pop(spec.run_id, None)

    def end(self, spec: RunSpec, seconds: float | None = None) -> None:
        """A run has ended, after these seconds of this call, if it was whole."""
        self._missing.pop(spec.run_id, None)
        run = self._open.pop(spec.run_id, None)
        if seconds is not None and run is not None and len(run.epochs) == spec.training.epochs:
            self._ended.setdefault(kind(spec), []).append(seconds)
            self._tails[kind(spec)] = max(0.0, seconds - sum(run.epochs))

    def run_left(self, spec: RunSpec) -> float | None:
        """Seconds until a run in progress ends; what follows its last epoch counts where a run of its kind has ended."""
        run = self._open.get(spec.run_id)
        if run is None or not run.epochs:
            return None
        usual, epochs = mean(run.epochs), spec.training.epochs - run.done
        tail = self._tails.get(kind(spec), 0.0)
        # An epoch that takes longer than usual does not shorten those that follow it.
        return max(usual * epochs + tail - (self._clock() - run.since), usual * (epochs - 1) + tail if epochs else 0.0)

    def all_left(self) -> float | None:
        """Seconds until all runs of this call have ended."""
        waiting = [spec for run_id, spec in self._missing.items() if run_id not in self._open]
        if not waiting and not self._open:
            return 0.0
        known = self._known()
        if not known:
            return None
        usual = mean(known.values())
        ours, theirs = list[float](), list[float]()
        for run in self._open.values():
            left = self.run_left(run.spec)
            if left is None:
                left = max(0.0, known.get(kind(run.spec), usual) - (self._clock() - run.since))
            (ours if run.ours else theirs).append(left)
        free = [0.0] * (self.workers - len(ours))
        return time_to_finish([*ours, *theirs, *free], [known.get(kind(spec), usual) for spec in waiting])

    def _known(self) -> dict[str, float]:
        """Seconds of a whole run by kind."""
        known = {name: mean(times) for name, times in (self._before | self._ended).items()}
        epochs: dict[str, list[float]] = {}
        for run in self._open.values():
            if run.epochs and kind(run.spec) not in self._ended:
                epochs.setdefault(kind(run.spec), []).extend(run.epochs)
                known[kind(run.spec)] = mean(epochs[kind(run.spec)]) * run.spec.training.epochs
        return known


def time_to_finish(workers: Sequence[float], waiting: Iterable[float]) -> float:
    """Seconds until everything has ended, where whoever is free first takes the next piece.

    Args:
        workers: seconds until each is free, at least one.
        waiting: seconds of each piece that nobody has yet, in the order in which they are taken.

    >>> time_to_finish([30.0, 0.0], [40.0, 10.0, 10.0])  # the second takes 40, the first 10 and then 10
    50.0
    >>> time_to_finish([0.0], [40.0, 10.0])
    50.0
    """
    free = list(workers)
    heapq.heapify(free)
    for seconds in waiting:
        heapq.heapreplace(free, free[0] + seconds)
    return max(free)


def kind(spec: RunSpec) -> str:
    """What runs that differ in their seed alone have in common."""
    identity = spec.identity
    identity.pop("seed")
    return canonical_json(identity)
