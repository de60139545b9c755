"""A worker: runs trials of a study until it has the number asked for, beside any number of other workers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import optuna
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from harness.sweeps.liveness import (
    ATTEMPT,
    ERROR,
    GRACE_SECONDS,
    LOST,
    PULSE,
    PULSES_A_GRACE,
    WORKER,
    Pulse,
    Watcher,
    queue_again,
    this_machine,
)
from harness.sweeps.objective import failure

SURPLUS = "surplus"
POLL_SECONDS = 0.5


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
    """Count the trials of a study; those that were lost and queued again do not count twice."""
    trials = study.get_trials(deepcopy=False)
    return Census(
        sum(has_ended(trial) for trial in trials),
        sum(trial.state == TrialState.RUNNING for trial in trials),
        sum(trial.state == TrialState.WAITING for trial in trials),
    )


def has_ended(trial: FrozenTrial) -> bool:
    """Whether a trial came to an end of its own: not lost, not surplus."""
    return trial.state.is_finished() and not (trial.state == TrialState.FAIL and ERROR not in trial.user_attrs)


def work(
    study: Study,
    objective: Callable[[optuna.Trial], float | tuple[float, ...]],
    trials: int,
    *,
    grace: float = GRACE_SECONDS,
    after_trial: Callable[[FrozenTrial], None] | None = None,
) -> None:
    """Run trials until `trials` of them have ended, whoever ran them.

    Args:
        study: shared with the other workers.
        objective: what a trial is.
        trials: the total, earlier calls included.
        grace: seconds without a sign of life until another worker's trial is taken over.
        after_trial: hears of every trial of this worker that has ended.
    """
    watcher = Watcher(grace)
    while True:
        watcher.redo_lost(study)
        count = census(study)
        if count.ended >= trials:
            return
        if not count.waiting and count.ended + count.running >= trials:
            time.sleep(POLL_SECONDS)  # the others hold the last trials; one of them may yet be lost
            continue
        _run_one(study, objective, trials, grace)
        if after_trial is not None:
            _tell_of_latest(study, after_trial)


class _Surplus(Exception):
    """Two workers began the last trial at the same moment."""


def _run_one(
    study: Study, objective: Callable[[optuna.Trial], float | tuple[float, ...]], trials: int, grace: float
) -> None:
    begun: list[int] = []

    def guarded(trial: optuna.Trial) -> float | tuple[float, ...]:
        begun.append(trial.number)
        trial.set_user_attr(WORKER, {"machine": this_machine(), "pid": os.getpid()})
        if _is_surplus(study, trial, trials):
            trial.set_user_attr(SURPLUS, True)
            raise _Surplus
        with Pulse(lambda number: trial.set_user_attr(PULSE, number), grace / PULSES_A_GRACE):
            try:
                return objective(trial)
            except optuna.TrialPruned:
                raise
            except Exception as error:
                trial.set_user_attr(ERROR, failure(error))
                raise
            except KeyboardInterrupt:
                trial.set_user_attr(LOST, True)
                raise

    try:
        # One at a time, since Optuna would count this worker's trials only; a failed one is kept and the study goes on.
        study.optimize(guarded, n_trials=1, catch=(Exception,))
    except KeyboardInterrupt:
        for number in begun:
            trial = _frozen(study, number)
            if LOST in trial.user_attrs:
                queue_again(study, trial, int(trial.user_attrs.get(ATTEMPT, 1)))
        raise
    except Exception:
        # This worker was asleep for so long that another one took its trial over, which Optuna meets in several ways.
        if not any(_frozen(study, number).state.is_finished() for number in begun):
            raise


def _is_surplus(study: Study, trial: optuna.Trial, trials: int) -> bool:
    """Whether enough trials came before this one: numbers are given one at a time, so all workers agree on it."""
    earlier = [t for t in study.get_trials(deepcopy=False) if t.number < trial.number]
    return sum(has_ended(t) or t.state in (TrialState.RUNNING, TrialState.WAITING) for t in earlier) >= trials


def _frozen(study: Study, number: int) -> FrozenTrial:
    return next(trial for trial in study.get_trials(deepcopy=False) if trial.number == number)


def _tell_of_latest(study: Study, after_trial: Callable[[FrozenTrial], None]) -> None:
    mine = {"machine": this_machine(), "pid": os.getpid()}
    own = [t for t in study.get_trials(deepcopy=False) if t.user_attrs.get(WORKER) == mine]
    if own and has_ended(own[-1]):
        after_trial(own[-1])
