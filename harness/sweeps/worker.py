"""A worker: runs trials of a study until it has the number asked for, beside any number of other workers.

Every step that decides who runs which trial (begin, finish, give back, take over) is made under the study's lock. Optuna's
`MaxTrialsCallback` does not serve: it counts after each trial, so that N workers overshoot by up to N - 1 trials.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from typing import NamedTuple

import optuna
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from harness.errors import ItmError
from harness.machine.interruptions import stop_if_asked
from harness.sweeps import liveness
from harness.sweeps.storage import StudyLock, is_of_storage

POLL_SECONDS = 0.5
#: What a trial is: draws its settings and returns the values of the objectives.
RunTrial = Callable[[optuna.Trial], float | tuple[float, ...]]


class Census(NamedTuple):
    """How many trials there are: `ended` are complete, pruned, or failed by themselves, which a budget counts."""

    ended: int
    running: int
    waiting: int


def census(study: Study) -> Census:
    """Count the trials of a study."""
    trials = study.get_trials(deepcopy=False)
    running, waiting = (sum(t.state == state for t in trials) for state in (TrialState.RUNNING, TrialState.WAITING))
    return Census(sum(map(has_ended, trials)), running, waiting)


def has_ended(trial: FrozenTrial) -> bool:
    """Whether a trial came to an end of its own. Versions before 0.2 failed trials that were killed, without a reason."""
    return trial.state.is_finished() and not (trial.state == TrialState.FAIL and liveness.ERROR not in trial.user_attrs)


def work(
    study: Study,
    run_trial: RunTrial,
    trials: int,
    lock: StudyLock,
    *,
    grace: float = liveness.GRACE_SECONDS,
    keeper: liveness.Keeper = liveness.ALONE,
    after_trial: Callable[[int], None] | None = None,
) -> None:
    """Run trials until `trials` of them have ended, whoever ran them.

    Args:
        study: shared with the other workers.
        run_trial: what a trial is.
        trials: the total, earlier calls included.
        lock: of the study.
        grace: seconds without a sign of life until another worker's trial is taken over.
        keeper: who started this worker.
        after_trial: gets the number of every trial of this worker that has ended.

    Raises:
        KeyboardInterrupt, StorageUnavailable, ResultsNotWritable: the trial in progress waits for the next call.
    """
    watcher = liveness.Watcher(grace)
    while True:
        with lock():
            watcher.requeue_lost(study)
            count = census(study)
            if count.ended >= trials:
                return
            trial = begin(study, keeper) if count.ended + count.running < trials else None
        if trial is None:
            time.sleep(POLL_SECONDS)  # the others hold the last trials; one of them may yet be lost
        elif _run(study, trial, run_trial, lock, grace) and after_trial is not None:
            after_trial(trial.number)


def begin(study: Study, keeper: liveness.Keeper = liveness.ALONE) -> optuna.Trial:
    """The next trial, with the name of its worker. Under the lock: what is running and has no name was killed here."""
    trial = study.ask()
    trial.set_user_attr(liveness.WORKER, liveness.worker_name(keeper))
    return trial


def _run(study: Study, trial: optuna.Trial, run_trial: RunTrial, lock: StudyLock, grace: float) -> bool:
    """Run a trial to its end; False if another worker has it now."""
    try:
        with liveness.pulse(
            lambda number: trial.set_user_attr(liveness.PULSE, number), grace / liveness.PULSES_PER_GRACE
        ):
            state, values, error = _outcome(run_trial, trial)
        with lock():
            liveness.require_hold(trial)
            if error:
                trial.set_user_attr(liveness.ERROR, error)
            study.tell(trial, values, state)
    except (liveness.TakenOver, optuna.exceptions.UpdateFinishedTrialError):
        return False
    except BaseException:  # stopped from outside, or the storage is gone: no fault of the trial
        with contextlib.suppress(Exception), lock():
            liveness.require_hold(trial)
            liveness.requeue(study, liveness.stored(study, trial.number))
        raise
    return True


def _outcome(run_trial: RunTrial, trial: optuna.Trial) -> tuple[TrialState, list[float] | None, str]:
    """How a trial ended, its values, and why it failed."""
    try:
        found = run_trial(trial)
    except optuna.TrialPruned:
        return TrialState.PRUNED, None, ""
    except (liveness.TakenOver, optuna.exceptions.UpdateFinishedTrialError):
        raise
    except (Exception, SystemExit) as error:  # a plug-in may call sys.exit
        stop_if_asked()
        if is_of_storage(error):
            raise
        text = " ".join(str(error).split())
        return TrialState.FAIL, None, text if isinstance(error, ItmError) else f"{type(error).__name__}: {text}"
    values = list(found) if isinstance(found, tuple) else [found]
    if not all(map(math.isfinite, values)):
        shown = ", ".join(f"{value:g}" for value in values)
        return TrialState.FAIL, None, f"the trial's value is not finite: {shown}"
    return TrialState.COMPLETE, values, ""
