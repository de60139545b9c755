"""A worker: runs trials of a study until it has the number asked for, beside any number of other workers."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from harness.errors import ItmError
from harness.sweeps.liveness import (
    ERROR,
    GRACE_SECONDS,
    PULSE,
    PULSES_A_GRACE,
    WORKER,
    Pulse,
    TakenOver,
    Watcher,
    requeue,
    require_hold,
    stored,
    worker_name,
)
from harness.sweeps.storage import StudyLock, is_of_storage

POLL_SECONDS = 0.5
Objective = Callable[[optuna.Trial], float | tuple[float, ...]]


@dataclass(frozen=True)
class Census:
    """How many trials there are.

    Args:
        ended: complete, pruned, or failed by themselves: what a budget counts.
        running, waiting: as Optuna says.
    """

    ended: int
    running: int
    waiting: int


def census(study: Study) -> Census:
    """Count the trials of a study."""
    trials = study.get_trials(deepcopy=False)
    return Census(
        sum(has_ended(trial) for trial in trials),
        sum(trial.state == TrialState.RUNNING for trial in trials),
        sum(trial.state == TrialState.WAITING for trial in trials),
    )


def has_ended(trial: FrozenTrial) -> bool:
    """Whether a trial came to an end of its own. Versions before 0.2 failed trials that were killed, without a reason."""
    return trial.state.is_finished() and not (trial.state == TrialState.FAIL and ERROR not in trial.user_attrs)


def work(
    study: Study,
    objective: Objective,
    trials: int,
    lock: StudyLock,
    *,
    grace: float = GRACE_SECONDS,
    parent: int | None = None,
    after_trial: Callable[[int], None] | None = None,
) -> None:
    """Run trials until `trials` of them have ended, whoever ran them.

    Args:
        study: shared with the other workers.
        objective: what a trial is.
        trials: the total, earlier calls included.
        lock: of the study.
        grace: seconds without a sign of life until another worker's trial is taken over.
        parent: process that watches this one.
        after_trial: gets the number of every trial of this worker that has ended.

    Raises:
        KeyboardInterrupt, StorageUnavailable, ResultsNotWritable: the trial in progress waits for the next call.
    """
    watcher = Watcher(grace)
    while True:
        with lock():
            watcher.requeue_lost(study)
            count = census(study)
            if count.ended >= trials:
                return
            trial = _begin(study, parent) if count.ended + count.running < trials else None
        if trial is None:
            time.sleep(POLL_SECONDS)  # the others hold the last trials; one of them may yet be lost
        elif _run(study, trial, objective, lock, grace) and after_trial is not None:
            after_trial(trial.number)


def _begin(study: Study, parent: int | None) -> optuna.Trial:
    """The next trial, with the name of its worker. Under the lock: what is running and has no name was killed here."""
    trial = study.ask()
    trial.set_user_attr(WORKER, worker_name(parent))
    return trial


@dataclass(frozen=True)
class _Outcome:
    state: TrialState
    values: Any = None
    attributes: dict[str, Any] = field(default_factory=dict)


def _run(study: Study, trial: optuna.Trial, objective: Objective, lock: StudyLock, grace: float) -> bool:
    """Run a trial to its end; False if another worker has it now."""
    try:
        with Pulse(lambda number: trial.set_user_attr(PULSE, number), grace / PULSES_A_GRACE):
            outcome = _outcome(objective, trial)
        with lock():
            require_hold(trial)
            for key, value in outcome.attributes.items():
                trial.set_user_attr(key, value)
            study.tell(trial, outcome.values, outcome.state)
    except (TakenOver, optuna.exceptions.UpdateFinishedTrialError):
        return False
    except BaseException:  # stopped from outside, or the storage is gone: no fault of the trial
        with contextlib.suppress(Exception):
            _give_back(study, trial, lock)
        raise
    return True


def _outcome(objective: Objective, trial: optuna.Trial) -> _Outcome:
    try:
        found = objective(trial)
    except optuna.TrialPruned:
        return _Outcome(TrialState.PRUNED)
    except (TakenOver, optuna.exceptions.UpdateFinishedTrialError):
        raise
    except (Exception, SystemExit) as error:  # a plug-in may call sys.exit
        if is_of_storage(error):
            raise
        return _Outcome(TrialState.FAIL, attributes={ERROR: failure(error)})
    values = found if isinstance(found, tuple) else (found,)
    if not all(math.isfinite(value) for value in values):
        shown = ", ".join(f"{value:g}" for value in values)
        return _Outcome(TrialState.FAIL, attributes={ERROR: f"the trial's value is not finite: {shown}"})
    return _Outcome(TrialState.COMPLETE, list(values))


def _give_back(study: Study, trial: optuna.Trial, lock: StudyLock) -> None:
    with lock():
        require_hold(trial)
        requeue(study, stored(study, trial.number))


def failure(error: BaseException) -> str:
    """An exception as the one line that a trial keeps."""
    text = " ".join(str(error).split())
    return text if isinstance(error, ItmError) else f"{type(error).__name__}: {text}"
