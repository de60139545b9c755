"""The numbers of a sweep: one flat row per trial, setting and budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.records import noise
from harness.records.study import StudySummary, TrialSummary
from harness.reports.document.text import significant
from harness.reports.sweep.expected_performance import ExpectedPerformance, expected_performance

Row = dict[str, Any]
_BUDGETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


def best_trial(summary: StudySummary) -> TrialSummary | None:
    """The trial that is recommended, if any."""
    return None if summary.best_trial is None else summary.trial(summary.best_trial)


def trial_rows(summary: StudySummary) -> list[Row]:
    """Every trial: how it ended, what it reached and cost, and its settings."""
    return [
        {
            "trial": trial.number,
            "state": trial.state,
            "source": trial.source,
            "rsum": trial.rsum,
            **trial.cost.figures,
            **{f"{name}_noisy": noise.is_noisy([trial.cost], name) for name in noise.TIMES},
            "violation": trial.violation,
            "pareto": trial.number in summary.pareto,
            "steps": trial.steps,
            "seconds": trial.seconds,
            "reason": trial.reason,
            **{path: trial.params.get(path) for path in summary.space},
        }
        for trial in summary.trials
    ]


def setting_rows(summary: StudySummary, trial: TrialSummary) -> list[dict[str, str]]:
    """The settings of a trial, and where each was searched."""
    return [
        {"setting": path, "best": shown(trial.params.get(path)), "searched": searched(entry)}
        for path, entry in summary.space.items()
        if path in trial.params
    ]


def importance_rows(summary: StudySummary) -> list[Row]:
    """The share of each setting by method, the most important setting first."""
    methods = summary.importance
    paths = sorted({path for shares in methods.values() for path in shares})
    paths.sort(key=lambda path: -max(shares.get(path, 0.0) for shares in methods.values()))
    return [{"setting": path, **{name: shares.get(path) for name, shares in methods.items()}} for path in paths]


def curves(studies: Sequence[StudySummary]) -> dict[str, ExpectedPerformance]:
    """The expected-performance curve of each study that has trials with a value, by its entry's key.

    A trial with the experiment's own settings is no draw of the search and is left out. A pruned trial counts with what
    it had reached; one that failed before its first epoch counts as 0, since a search can come upon it.
    """
    found = {}
    for study in studies:
        drawn = [trial.rsum or 0.0 for trial in study.trials if trial.source == "sampled" and trial.violation <= 0]
        if drawn:
            name = study.key if sum(other.key == study.key for other in studies) == 1 else study.study
            found[name] = expected_performance(drawn)
    return found


def budget_rows(found: Mapping[str, ExpectedPerformance]) -> list[Row]:
    """The expected best of n trials of each study, for a few n."""
    longest = max(len(curve.budgets) for curve in found.values())
    rows: list[Row] = [{"budget": budget} for budget in _BUDGETS if budget <= longest]
    for row in rows:
        for name, curve in found.items():
            within, at = row["budget"] <= len(curve.budgets), row["budget"] - 1
            row[name] = curve.expected[at] if within else None
            row |= {f"{name}_low": curve.low[at], f"{name}_high": curve.high[at]} if within else {}
    return rows


def searched(entry: Mapping[str, Any]) -> str:
    """An entry of a search space in words.

    >>> searched({"low": 0.1, "high": 1.0, "log": True})
    '0.100 to 1.00 (log)'
    """
    if "choices" in entry:
        text = ", ".join(map(shown, entry["choices"]))
    elif "tied" in entry:
        text = f"as {entry['tied']}"
    else:
        text = f"{shown(entry['low'])} to {shown(entry['high'])}{' (log)' if entry.get('log') else ''}"
    conditions = [f"{path} is {' or '.join(map(shown, values))}" for path, values in entry.get("when", {}).items()]
    return f"{text} where {' and '.join(conditions)}" if conditions else text


def shown(value: Any) -> str:
    """A setting's value."""
    if isinstance(value, float):
        return significant(value, 3) if abs(value) >= 1e-3 or not value else f"{value:.3g}"
    return "none" if value is None else str(value)
