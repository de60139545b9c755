"""What is told of a study while it runs: to the observer and to the mirror, each trial once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from harness.executors.base import Seat
from harness.records.study import TrialSummary, best_of
from harness.sweeps import mirror
from harness.sweeps.liveness import WORKER
from harness.sweeps.plan import StudyPlan
from harness.sweeps.storage import shown_storage
from harness.sweeps.summary import trial_summary
from harness.sweeps.worker import has_ended
from harness.tracking.base import Tracker
from harness.tracking.observer import Observer, Step


class Teller:
    """Tells of the trials of a study, whoever runs them.

    Args:
        study: it.
        plan: of it.
        tracker: mirror of the trials.
        observer: progress callbacks.
        command: our name in the trials of our workers.
    """

    def __init__(self, study: Study, plan: StudyPlan, tracker: Tracker, observer: Observer, command: str):
        self._study, self._plan, self._tracker, self._observer = study, plan, tracker, observer
        self._command = command
        self._told: dict[int, TrialSummary] = {}
        self._open: dict[int, _Open] = {}

    def begin(self, trials: int) -> None:
        """A job of so many trials begins, earlier calls included."""
        mirror.start(self._tracker, self._plan)
        for _ in self._ended(self._trials()):
            pass  # told to the mirror again: an earlier call may not have come to it
        job = f"study {self._plan.name} in {shown_storage(self._plan.storage)}"
        self._observer.began(job, "trial", trials, len(self._told))

    def tell(self) -> None:
        """Tell what happened since the last call."""
        trials = self._trials()
        for trial in trials:
            if trial.state == TrialState.RUNNING and trial.user_attrs.get(WORKER):
                self._tell_running(trial)
            elif trial.number in self._open and not has_ended(trial):
                del self._open[trial.number]
                self._observer.stopped(_name(trial))
        for summary in self._ended(trials):
            self._open.pop(summary.number, None)
            news = _news(summary, best_of(list(self._told.values())))
            self._observer.ended(f"trial {summary.number}", news)

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _tell_running(self, trial: FrozenTrial) -> None:
        worker, epochs = trial.user_attrs[WORKER], self._epochs(trial)
        known = self._open.get(trial.number)
        if known is None or known.token != worker.get("token"):
            known = self._open[trial.number] = _Open(worker.get("token"), len(trial.intermediate_values))
            self._observer.started(_name(trial), epochs, self._who(worker))
        reached = len(trial.intermediate_values)
        if reached > known.told:
            known.told = reached
            value = trial.intermediate_values[max(trial.intermediate_values)]
            left = known.left(epochs)
            # No text: a log has a line per trial.
            self._observer.stepped(_name(trial), Step(reached, epochs, "", f"rSum {value:.1f}", 0.0, left))

    def _epochs(self, trial: FrozenTrial) -> int:
        """Epochs of all trainings of a trial; 0 where Optuna is not told of them, since there are several objectives."""
        if len(self._plan.settings.objectives) > 1:
            return 0
        epochs = trial.params.get("training.epochs", self._plan.base.training.epochs)
        return int(epochs) * len(self._plan.seeds)

    def _who(self, worker: dict[str, Any]) -> str:
        if worker.get("command") != self._command:
            return "another command"
        return Seat(worker["seat"]).name if worker.get("seat") else ""

    def _ended(self, trials: list[FrozenTrial]) -> Iterator[TrialSummary]:
        for trial in trials:
            if has_ended(trial) and trial.number not in self._told:
                summary = self._told[trial.number] = trial_summary(trial, self._plan)
                mirror.tell(self._tracker, self._plan, summary)
                yield summary


class _Open:
    """A trial in progress: who has it, how many of its epochs were told, and how long they took."""

    def __init__(self, token: str | None, before: int):
        self.token, self.told = token, before
        self._before, self._since = before, time.monotonic()

    def left(self, epochs: int) -> float | None:
        """Seconds that the other epochs take at the pace of those that were seen."""
        return (time.monotonic() - self._since) / (self.told - self._before) * max(0, epochs - self.told)


def _name(trial: FrozenTrial) -> str:
    return f"trial {trial.number}"


def _news(trial: TrialSummary, best: TrialSummary | None) -> str:
    reached = "no epoch" if trial.rsum is None else f"validation rSum {trial.rsum:.1f}"
    others = "".join(f", {key} {value:.4g}" for key, value in trial.values.items() if key != "rsum")
    state = "" if trial.state == "complete" else f" {trial.state.upper()} ({trial.reason})"
    leader = f"; best {best.rsum:.1f} (trial {best.number})" if best is not None else ""
    return f"trial {trial.number}: {reached}{others}{state}, {trial.seconds:.0f} s{leader}"
