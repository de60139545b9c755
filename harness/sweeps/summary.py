"""From Optuna's trials to a `StudySummary`: what happened, what is best, and which settings mattered."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from datetime import UTC, datetime

import optuna
from optuna.importance import FanovaImportanceEvaluator, PedAnovaImportanceEvaluator
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from harness.errors import one_line
from harness.records.study import State, StudySummary, TrialSummary, best_of, pareto_front
from harness.runs.building import open_dataset
from harness.settings.sweep import RSUM
from harness.sweeps.liveness import ERROR
from harness.sweeps.plan import StudyPlan
from harness.sweeps.search import COSTS, violations
from harness.sweeps.storage import shown_storage
from harness.sweeps.worker import has_ended

STATES: dict[TrialState, State] = {
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}
#: Complete trials that are needed to say which settings matter.
FEWEST_FOR_IMPORTANCE = 5


def summarise(study: Study, plan: StudyPlan) -> StudySummary:
    """The study as it stands."""
    settings = plan.settings
    trials = [trial_summary(trial, plan) for trial in study.get_trials(deepcopy=False) if has_ended(trial)]
    best = best_of(trials)
    importance, note = importances(study, plan)
    summary = StudySummary(
        study=plan.name,
        experiment=plan.experiment,
        key=plan.entry.key,
        scorer=plan.base.label,
        dataset=open_dataset(plan.base.dataset).title,
        storage=shown_storage(plan.storage),
        directions=settings.directions,
        at_most=settings.at_most,
        sampler=settings.sampler.model_dump(),
        pruner=settings.effective_pruner.model_dump(),
        sampler_seed=settings.sampler_seed,
        seeds=plan.seeds,
        space=plan.space.dump(),
        entry=plan.identity,
        trials=trials,
        best_trial=best.number if best else None,
        pareto=pareto_front(trials, settings.directions),
        importance=importance,
        importance_note=note,
    )
    if best is None:
        return summary
    entry = plan.tuned_entry(plan.space.with_ties(best.params), summary.tuning)
    return summary.model_copy(update={"best_entry": entry.model_dump(mode="json", exclude_defaults=True)})


def trial_summary(trial: FrozenTrial, plan: StudyPlan) -> TrialSummary:
    """One trial that has ended."""
    attributes = trial.user_attrs
    curves = [curve for curve in attributes.get("curves", []) if curve]
    complete = trial.state == TrialState.COMPLETE
    cost = attributes.get(COSTS, {})
    return TrialSummary(
        number=trial.number,
        state=STATES[trial.state],
        source=attributes.get("source", "sampled"),
        params=trial.params,
        values=dict(zip(plan.settings.objectives, trial.values, strict=True)) if complete else {},
        rsum=sum(max(curve) for curve in curves) / len(curves) if curves else None,
        curves=curves,
        cost=cost,
        violation=max([0.0, *violations(cost, plan.settings.at_most)]),
        steps=attributes.get("steps", 0),
        seconds=round(attributes.get("seconds", 0.0), 3),
        reason=attributes.get(ERROR) or attributes.get("reason", ""),
        started=_utc(trial.datetime_start),
        finished=_utc(trial.datetime_complete),
    )


def importances(study: Study, plan: StudyPlan) -> tuple[dict[str, dict[str, float]], str]:
    """Share of each setting in the variation of validation rSum, by method; and why there is none."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < FEWEST_FOR_IMPORTANCE:
        return {}, f"{len(complete)} trials are complete; {FEWEST_FOR_IMPORTANCE} are needed to weigh the settings"
    position = plan.settings.objectives.index(RSUM)

    def weigh(evaluator: optuna.importance.BaseImportanceEvaluator, sign: float) -> dict[str, float]:
        target: Callable[[FrozenTrial], float] | None = None
        if len(plan.settings.objectives) > 1:  # with one objective Optuna knows the study's direction
            target = lambda trial: sign * trial.values[position]  # noqa: E731
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return optuna.importance.get_param_importances(study, evaluator=evaluator, target=target)

    # PED-ANOVA takes lower for better whenever it is given a target.
    methods = [
        ("PED-ANOVA", PedAnovaImportanceEvaluator(), -1.0),
        ("fANOVA", FanovaImportanceEvaluator(seed=plan.settings.sampler_seed), 1.0),
    ]
    found, problems = {}, []
    for name, evaluator, sign in methods:
        try:
            weights = weigh(evaluator, sign)
        except Exception as error:  # too few trials with a conditional setting, all values equal, ...
            problems.append(f"{name}: {one_line(error)}")
            continue
        if weights and all(math.isfinite(weight) for weight in weights.values()):
            found[name] = {path: float(weight) for path, weight in weights.items()}
        else:
            problems.append(f"{name}: no setting is in force in every trial")
    return found, "; ".join(problems)


def _utc(moment: datetime | None) -> str:
    """Optuna's times are local and say no zone."""
    return moment.astimezone(UTC).isoformat(timespec="seconds") if moment else ""
