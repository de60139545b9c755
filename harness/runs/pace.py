"""How long the rest of a plan takes, learnt from its runs that ended and from the epochs of the one that is running."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import mean

from harness.records.run import RunRecord
from harness.spec import RunSpec, canonical_json


class Pace:
    """Seconds that are left, by what is known so far; None while nothing is known.

    Runs that differ in their seed alone take the same time. A run of another kind counts as the mean of the kinds that
    are known.

    Args:
        missing: the runs of this call.
        recorded: finished runs of the plan, from earlier calls; a time of this call counts in place of theirs.
    """

    def __init__(self, missing: Sequence[RunSpec], recorded: Iterable[tuple[RunSpec, RunRecord]] = ()):
        self._missing = {spec.run_id: spec for spec in missing}
        self._before: dict[str, list[float]] = {}
        for spec, record in recorded:
            if record.training.seconds:
                self._before.setdefault(kind(spec), []).append(record.training.seconds)
        self._ended: dict[str, list[float]] = {}
        self._tails: dict[str, float] = {}  # of a run, after its last epoch: evaluation and cost
        self._running: RunSpec | None = None
        self._epochs: list[float] = []
        self._done = 0

    def start(self, spec: RunSpec) -> None:
        """A run begins."""
        self._running, self._epochs, self._done = spec, [], 0

    def epoch(self, number: int, seconds: float) -> None:
        """The epoch of this 1-based number has ended; a resumed run begins with a later one."""
        self._epochs.append(seconds)
        self._done = number

    def end(self, spec: RunSpec, seconds: float | None = None) -> None:
        """A run has ended, after these seconds of this call, if it was whole."""
        self._missing.pop(spec.run_id, None)
        whole = self._running is not None and len(self._epochs) == spec.training.epochs
        if seconds is not None and whole:
            self._ended.setdefault(kind(spec), []).append(seconds)
            self._tails[kind(spec)] = max(0.0, seconds - sum(self._epochs))
        self._running, self._epochs, self._done = None, [], 0

    def run_left(self) -> float | None:
        """Seconds until the running run ends; what follows its last epoch counts where a run of its kind has ended."""
        spec = self._running
        if spec is None or not self._epochs:
            return None
        return mean(self._epochs) * (spec.training.epochs - self._done) + self._tails.get(kind(spec), 0.0)

    def all_left(self) -> float | None:
        """Seconds until all runs of this call have ended."""
        known = {name: mean(times) for name, times in (self._before | self._ended).items()}
        if self._running is not None and self._epochs and kind(self._running) not in self._ended:
            known[kind(self._running)] = mean(self._epochs) * self._running.training.epochs
        others = [spec for spec in self._missing.values() if spec is not self._running]
        if not others and self._running is None:
            return 0.0
        if not known:
            return None
        usual = mean(known.values())
        here = self.run_left()
        if here is None:
            here = known.get(kind(self._running), usual) if self._running is not None else 0.0
        return here + sum(known.get(kind(spec), usual) for spec in others)


def kind(spec: RunSpec) -> str:
    """What runs that differ in their seed alone have in common."""
    identity = spec.identity
    identity.pop("seed")
    return canonical_json(identity)
