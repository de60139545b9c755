"""Who holds a trial, and what becomes of it when its holder is gone: the same trial waits for the next worker.

A worker writes its name into its trial and increments a number there while it runs. A trial is lost when the process is
gone (same machine) or the number has not changed for the grace period by the watcher's own clock, so the clocks of
machines need not agree. A lost trial returns to the queue under its own number, with what was drawn and reported.

Optuna's heartbeat and `RetryHeartbeatStaleTrialCallback` do not serve: they support databases but not journals; they fail
the trial and queue a copy under another number, for which samplers draw other values; every kill counts as a retry.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from harness.files.owners import is_alive, this_machine

logger = logging.getLogger(__name__)

#: User attributes of a trial: its sign of life, its holder, how its workers died of it, and why it failed.
PULSE, WORKER, DEATHS, ERROR = "pulse", "worker", "deaths", "error"
#: Seconds without a sign of life until a trial counts as lost, and signs in that time.
GRACE_SECONDS, PULSES_PER_GRACE = 60.0, 4
#: Settings that end their process this many times (out of memory, say) are given up.
MOST_DEATHS = 3


class Keeper(NamedTuple):
    """Who started a worker and sees how it dies.

    Args:
        command: name of the command; "" = nobody watches the worker.
        seat: the worker's place among those of the command; 0 = the command's own process.
        process: the command's, see `this_process`.
    """

    command: str = ""
    seat: int = 0
    process: dict[str, Any] | None = None


#: Nobody sees how the worker dies.
ALONE = Keeper()


class TakenOver(Exception):
    """This worker was asleep for so long that another one has its trial now."""


def this_process() -> dict[str, Any]:
    """This process, for whoever wants to know whether it lives."""
    return {"machine": this_machine(), "pid": os.getpid(), "born": _born(os.getpid())}


def worker_name(keeper: Keeper = ALONE) -> dict[str, Any]:
    """What a worker writes into a trial that it begins."""
    name = {**this_process(), "token": uuid.uuid4().hex[:12], "command": keeper.command, "seat": keeper.seat}
    return name if keeper.process is None else {**name, "parent": keeper.process}


def stored(study: Study, number: int) -> FrozenTrial:
    """A trial as the storage has it now."""
    return next(trial for trial in study.get_trials(deepcopy=False) if trial.number == number)


def require_hold(trial: optuna.Trial) -> None:
    """Raise `TakenOver` in a worker that has lost its trial."""
    if stored(trial.study, trial.number).user_attrs.get(WORKER) != trial.user_attrs.get(WORKER):
        raise TakenOver


@contextmanager
def pulse(beat: Callable[[int], None], seconds: float) -> Iterator[None]:
    """Call `beat` with 1, 2, 3, ... from a thread of its own for the time of the block."""
    stop = threading.Event()

    def run() -> None:
        for number in itertools.count(1):
            try:
                beat(number)
            except Exception as error:  # a storage that is busy for a moment; the next sign may come through
                logger.debug("no sign of life this time: %s", error)
            if stop.wait(seconds):
                return

    thread = threading.Thread(target=run, name="itm-sweep-pulse", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


class Watcher:
    """Finds the running trials of a study whose workers are gone. To be used under the study's lock."""

    def __init__(self, grace: float = GRACE_SECONDS, clock: Callable[[], float] = time.monotonic):
        self._grace, self._clock = grace, clock
        self._seen: dict[int, tuple[Any, float]] = {}

    def requeue_lost(self, study: Study) -> list[int]:
        """Queue lost trials again; returns their numbers."""
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        lost = [trial for trial in running if self._is_lost(trial)]
        for trial in lost:
            requeue(study, trial)
            logger.info("the worker of trial %d is gone; the trial resumes", trial.number)
        return [trial.number for trial in lost]

    def _is_lost(self, trial: FrozenTrial) -> bool:
        worker = trial.user_attrs.get(WORKER)
        if not worker:
            return True  # its worker was killed while it began the trial: it would hold the lock otherwise
        # A parent that lives sees how its worker died, and decides what becomes of the trial.
        parent = worker.get("parent") or {}
        seen = {worker.get("machine"), parent.get("machine", worker.get("machine"))} == {this_machine()}
        if seen and not _runs(worker) and not _runs(parent):
            return True
        sign, now = (trial.user_attrs.get(PULSE), worker), self._clock()
        before = self._seen.get(trial.number)
        if before is None or before[0] != sign:
            self._seen[trial.number] = (sign, now)
            return False
        return now - before[1] > self._grace


def requeue(study: Study, trial: FrozenTrial) -> None:
    """Give a running trial back to the queue. To be used under the study's lock.

    Optuna has no public call for it; its storages allow the step, and `Study.ask` takes waiting trials first.
    """
    with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
        _set(study, trial, {WORKER: None}, TrialState.WAITING)


def held_by(study: Study, command: str, seat: int) -> FrozenTrial | None:
    """The running trial of a worker of a command; None if it holds none."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        worker = trial.user_attrs.get(WORKER) or {}
        if (worker.get("command"), worker.get("seat")) == (command, seat):
            return trial
    return None


def bury(study: Study, command: str, seat: int, cause: str) -> bool:
    """Requeue or give up the trial of a dead worker; False if it held none. To be used under the study's lock.

    `cause` says how the worker died, if the trial caused it; it is empty if the worker was stopped from outside.
    """
    trial = held_by(study, command, seat)
    if trial is None:
        return False
    deaths = [*trial.user_attrs.get(DEATHS, []), *([cause] if cause else [])]
    if len(deaths) < MOST_DEATHS:
        _set(study, trial, {DEATHS: deaths, WORKER: None}, TrialState.WAITING)
    else:
        how = deaths[0] if len(set(deaths)) == 1 else "; ".join(deaths)
        error = f"these settings ended their worker {len(deaths)} times: {how}"
        # Not `study.tell`, which has the sampler of this process look at a trial that another one drew.
        _set(study, trial, {DEATHS: deaths, ERROR: error}, TrialState.FAIL)
    return True


def _set(study: Study, trial: FrozenTrial, attributes: dict[str, Any], state: TrialState) -> None:
    for key, value in attributes.items():
        study._storage.set_trial_user_attr(trial._trial_id, key, value)
    study._storage.set_trial_state_values(trial._trial_id, state=state)


def _runs(process: dict[str, Any]) -> bool:
    """Whether a process of this machine runs that has the same beginning: ids are used again."""
    return "pid" in process and is_alive(int(process["pid"])) and process.get("born") in (None, _born(process["pid"]))


def _born(pid: int) -> str | None:
    """When a process began, in the kernel's ticks; None where the system does not say."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None
