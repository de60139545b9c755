"""A study in worker processes, here or elsewhere: each runs trials, and the command sees how its workers die.

Only the command can tell a crash that the trial caused from a kill: it survives the worker. Crashes of a single worker
that is the command itself are not counted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from optuna.study import Study
from optuna.trial import FrozenTrial

from harness.errors import StorageUnavailable, counted
from harness.executors.base import Executor, Seat, Worker
from harness.executors.choice import Placement
from harness.executors.crew import run_crew
from harness.executors.local import LocalExecutor
from harness.records.store import RunStore
from harness.runs.workers import seat_device
from harness.sweeps import liveness
from harness.sweeps.folders import TrialFolders
from harness.sweeps.plan import StudyPlan
from harness.sweeps.splits import open_tuning_splits
from harness.sweeps.storage import JOURNAL, storage_errors, storage_file, study_lock
from harness.sweeps.study import open_study
from harness.sweeps.trial import TrialRunner
from harness.sweeps.worker import census, work

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrialJob:
    """What a worker does: it runs trials until the study has as many as it shall have.

    Args:
        plan: of the study.
        trials: the total of the study.
        grace: seconds without a sign of life until a trial is taken over.
        folders: where trials keep their checkpoints.
        command: see `harness.executors.base.Context`.
        process: of the command, see `harness.sweeps.liveness.this_process`.
    """

    plan: StudyPlan
    trials: int
    grace: float
    folders: TrialFolders
    command: str
    process: dict[str, object]

    def __call__(self, seat: Seat) -> int:
        plan, study = self.plan, open_study(self.plan)
        device = seat_device(seat.device)
        run_trial = TrialRunner(plan, open_tuning_splits(plan.base.dataset), device, self.folders)
        keeper = liveness.Keeper(self.command, seat.number, self.process)
        lock = study_lock(plan.storage, plan.name)
        with storage_errors(plan.storage):
            work(study, run_trial, self.trials, lock, grace=self.grace, keeper=keeper, after_trial=self.folders.remove)
        return 0


def executor_for(plan: StudyPlan, results: Path, trials: int, placement: Placement) -> Executor | None:
    """What runs the trials that are left in workers; None = this process does, one after the other.

    Args:
        plan: of the study.
        results: the results folder.
        trials: that are left.
        placement: where the user wants them.

    Raises:
        StorageUnavailable: workers elsewhere could not use the storage.
    """
    check_reachable(plan.storage, placement, results)
    if trials < 1:
        return None
    executor = placement.create(RunStore(results))
    if not isinstance(executor, LocalExecutor):
        return executor
    seats = executor.seats(placement.workers, placement.device, plan.base.threads)
    return executor if min(trials, len(seats)) > 1 else None


def check_reachable(storage: str, placement: Placement, results: Path) -> None:
    """Refuse a storage that workers on other machines cannot use.

    Raises:
        StorageUnavailable: it is an SQLite file.
    """
    path = storage_file(storage)
    if placement.stays_here or path is None or storage.startswith(JOURNAL):
        return
    raise StorageUnavailable(
        f"--executor {placement.executor} may start workers on other machines, which cannot share the SQLite file {path}; name a "
        f"storage that they reach, for example --storage {JOURNAL}{results / 'sweeps' / 'optuna.log'}"
    )


def work_in_processes(
    study: Study, job: TrialJob, executor: Executor, placement: Placement, tell: Callable[[], None]
) -> None:
    """Run a study in workers; `tell` is called now and then, to tell of the trials that have ended.

    Raises:
        RunFailed: all workers ended before the study did.
        ItmError: there is nothing to run on.
    """
    plan = job.plan
    lock, done = study_lock(plan.storage, plan.name), dict[int, int]()

    def died(worker: Worker, cause: str) -> bool:
        number, before = worker.seat.number, done.get(worker.seat.number, 0)
        with lock():
            done[number] = _steps_of(study, job.command, number)
            trial = liveness.held_by(study, job.command, number)
            liveness.bury(study, job.command, number, cause)
        if trial is not None and cause:
            logger.warning("a trial ended its worker: %s", cause)
        elif trial is not None:
            logger.warning("%s is gone; trial %d resumes from its last epoch", worker.seat.name, trial.number)
        return (bool(cause) and trial is not None) or done[number] > before

    with executor:
        left = max(1, job.trials - census(study).ended)
        seats = executor.seats(placement.workers, placement.device, plan.base.threads)[:left]
        elsewhere = replace(job, plan=replace(plan, storage=_absolute(plan.storage)))
        crew = run_crew(executor, elsewhere, seats, poll=tell, died=died)
    ended = census(study).ended
    reached = f"{ended} of {counted(job.trials, 'trial')} of study '{plan.name}' done"
    crew.require_done(reached if ended < job.trials else "")


def _steps_of(study: Study, command: str, seat: int) -> int:
    """How far the trials have come that the workers of a seat ended or hold."""

    def is_theirs(trial: FrozenTrial) -> bool:
        worker = trial.user_attrs.get(liveness.WORKER) or {}
        return (worker.get("command"), worker.get("seat")) == (command, seat)

    theirs = filter(is_theirs, study.get_trials(deepcopy=False))
    return sum(len(trial.intermediate_values) + trial.state.is_finished() for trial in theirs)


def _absolute(storage: str) -> str:
    """The storage for a worker whose current folder may be another one; SQLite is for those that are started here."""
    if not storage.startswith(JOURNAL):
        return storage
    return f"{JOURNAL}{Path(storage.removeprefix(JOURNAL)).resolve()}"
