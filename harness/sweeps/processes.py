"""Several workers on this machine: started, watched, replaced when a trial ends its process, and stopped with us.

Only this process can tell a crash that the trial caused from a kill: it survives the worker and sees how it died. Crashes
of a single worker, and of workers on other machines, are not counted.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Any

from optuna.study import Study

from harness import registry
from harness.errors import ItmError, RunFailed
from harness.executors.deaths import cause_of_death, kernel_kills
from harness.similarity import settings as engine
from harness.sweeps.folders import TrialFolders
from harness.sweeps.liveness import bury
from harness.sweeps.plan import StudyPlan
from harness.sweeps.splits import open_tuning_splits
from harness.sweeps.storage import StudyLock, storage_errors, study_lock
from harness.sweeps.study import open_study
from harness.sweeps.trial import TrialRunner
from harness.sweeps.worker import POLL_SECONDS, census, work

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 10.0


@dataclass(frozen=True)
class Task:
    """What a worker process needs to know."""

    plan: StudyPlan
    trials: int  #: the total of the study
    device: str
    grace: float  #: seconds without a sign of life until a trial is taken over
    folders: TrialFolders  #: where trials keep their checkpoints
    engine: engine.Settings  #: of the command


def work_in_processes(study: Study, task: Task, workers: int, tell: Callable[[], None]) -> None:
    """Run a study in worker processes; `tell` is called now and then, to tell of the trials that have ended.

    Raises:
        RunFailed: all workers ended before the study did.
    """
    lock = study_lock(task.plan.storage, task.plan.name)
    crew = [_Hand(task) for _ in range(workers)]
    codes = []
    try:
        while crew:
            time.sleep(POLL_SECONDS)
            tell()
            for hand in [hand for hand in crew if not hand.process.is_alive()]:
                crew.remove(hand)
                codes.append(hand.process.exitcode)
                if _settle(study, lock, hand):
                    crew.append(_Hand(task))
    finally:
        stop([hand.process for hand in crew])
    ended = census(study).ended
    if ended < task.trials:
        raise RunFailed(
            f"all workers of study '{task.plan.name}' ended early (exit codes {', '.join(map(str, codes))}) with {ended} of "
            f"{task.trials} trials done; those are kept, and the same command continues"
        )


def stop(processes: Sequence[BaseProcess], patience: float = PATIENCE_SECONDS) -> None:
    """Ask workers to give their trials back and end; kill those that do not in time."""
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + patience
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()


class _Hand:
    """A worker process, and how many the kernel had killed when it began."""

    def __init__(self, task: Task):
        self.kills = kernel_kills()
        # A fork would share the parent's threads' locks and the GPU.
        self.process = multiprocessing.get_context("spawn").Process(target=_worker, args=(task,), name="itm-sweep")
        self.process.start()


def _settle(study: Study, lock: StudyLock, hand: _Hand) -> bool:
    """Decide what becomes of a dead worker's trial; True if a trial ended the worker, so that another one is needed."""
    now = kernel_kills()
    cause = cause_of_death(hand.process.exitcode, now is not None and hand.kills is not None and now > hand.kills)
    assert hand.process.pid is not None
    with lock():
        held = bury(study, hand.process.pid, cause)
    if cause and held:
        logger.warning("a trial ended its worker: %s", cause)
    return bool(cause) and held


def _worker(task: Task) -> None:
    """What a worker process does."""
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _interrupt)
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    engine.use(task.engine)
    plan = task.plan
    try:
        for plugin in plan.plugins:
            registry.add_plugin(plugin)
        study = open_study(plan)
        run_trial = TrialRunner(plan, open_tuning_splits(plan.base.dataset), task.device, task.folders)
        lock = study_lock(plan.storage, plan.name)
        with storage_errors(plan.storage):
            done = task.folders.remove
            work(study, run_trial, task.trials, lock, grace=task.grace, parent=parent.pid, after_trial=done)
    except ItmError as error:
        logger.error("a worker stopped: %s", error)
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def _end_with(parent: BaseProcess) -> None:
    """End with the command that started us, so that nothing works on in the background; the trials resume next time."""
    parent.join()
    os._exit(1)
