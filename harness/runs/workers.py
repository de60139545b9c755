"""Cells in workers: each of them runs what no other one runs, and the command tells what it reads in the runs' folders."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from harness.errors import ResultsNotWritable, RunFailed, counted
from harness.executors.base import Executor, Seat, Worker
from harness.executors.choice import Placement
from harness.executors.crew import MOST_DEATHS, POLL_SECONDS, run_crew
from harness.executors.local import LocalExecutor
from harness.files.locks import is_claimed
from harness.machine.interruptions import stop_if_asked
from harness.records import environment
from harness.records.run import RunRecord
from harness.records.store import DEATHS, PROGRESS, RunStore
from harness.runs.cell import failed, run_cell
from harness.runs.progress import Progress, add_death, deaths_of, read_progress, verdict
from harness.runs.sharing import State, share, state_of
from harness.runs.telling import Teller
from harness.spec import RunSpec

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CellJob:
    """What a worker does: it runs the cells that nobody else runs, until none is left.

    Args:
        specs: the cells.
        before: the state of each when the command started, see `harness.runs.sharing.share`.
        results: the results folder.
        command: see `harness.executors.base.Context`.
    """

    specs: tuple[RunSpec, ...]
    before: Mapping[str, State]
    results: Path
    command: str

    def __call__(self, seat: Seat) -> int:
        """Run them.

        Raises:
            ResultsNotWritable: the end of a run cannot be recorded, as on a full disk.
        """
        store, device = RunStore(self.results), seat_device(seat.device)

        def run(spec: RunSpec) -> tuple[RunRecord, int]:
            if reason := verdict(deaths_of(store.folder(spec.run_id))):
                return _give_up(spec, store, reason), RunFailed.exit_code
            record, code = run_cell(spec, store, device, command=self.command, worker=seat.number)
            _require_recorded(record, store)
            return record, code

        for _ in share(self.specs, self.before, store, run, waiting=None):
            pass
        return 0


def needs_workers(missing: Sequence[RunSpec], store: RunStore, placement: Placement) -> bool:
    """Whether cells run in workers: anywhere else, or several at once here. One at a time needs no other process."""
    if not missing:
        return False
    executor = placement.create(store)
    return not isinstance(executor, LocalExecutor) or len(_seats(executor, placement, missing)) > 1


def run_in_workers(
    missing: Sequence[RunSpec], before: Mapping[str, State], store: RunStore, placement: Placement, teller: Teller
) -> None:
    """Run cells in workers, and wait for those of other commands.

    Raises:
        RunFailed: the workers ended before the cells did.
        ItmError: there is nothing to run on.
    """
    executor = placement.create(store)
    watch = Watch(missing, before, store, executor.context.command, teller)
    fruitless = 0
    with executor:
        while watch.left:
            if watch.unclaimed():
                to_do = set(watch.left)
                _work(executor, placement, watch)
                fruitless = fruitless + 1 if set(watch.left) == to_do else 0
                if fruitless >= MOST_DEATHS:
                    left = counted(len(watch.left), "run")
                    raise RunFailed(
                        f"{left} of the plan cannot be worked on, and no reason is known; see `itm ls runs`"
                    )
            else:
                watch.wait()
                time.sleep(POLL_SECONDS)
                stop_if_asked()
                watch.poll()


def _work(executor: Executor, placement: Placement, watch: Watch) -> None:
    """One crew, for all that is left."""
    context, specs = executor.context, tuple(watch.left.values())
    seats = _seats(executor, placement, specs)
    watch.crew(len(seats))
    job = CellJob(specs, {spec.run_id: watch.before[spec.run_id] for spec in specs}, context.results, context.command)
    ended = run_crew(executor, job, seats, poll=watch.poll, died=watch.died)
    left = watch.unclaimed()  # if all went well: what another command had when the workers looked, and gave up since
    early = any(code != 0 for code in ended.codes)
    ended.require_done(f"{counted(len(left), 'run')} to do" if left and early else "")


def _seats(executor: Executor, placement: Placement, specs: Sequence[RunSpec]) -> list[Seat]:
    """No more than there are cells."""
    threads = max(spec.threads * spec.devices for spec in specs)
    gpus = max(spec.devices for spec in specs)
    return executor.seats(placement.workers, placement.device, threads, gpus)[: len(specs)]


class Watch:
    """Sees from the files of runs how they do, and tells of it.

    Args:
        missing: the runs.
        before: the state of each when the command started; one that failed since has ended.
        store: where they lie.
        command: our name in their progress files.
        teller: is told.
        unseen_are_ours: whether a run that began and ended between two looks counts as ours: workers of ours may have
            had it. A command without workers knows what it ran.
    """

    def __init__(
        self,
        missing: Sequence[RunSpec],
        before: Mapping[str, State],
        store: RunStore,
        command: str,
        teller: Teller,
        *,
        unseen_are_ours: bool = True,
    ):
        self.left = {spec.run_id: spec for spec in missing}
        self.before = before
        self._store, self._command, self._teller = store, command, teller
        self._unseen_are_ours = unseen_are_ours
        self._seen: dict[tuple[str, str], tuple[int, int] | None] = {}  # what a file looked like, by run and name
        self._progress: dict[str, Progress] = {}
        self._epochs: dict[str, int] = {}  # told of each run
        self._done: dict[int, int] = {}  # epochs and runs by seat: whether its workers get anywhere
        self._waited: list[str] = []

    def poll(self) -> None:
        """Tell what happened since the last call."""
        for spec in list(self.left.values()):
            self._read_progress(spec)
            if self._changed(spec.run_id, "record.json"):
                state, record = state_of(self._store, spec.run_id)
                if state == "damaged":  # perhaps only at the moment: another command is changing its files
                    self._seen.pop((spec.run_id, "record.json"))
                failed_since = state == "failed" and (state, record) != self.before[spec.run_id]
                if record is not None and (state == "finished" or failed_since):
                    self._end(spec, record)
        for run_id in [run_id for run_id, known in self._progress.items() if known.command != self._command]:
            if run_id in self.left and not self._is_claimed(run_id):  # the other command was stopped
                self._leave(run_id)

    def unclaimed(self) -> list[RunSpec]:
        """Runs that have not ended and that nobody runs now."""
        self.poll()
        return [spec for run_id, spec in self.left.items() if not self._is_claimed(run_id)]

    def crew(self, workers: int) -> None:
        """So many workers are side by side from now on."""
        self._teller.crew(workers)

    def wait(self) -> None:
        """Tell once that other commands run all that is left."""
        if list(self.left) != self._waited:
            self._waited = list(self.left)
            self._teller.waiting(list(self.left.values()))

    def died(self, worker: Worker, cause: str) -> bool:
        """Note the death of a worker with the run that it had; whether it got anything done."""
        held = self._runs_of(worker)  # before the next look, at which another worker may have its run
        self.poll()
        for run_id in (held | self._runs_of(worker)) & self.left.keys():
            title = self.left[run_id].title
            if cause:
                add_death(self._store.folder(run_id), cause)
                logger.warning("%s ended its worker: %s", title, cause)
            else:
                logger.warning("%s is gone; %s resumes from its last epoch", worker.seat.name, title)
        for run_id in self._runs_of(worker) & self.left.keys():
            self._leave(run_id)
        return bool(cause) or self._done.pop(worker.seat.number, 0) > 0

    def _runs_of(self, worker: Worker) -> set[str]:
        ours = (self._command, worker.seat.number)
        return {run_id for run_id, known in self._progress.items() if (known.command, known.worker) == ours}

    def _read_progress(self, spec: RunSpec) -> None:
        if not self._changed(spec.run_id, PROGRESS):
            return
        progress = read_progress(self._store.folder(spec.run_id))
        if progress is None or (progress.exit_code is not None and spec.run_id not in self._progress):
            return  # of a run that failed in an earlier call
        ours = progress.command == self._command
        if not ours and not self._is_claimed(spec.run_id):
            return  # a command that was killed left it
        known = self._progress.get(spec.run_id)
        if known is None or (known.command, known.worker) != (progress.command, progress.worker):
            self._teller.started(spec, Seat(progress.worker).name if ours else "another command", ours=ours)
        self._progress[spec.run_id] = progress
        self._tell_epochs(spec, progress.history, progress.resumed)

    def _tell_epochs(self, spec: RunSpec, history: Sequence[object], earlier: int) -> None:
        told = max(self._epochs.get(spec.run_id, 0), earlier)
        for epoch in history[told:]:
            self._teller.epoch(spec, epoch)  # type: ignore[arg-type]
            self._count(spec)
        self._epochs[spec.run_id] = max(told, len(history))

    def _end(self, spec: RunSpec, record: RunRecord) -> None:
        progress = self._progress.get(spec.run_id)
        if progress is not None:
            self._tell_epochs(spec, record.training.history, progress.resumed)
        last = read_progress(self._store.folder(spec.run_id)) or progress
        code = (last.exit_code if last else None) or int(record.status == "failed")
        self._count(spec)
        del self.left[spec.run_id]
        ours = self._unseen_are_ours if progress is None else progress.command == self._command
        self._teller.ended(spec, record, code, ours=ours)

    def _leave(self, run_id: str) -> None:
        """Nobody has a run any more."""
        del self._progress[run_id]
        self._teller.stopped(self.left[run_id])

    def _is_claimed(self, run_id: str) -> bool:
        return is_claimed(self._store.results, f"run-{run_id}")

    def _count(self, spec: RunSpec) -> None:
        progress = self._progress.get(spec.run_id)
        if progress is not None and progress.command == self._command:
            self._done[progress.worker] = self._done.get(progress.worker, 0) + 1

    def _changed(self, run_id: str, name: str) -> bool:
        """Whether a file is another one than at the last look."""
        try:
            found = os.stat(self._store.folder(run_id) / name)
            look = (found.st_ino, found.st_mtime_ns)
        except OSError:
            look = None
        before = self._seen.get((run_id, name))
        self._seen[run_id, name] = look
        return look is not None and look != before


def _give_up(spec: RunSpec, store: RunStore, reason: str) -> RunRecord:
    """Record a run whose workers die of it; the next call tries it again."""
    record = failed(spec, reason, environment.now())
    (store.folder(spec.run_id) / DEATHS).unlink(missing_ok=True)
    store.write(record)
    return record


def _require_recorded(record: RunRecord, store: RunStore) -> None:
    """The record is all that a command sees of a run that failed: without one it would start the run again, for ever."""
    if record.status != "failed":
        return
    found = state_of(store, record.run_id)[1]
    if found is None or found.started != record.started:  # nothing, or the record of an earlier call
        raise ResultsNotWritable(f"{record.scorer} seed {record.seed} failed, which cannot be recorded: {record.error}")


def seat_device(name: str) -> torch.device:
    """The device of a seat: what it names, or the first of where the worker finds itself."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)
