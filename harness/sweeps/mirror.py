"""The mirror of a study in MLflow: a parent run a study, a run nested in it for each trial.

Only the process that runs the study writes it, never the workers, and the parent is found by its tag: parallel workers
cannot mix parents, and a trial that is told twice is there once.
"""

from __future__ import annotations

from typing import Any

from harness.records.study import TrialSummary
from harness.spec import sha256_json
from harness.sweeps.plan import StudyPlan
from harness.sweeps.storage import shown_storage
from harness.tracking.base import Status, TrackedRun, Tracker

#: A pruned trial was ended on purpose, which MLflow calls killed.
STATUS: dict[str, Status] = {"complete": "finished", "pruned": "killed", "failed": "failed"}


class StudyMirror:
    """Tells a tracker of a study's trials.

    Args:
        tracker: any, the one that listens to nothing included.
        plan: of the study.
    """

    def __init__(self, tracker: Tracker, plan: StudyPlan):
        self._tracker, self._plan = tracker, plan
        self._told: set[int] = set()
        tags = {
            "itm.study": plan.name,
            "itm.experiment": plan.experiment,
            "itm.storage": shown_storage(plan.storage),
            "scorer": plan.base.label,
            "objectives": ", ".join(plan.settings.objectives),
        }
        tags["itm.experiment_hash"] = sha256_json([plan.name, plan.storage, plan.fingerprint])
        tracker.start_experiment(f"sweep {plan.name}", tags)

    def tell(self, trial: TrialSummary) -> None:
        """One trial that has ended."""
        if trial.number in self._told:
            return
        self._told.add(trial.number)
        figures = {"cost": trial.cost.figures, "objective": trial.values, "validation": {"rsum": trial.rsum}}
        figures["training"] = {"steps": trial.steps, "seconds": trial.seconds}
        metrics: dict[int, dict[str, Any]] = {0: figures}
        for seed, curve in zip(self._plan.seeds, trial.curves, strict=False):  # a pruned trial has fewer
            for epoch, value in enumerate(curve):
                metrics.setdefault(epoch + 1, {})[f"epoch/seed{seed}/validation/rsum"] = value
        self._tracker.tell(
            TrackedRun(
                f"trial {trial.number}",
                sha256_json([self._plan.name, self._plan.storage, trial.number])[:16],
                params={"sampled": trial.params, "scorer": self._plan.entry.name, "seeds": list(self._plan.seeds)},
                tags=self._tags(trial),
                metrics=metrics,
                status=STATUS[trial.state],
            )
        )

    def close(self) -> None:
        """Nothing more will be told."""
        self._tracker.close()

    def _tags(self, trial: TrialSummary) -> dict[str, str]:
        return {
            "itm.study": self._plan.name,
            "trial": str(trial.number),
            "state": trial.state,
            "source": trial.source,
            "reason": trial.reason,
            "feasible": str(trial.violation <= 0).lower(),
        }
