"""Running a study: here, or in several processes that share it; results are reported as they come in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from optuna.study import Study

from harness.errors import RunFailed
from harness.files.writing import remove_leftovers
from harness.records.study import StudySummary, TrialSummary, best_of, write_summary
from harness.similarity import settings as engine
from harness.sweeps import mirror
from harness.sweeps.folders import TrialFolders
from harness.sweeps.liveness import GRACE_SECONDS
from harness.sweeps.plan import StudyPlan, study_folder
from harness.sweeps.processes import Task, work_in_processes
from harness.sweeps.splits import open_tuning_splits
from harness.sweeps.storage import shown_storage, storage_errors, study_lock
from harness.sweeps.study import open_study
from harness.sweeps.summary import summarise, trial_summary
from harness.sweeps.trial import TrialRunner
from harness.sweeps.worker import census, has_ended, work
from harness.tracking.base import Tracker
from harness.tracking.observer import Observer


def run_study(
    plan: StudyPlan,
    results: Path,
    trials: int,
    *,
    workers: int = 1,
    device: torch.device | str = "cpu",
    grace: float = GRACE_SECONDS,
    tracker: Tracker | None = None,
    observer: Observer | None = None,
) -> StudySummary:
    """Run a study until `trials` trials have ended, earlier calls and other machines included.

    Args:
        plan: of the study.
        results: the results folder, where the summary is written.
        trials: the total.
        workers: processes; 1 = this one.
        device: where to compute.
        grace: seconds without a sign of life until a worker's trial is taken over.
        tracker: mirror of the trials; None = none.
        observer: progress callbacks; None = none.

    Returns:
        The summary, which is also in `<results>/sweeps/<study>/study.json`.

    Raises:
        StorageUnavailable: the storage cannot be used.
        InvalidSpec: the study was begun with another plan.
        RunFailed: no trial can be recommended, or the workers died; the trials that ended are kept.
    """
    study, tracker = open_study(plan), tracker or Tracker()
    folder = study_folder(results, plan.name)
    folders = TrialFolders(folder)
    teller = _Teller(study, plan, tracker, observer or Observer())
    teller.begin(trials)

    def after_trial(number: int) -> None:
        folders.remove(number)
        teller.tell()

    try:
        with storage_errors(plan.storage):
            _clear(study, folders, folder)
            if workers == 1:
                run_trial = TrialRunner(plan, open_tuning_splits(plan.base.dataset), device, folders)
                lock = study_lock(plan.storage, plan.name)
                work(study, run_trial, trials, lock, grace=grace, after_trial=after_trial)
            else:
                workers = min(workers, max(1, trials - census(study).ended))
                task = Task(plan, trials, str(device), grace, folders, engine.current())
                work_in_processes(study, task, workers, teller.tell)
            _clear(study, folders, folder)
    finally:
        teller.tell()
        tracker.close()
        summary = summarise(study, plan)
        write_summary(summary, folder)
    _check_outcome(summary)
    return summary


def _clear(study: Study, folders: TrialFolders, folder: Path) -> None:
    """Remove what killed workers left of trials that have ended."""
    folders.keep_only(t.number for t in study.get_trials(deepcopy=False) if not t.state.is_finished())
    remove_leftovers(folder)


class _Teller:
    """Tells mirror and observer of each trial once."""

    def __init__(self, study: Study, plan: StudyPlan, tracker: Tracker, observer: Observer):
        self.study, self.plan, self.tracker, self.observer = study, plan, tracker, observer
        self.told: dict[int, TrialSummary] = {}

    def begin(self, trials: int) -> None:
        mirror.start(self.tracker, self.plan)
        for _ in self._new():
            pass  # told to the mirror again: an earlier call may not have come to it
        job = f"study {self.plan.name} in {shown_storage(self.plan.storage)}"
        self.observer.began(job, "trial", trials, len(self.told))

    def tell(self) -> None:
        for trial in self._new():
            self.observer.ended(f"trial {trial.number}", _news(trial, best_of(list(self.told.values()))))

    def _new(self) -> Iterator[TrialSummary]:
        for trial in self.study.get_trials(deepcopy=False):
            if has_ended(trial) and trial.number not in self.told:
                summary = self.told[trial.number] = trial_summary(trial, self.plan)
                mirror.tell(self.tracker, self.plan, summary)
                yield summary


def _news(trial: TrialSummary, best: TrialSummary | None) -> str:
    reached = "no epoch" if trial.rsum is None else f"validation rSum {trial.rsum:.1f}"
    others = "".join(f", {key} {value:.4g}" for key, value in trial.values.items() if key != "rsum")
    state = "" if trial.state == "complete" else f" {trial.state.upper()} ({trial.reason})"
    leader = f"; best {best.rsum:.1f} (trial {best.number})" if best is not None else ""
    return f"trial {trial.number}: {reached}{others}{state}, {trial.seconds:.0f} s{leader}"


def _check_outcome(summary: StudySummary) -> None:
    if summary.best_trial is not None or not summary.trials:
        return
    counts = f"{summary.count('failed')} failed, {summary.count('pruned')} were pruned"
    if outside := summary.count("complete"):
        limits = ", ".join(f"{key} <= {limit:g}" for key, limit in summary.at_most.items())
        counts += f", {outside} broke the constraints ({limits})"
    reason = next((f"; the first: {trial.reason}" for trial in summary.trials if trial.reason), "")
    raise RunFailed(
        f"none of the {len(summary.trials)} trials of study '{summary.study}' can be recommended: {counts}{reason}; all "
        "are kept"
    )
