"""What a sweep says in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.errors import counted
from harness.files import strict_yaml
from harness.records.study import StudySummary, TrialSummary
from harness.reports.document.text import fixed
from harness.reports.sweep.expected_performance import ExpectedPerformance, leaders
from harness.reports.sweep.rows import best_trial

BEST_FILE = "best.yaml"
NO_BEST = "No trial can be recommended."
READING = (
    "All figures are of the validation split: they chose these settings, so they flatter them. itm leaderboard EXP "
    "--tuned measures the choice on the test split.",
)
LATENCY = "Latency was measured on the machine and at the load of the trial: with several workers it is higher."


def opening(summary: StudySummary) -> list[str]:
    """The best trial, and what the search cost."""
    budget = summary.budget
    spent = (
        f"On {summary.dataset}, experiment {summary.experiment}: {counted(budget.trials, 'trial')} "
        f"({summary.count('complete')} complete, {summary.count('pruned')} pruned, {summary.count('failed')} failed), "
        f"{budget.steps:,} training steps, {fixed(budget.seconds, 0)} s of work; "
        f"{counted(len(summary.seeds), 'training run')} per trial; {summary.sampler['name']} with seed "
        f"{summary.sampler_seed}, {summary.pruner['name']}."
    )
    best = best_trial(summary)
    if best is None:
        return [spent, NO_BEST]
    own = next((trial for trial in summary.trials if trial.source == "default" and trial.rsum is not None), None)
    against = f"; the experiment's own settings (trial {own.number}) reached {_rsum(own)}" if own else ""
    if own is not None and own.number == best.number:
        against = ": the experiment's own settings, which no other trial surpassed"
    said = f"The best is trial {best.number} with a validation rSum of {_rsum(best)}{against}."
    return [f"{said} Its settings are in {BEST_FILE}.", spent]


def best_of(summary: StudySummary, best: TrialSummary) -> str:
    """The best trial in a phrase."""
    trials = f"{summary.budget.trials} trials of study {summary.study}"
    return f"Best of {trials}: trial {best.number}, validation rSum {_rsum(best)}"


def best_yaml(summary: StudySummary, best: TrialSummary) -> str:
    """The best settings as the `scorers` of an experiment file."""
    return f"# {best_of(summary, best)}.\n{strict_yaml.dump({'scorers': [summary.best_entry]})}"


def importance_reading(summary: StudySummary) -> str:
    """How to read the importance of settings."""
    return (
        "PED-ANOVA weighs what separates the best trials from the rest, fANOVA what explains the variance of all. Both rest "
        f"on {summary.count('complete')} complete trials and on where the sampler looked."
    )


def front_sentences(summary: StudySummary, front: int) -> list[str]:
    """How many trials are on the front, and how many were left off for noise."""
    noisy = sum(trial.counts and trial.noisy(summary.directions) for trial in summary.trials)
    left_off = (
        f"{counted(noisy, 'trial')} timed on a busy machine {'is' if noisy == 1 else 'are'} left off the front: tune for speed "
        "on a quiet one."
    )
    said = f"{front} of {summary.count('complete')} complete trials are on the Pareto front."
    return [said, left_off] if noisy else [said]


def who_leads(found: Mapping[str, ExpectedPerformance]) -> list[str]:
    """Which study is ahead at which budget; nothing of one study."""
    if len(found) < 2:
        return []
    parts = [
        f"{name} at {counted(first, 'trial')}" if first == last else f"{name} from {first} to {last} trials"
        for first, last, name in leaders(found)
    ]
    return [f"Ahead in expectation: {'; '.join(parts)}. Where the intervals overlap, the order is open."]


def budget_reading(studies: Sequence[StudySummary]) -> list[str]:
    """How to read the curves of expected performance."""
    said = [
        "Unbiased estimate of the expected maximum (Dodge et al. 2019, 2021), over all subsets of the trials; intervals by "
        "the jackknife, up to half of the trials."
    ]
    if any(study.sampler["name"] != "RandomSampler" for study in studies):
        said.append(
            "The trials count as independent draws. Samplers that learn draw better ones later, so for them the curve "
            "describes these trials in random order."
        )
    if any(study.count("pruned") for study in studies):
        said.append("Pruned trials count with what they had reached, which is a lower bound.")
    return said


def _rsum(trial: TrialSummary) -> str:
    return f"{trial.rsum or 0.0:.1f}"
