"""Progress of a sweep: one line a trial on stderr, on a terminal and in a log alike."""

from __future__ import annotations

from collections.abc import Sequence

from harness.cli.terminal import say
from harness.records.study import TrialSummary, best_of
from harness.sweeps.plan import StudyPlan
from harness.sweeps.run import Listener
from harness.sweeps.storage import shown_storage


class ConsoleListener(Listener):
    """Shows what a study begins with and how each trial ended."""

    def __init__(self) -> None:
        self.trials: list[TrialSummary] = []
        self.total = 0

    def began(self, plan: StudyPlan, ended: Sequence[TrialSummary], trials: int) -> None:
        self.trials, self.total = list(ended), trials
        to_run = max(0, trials - len(ended))
        say(
            f"study {plan.name} in {shown_storage(plan.storage)}: {len(ended)} trials already ended, {to_run} to run",
            err=True,
        )

    def trial(self, trial: TrialSummary, ended: int) -> None:
        self.trials.append(trial)
        best = best_of(self.trials)
        reached = "no epoch" if trial.rsum is None else f"validation rSum {trial.rsum:.1f}"
        others = "".join(f", {key} {value:.4g}" for key, value in trial.values.items() if key != "rsum")
        state = "" if trial.state == "complete" else f" {trial.state.upper()} ({trial.reason})"
        leader = f"; best {best.rsum:.1f} (trial {best.number})" if best is not None else ""
        say(
            f"[{ended}/{self.total}] trial {trial.number}: {reached}{others}{state}, {trial.seconds:.0f} s{leader}",
            err=True,
        )
