"""Signs of life: a worker that dies is noticed, and its trial is redone.

A worker counts up a number in its trial's attributes while it runs. Another worker takes a trial for lost when the
process is gone (same machine) or the number has not changed for the grace period on the watcher's own clock, so the
clocks of machines need not agree. It works on every storage of Optuna's, whose own heartbeat knows databases only.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

logger = logging.getLogger(__name__)

PULSE, WORKER, LOST, ERROR, ATTEMPT = "pulse", "worker", "lost", "error", "attempt"
#: Seconds without a sign of life until a trial counts as lost, and signs in that time.
GRACE_SECONDS, PULSES_A_GRACE = 60.0, 4
#: A setting that ends its process every time (out of memory, say) is given up.
MOST_ATTEMPTS = 3


def this_machine() -> str:
    """Names what process ids refer to: the host, its boot, and the container's process namespace."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()[:8])
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


class Pulse:
    """Counts up in a trial's attributes from a thread of its own, as a context around the trial.

    Args:
        beat: writes a number.
        seconds: between two signs.
    """

    def __init__(self, beat: Callable[[int], None], seconds: float):
        self._beat, self._seconds = beat, seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="itm-sweep-pulse", daemon=True)

    def __enter__(self) -> Pulse:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        number = 0
        while not self._stop.wait(self._seconds if number else 0):
            number += 1
            try:
                self._beat(number)
            except Exception as error:  # a storage that is busy for a moment; the next sign may come through
                logger.debug("no sign of life this time: %s", error)


class Watcher:
    """Finds the running trials of a study whose workers are gone, and queues them again.

    Args:
        grace: seconds.
        clock: monotonic seconds.
    """

    def __init__(self, grace: float = GRACE_SECONDS, clock: Callable[[], float] = time.monotonic):
        self._grace, self._clock = grace, clock
        self._seen: dict[int, tuple[Any, float]] = {}
        self._machine = this_machine()

    def redo_lost(self, study: Study) -> list[int]:
        """End lost trials and queue their settings again; returns their numbers."""
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        lost = [trial for trial in running if self._is_lost(trial) and _end(study, trial)]
        for trial in lost:
            attempt = int(trial.user_attrs.get(ATTEMPT, 1))
            if attempt < MOST_ATTEMPTS:
                queue_again(study, trial, attempt + 1)
                logger.info("the worker of trial %d is gone; the trial is done again", trial.number)
        return [trial.number for trial in lost]

    def _is_lost(self, trial: FrozenTrial) -> bool:
        worker = trial.user_attrs.get(WORKER) or {}
        if worker.get("machine") == self._machine and not _alive(int(worker["pid"])):
            return True
        pulse, now = trial.user_attrs.get(PULSE), self._clock()
        before = self._seen.get(trial.number)
        if before is None or before[0] != pulse:
            self._seen[trial.number] = (pulse, now)
            return False
        return now - before[1] > self._grace


def queue_again(study: Study, trial: FrozenTrial, attempt: int) -> None:
    """A trial with the settings of one that did not come to its end."""
    source = {"source": trial.user_attrs["source"]} if "source" in trial.user_attrs else {}
    study.enqueue_trial(dict(trial.params), user_attrs={**source, ATTEMPT: attempt, "redo_of": trial.number})


def _end(study: Study, trial: FrozenTrial) -> bool:
    """End a lost trial; False if another worker was faster. After `MOST_ATTEMPTS` it counts as failed."""
    attempt = int(trial.user_attrs.get(ATTEMPT, 1))
    storage, trial_id = study._storage, trial._trial_id
    try:
        if attempt >= MOST_ATTEMPTS:
            message = f"the worker died {attempt} times on these settings; was there enough memory?"
            storage.set_trial_user_attr(trial_id, ERROR, message)
        else:
            storage.set_trial_user_attr(trial_id, LOST, True)
        # Not `study.tell`, which has the sampler look at the trial first: this is one step, which one worker wins.
        return storage.set_trial_state_values(trial_id, state=TrialState.FAIL)
    except RuntimeError:
        return False


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:  # a zombie has ended, its parent has not looked yet
        return (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0] != "Z"
        )
    except (OSError, IndexError):
        return True
