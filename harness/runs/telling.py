"""What is told of a plan while it runs: to the observer, to the tracker, and to the pace that says how long it takes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from harness import protocols
from harness.errors import counted
from harness.records.run import RunRecord
from harness.records.store import RunStore
from harness.runs.pace import Pace
from harness.settings.values import flatten
from harness.spec import RunSpec
from harness.tracking.base import Tracker
from harness.tracking.mirror import mirror_record
from harness.tracking.observer import Observer, Step

#: In which runs of one title may differ; settings whose values say what they are; how many differences are told.
_PARTS = ("image", "text", "config", "training")
_NAMES = ("image.architecture", "image.model", "image.pretrained", "image.name", "text.model", "text.name")
_MOST_TOLD = 2


class EndedEpoch(Protocol):
    """An epoch, as a training or a record has it."""

    @property
    def epoch(self) -> int: ...
    @property
    def losses(self) -> dict[str, float]: ...
    @property
    def validation(self) -> dict[str, float]: ...
    @property
    def seconds(self) -> float | None: ...


@dataclass
class Outcome:
    """What became of an experiment.

    Args:
        records: of the cells that are finished, in the order of the plan.
        failures: of the cells that failed in this call.
        exit_code: 0; otherwise that of the failures, where bad input (2) outranks a failed run (1).
    """

    records: list[RunRecord] = field(default_factory=list)
    failures: list[RunRecord] = field(default_factory=list)
    exit_code: int = 0


class Teller:
    """Tells of the runs of a plan, and keeps its outcome.

    Args:
        specs: of the plan.
        missing: those that this call has to see to.
        recorded: the others, with their records.
        store: where they lie.
        tracker: mirror of the records.
        observer: progress callbacks.
    """

    def __init__(
        self,
        specs: Sequence[RunSpec],
        missing: Sequence[RunSpec],
        recorded: Iterable[tuple[RunSpec, RunRecord]],
        store: RunStore,
        tracker: Tracker,
        observer: Observer,
    ):
        self.outcome = Outcome()
        self._titles = distinct_titles(specs)
        self._pace = Pace(missing, recorded)
        self._store, self._tracker, self._observer = store, tracker, observer
        self._since: dict[str, float] = {}

    def crew(self, workers: int) -> None:
        """So many workers of ours are side by side from now on."""
        self._pace.workers = workers

    def started(self, spec: RunSpec, worker: str = "", *, ours: bool = True) -> None:
        """A run starts, or resumes; `worker` says who has it, where there are several."""
        self._observer.started(self._titles[spec.run_id], spec.training.epochs, worker)
        self._pace.start(spec, ours=ours)
        self._since[spec.run_id] = time.perf_counter()

    def epoch(self, spec: RunSpec, epoch: EndedEpoch) -> None:
        """An epoch of a run has ended."""
        self._pace.epoch(spec, epoch.epoch + 1, epoch.seconds or 0.0)
        self._observer.stepped(self._titles[spec.run_id], _step(epoch, spec, self._pace))

    def stopped(self, spec: RunSpec) -> None:
        """The worker of a run is gone; the run waits for another one."""
        self._pace.stop(spec)
        self._observer.stopped(self._titles[spec.run_id])

    def ended(self, spec: RunSpec, record: RunRecord, code: int, *, ours: bool) -> None:
        """A run has ended; the records of other commands' runs are mirrored by them."""
        title, since = self._titles[spec.run_id], self._since.pop(spec.run_id, None)
        seconds = time.perf_counter() - since if since is not None else None
        self._pace.end(spec, seconds if ours and record.status == "finished" else None)
        how = "by another command" if not ours else f"{seconds:.0f} s" if seconds is not None else "meanwhile"
        self._observer.ended(title, _news(title, record, how), self._pace.all_left())
        if ours:
            mirror_record(self._tracker, record, self._store.folder(spec.run_id))
        if record.status == "failed":
            self.outcome.failures.append(record)
            self.outcome.exit_code = max(self.outcome.exit_code, code)

    def waiting(self, specs: Sequence[RunSpec]) -> None:
        """Other commands run all that is left."""
        names = ", ".join(self._titles[spec.run_id] for spec in specs[:3]) + (", ..." if len(specs) > 3 else "")
        self._observer.noted(f"waiting for {counted(len(specs), 'run')} of other commands on this folder: {names}")


def distinct_titles(specs: Sequence[RunSpec]) -> dict[str, str]:
    """What each run is called, by its id: its title, and where runs share one, the settings in which they differ."""
    same: dict[str, list[RunSpec]] = {}
    for spec in specs:
        same.setdefault(spec.title, []).append(spec)
    return {spec.run_id: _title(spec, same[spec.title]) for spec in specs}


def _title(spec: RunSpec, namesakes: Sequence[RunSpec]) -> str:
    settings = [flatten(one.model_dump(mode="json", include=set(_PARTS))) for one in namesakes]
    own = settings[namesakes.index(spec)]
    differing = [key for key in own if any(other.get(key) != own[key] for other in settings)]
    names = [str(own[key]) for key in _NAMES if key in differing and own[key]]
    others = [f"{key}={own[key]}" for key in differing if key not in _NAMES]
    told = ", ".join((names or others)[:_MOST_TOLD])
    return f"{spec.title} ({told})" if told else spec.title


def _step(epoch: EndedEpoch, spec: RunSpec, pace: Pace) -> Step:
    """An epoch as an observer is told of it."""
    losses = ", ".join(f"{name} {value:.4g}" for name, value in epoch.losses.items())
    reached = f"rSum {epoch.validation['rsum']:.1f}"
    return Step(
        number=epoch.epoch + 1,
        steps=spec.training.epochs,
        text=f"loss {losses}, validation {reached}",
        short=reached,
        seconds=epoch.seconds or 0.0,
        left=pace.run_left(spec),
        all_left=pace.all_left(),
    )


def _news(title: str, record: RunRecord, how: str) -> str:
    result = f"FAILED: {record.error}" if record.status == "failed" else protocols.summary(record.metrics)
    return f"{title}: {result} ({how})"
