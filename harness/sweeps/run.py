"""Running a study: here, or in several processes that share it; results are reported as they come in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from optuna.study import Study

from harness.errors import RunFailed
from harness.executors.choice import Placement
from harness.executors.crew import new_command
from harness.files.writing import remove_leftovers
from harness.records.study import StudySummary, write_summary
from harness.sweeps.folders import TrialFolders
from harness.sweeps.liveness import GRACE_SECONDS, Keeper, this_process
from harness.sweeps.plan import StudyPlan, study_folder
from harness.sweeps.processes import TrialJob, executor_for, work_in_processes
from harness.sweeps.splits import open_tuning_splits
from harness.sweeps.storage import storage_errors, study_lock
from harness.sweeps.study import open_study
from harness.sweeps.summary import summarise
from harness.sweeps.telling import Teller
from harness.sweeps.trial import TrialRunner
from harness.sweeps.worker import census, work
from harness.tracking.base import Tracker
from harness.tracking.observer import Observer


def run_study(
    plan: StudyPlan,
    results: Path,
    trials: int,
    *,
    placement: Placement | None = None,
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
        placement: where the trials run; None = in this process, one after the other.
        device: where this process computes.
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
    placement = replace(placement or Placement(workers=1), plugins=plan.plugins)
    study, tracker, folder = open_study(plan), tracker or Tracker(), study_folder(results, plan.name)
    executor = executor_for(plan, results, trials - census(study).ended, placement)
    command = executor.context.command if executor is not None else new_command()
    folders = TrialFolders(folder if executor is None else folder.resolve())
    teller = Teller(study, plan, tracker, observer or Observer(), command)
    teller.begin(trials)

    def after_trial(number: int) -> None:
        folders.remove(number)
        teller.tell()

    try:
        with storage_errors(plan.storage):
            _clear(study, folders, folder)
            if executor is None:
                runner = TrialRunner(plan, open_tuning_splits(plan.base.dataset), device, folders, teller.tell)
                keeper, lock = Keeper(command), study_lock(plan.storage, plan.name)
                work(study, runner, trials, lock, grace=grace, keeper=keeper, after_trial=after_trial)
            else:
                job = TrialJob(plan, trials, grace, folders, command, this_process())
                work_in_processes(study, job, executor, placement, teller.tell)
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
