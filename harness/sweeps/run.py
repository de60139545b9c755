"""Running a study: here, or in several processes that share it; what was found is told as it comes."""

from __future__ import annotations

import logging
import multiprocessing
import os
import time
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch
from optuna.study import Study

from harness import registry
from harness.errors import ItmError, RunFailed
from harness.sweeps.extract import summarise, trial_summary
from harness.sweeps.liveness import GRACE_SECONDS
from harness.sweeps.mirror import StudyMirror
from harness.sweeps.objective import Objective
from harness.sweeps.plan import StudyPlan, study_folder
from harness.sweeps.splits import open_tuning_splits
from harness.sweeps.study import open_study, storage_errors
from harness.sweeps.summary import StudySummary, TrialSummary, write_summary
from harness.sweeps.worker import POLL_SECONDS, census, has_ended, work
from harness.tracking import Tracker

logger = logging.getLogger(__name__)


class Listener:
    """Hears of a study's progress; this base hears nothing."""

    def began(self, plan: StudyPlan, ended: Sequence[TrialSummary], trials: int) -> None:
        """The study is open; some trials may have ended in earlier calls."""

    def trial(self, trial: TrialSummary, ended: int) -> None:
        """A trial has ended, the `ended`-th of the study."""


def run_study(
    plan: StudyPlan,
    results: Path,
    trials: int,
    *,
    workers: int = 1,
    device: torch.device | str = "cpu",
    grace: float = GRACE_SECONDS,
    tracker: Tracker | None = None,
    listener: Listener | None = None,
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
        listener: hears of the progress.

    Returns:
        The summary, which is also in `<results>/sweeps/<study>/study.json`.

    Raises:
        StorageUnavailable: the storage cannot be used.
        InvalidSpec: the study was begun with another plan.
        RunFailed: no trial can be recommended, or the workers died; the trials that ended are kept.
    """
    study = open_study(plan)
    teller = _Teller(study, plan, StudyMirror(tracker or Tracker(), plan), listener or Listener())
    teller.begin(trials)
    try:
        with storage_errors(plan.storage):
            if workers == 1:
                objective = Objective(plan, open_tuning_splits(plan.base.dataset), device)
                work(study, objective, trials, grace=grace, after_trial=lambda _: teller.tell())
            else:
                _in_processes(study, plan, trials, workers, str(device), grace, teller)
    finally:
        teller.tell()
        teller.mirror.close()
        summary = summarise(study, plan)
        write_summary(summary, study_folder(results, plan.name))
    _check_outcome(summary, trials)
    return summary


class _Teller:
    """Tells mirror and listener of each trial once."""

    def __init__(self, study: Study, plan: StudyPlan, mirror: StudyMirror, listener: Listener):
        self.study, self.plan, self.mirror, self.listener = study, plan, mirror, listener
        self.told: set[int] = set()

    def begin(self, trials: int) -> None:
        before = self._new()
        for trial in before:
            self.mirror.tell(trial)  # an earlier call may not have come to it
        self.listener.began(self.plan, before, trials)

    def tell(self) -> None:
        for trial in self._new():
            self.mirror.tell(trial)
            self.listener.trial(trial, len(self.told))

    def _new(self) -> list[TrialSummary]:
        ended = [trial for trial in self.study.get_trials(deepcopy=False) if has_ended(trial)]
        new = [trial_summary(trial, self.plan) for trial in ended if trial.number not in self.told]
        self.told |= {trial.number for trial in new}
        return new


def _in_processes(
    study: Study, plan: StudyPlan, trials: int, workers: int, device: str, grace: float, teller: _Teller
) -> None:
    """Start the workers, tell of their trials, and wait for them; one that dies leaves its trial to the others."""
    context = multiprocessing.get_context("spawn")  # a fork would share the parent's threads' locks and the GPU
    threads = max(1, (os.cpu_count() or 1) // workers)
    processes = [
        context.Process(target=_worker, args=(plan, trials, device, grace, threads), name=f"itm-sweep-{index}")
        for index in range(workers)
    ]
    for process in processes:
        process.start()
    try:
        while any(process.is_alive() for process in processes):
            time.sleep(POLL_SECONDS)
            teller.tell()
    finally:
        _stop(processes)
    ended = census(study).ended
    if ended < trials:
        codes = ", ".join(str(process.exitcode) for process in processes)
        raise RunFailed(
            f"all workers of study '{plan.name}' ended early (exit codes {codes}) with {ended} of {trials} trials done; "
            "those are kept, and the same command continues"
        )


def _worker(plan: StudyPlan, trials: int, device: str, grace: float, threads: int) -> None:
    """What a worker process does."""
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(threads)
    try:
        for plugin in plan.plugins:
            registry.add_plugin(plugin)
        study = open_study(plan)
        with storage_errors(plan.storage):
            work(study, Objective(plan, open_tuning_splits(plan.base.dataset), device), trials, grace=grace)
    except ItmError as error:
        logger.error("a worker stopped: %s", error)
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _stop(processes: Sequence[BaseProcess], patience: float = 20.0) -> None:
    """Wait for workers that were interrupted with us; end those that do not stop."""
    deadline = time.monotonic() + patience
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.is_alive():
            process.terminate()
            process.join()


def _check_outcome(summary: StudySummary, trials: int) -> None:
    if summary.best_trial is not None or not summary.trials:
        return
    counts = f"{summary.count('failed')} failed, {summary.count('pruned')} were pruned"
    outside = [trial for trial in summary.trials if trial.state == "complete"]
    if outside:
        limits = ", ".join(f"{key} <= {limit:g}" for key, limit in summary.at_most.items())
        counts += f", {len(outside)} broke the constraints ({limits})"
    reasons = [trial.reason for trial in summary.trials if trial.reason]
    first = f"; the first: {reasons[0]}" if reasons else ""
    raise RunFailed(
        f"none of the {len(summary.trials)} trials of study '{summary.study}' can be recommended: {counts}{first}; all are kept"
    )
