"""The mirror of a study: a parent run per study, a run nested in it for each trial.

Only the process that runs the study writes it, never the workers, and the parent is found by its tag: parallel workers
cannot mix parents, and a trial that is reported twice is stored once.
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


def start(tracker: Tracker, plan: StudyPlan) -> None:
    """Open the parent run of a study."""
    tags = {
        "itm.study": plan.name,
        "itm.experiment": plan.experiment,
        "itm.storage": shown_storage(plan.storage),
        "itm.experiment_hash": sha256_json([plan.name, plan.storage, plan.fingerprint]),
        "scorer": plan.base.label,
        "objectives": ", ".join(plan.settings.objectives),
    }
    tracker.start_experiment(f"sweep {plan.name}", tags)


def tell(tracker: Tracker, plan: StudyPlan, trial: TrialSummary) -> None:
    """Add a trial that has ended."""
    figures = {"cost": trial.cost.figures, "objective": trial.values, "validation": {"rsum": trial.rsum}}
    figures["training"] = {"steps": trial.steps, "seconds": trial.seconds}
    metrics: dict[int, dict[str, Any]] = {0: figures}
    for seed, curve in zip(plan.seeds, trial.curves, strict=False):  # a pruned trial has fewer
        for epoch, value in enumerate(curve):
            metrics.setdefault(epoch + 1, {})[f"epoch/seed{seed}/validation/rsum"] = value
    tags = {
        "itm.study": plan.name,
        "trial": str(trial.number),
        "state": trial.state,
        "source": trial.source,
        "reason": trial.reason,
        "feasible": str(trial.violation <= 0).lower(),
    }
    tracker.tell(
        TrackedRun(
            f"trial {trial.number}",
            sha256_json([plan.name, plan.storage, trial.number])[:16],
            params={"sampled": trial.params, "scorer": plan.entry.name, "seeds": list(plan.seeds)},
            tags=tags,
            metrics=metrics,
            status=STATUS[trial.state],
        )
    )
