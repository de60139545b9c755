"""The report of a sweep: the best settings, what mattered, how the search went, and what its budget bought."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from harness.files import strict_yaml
from harness.records import noise
from harness.records.study import StudySummary, TrialSummary
from harness.reports.document.model import Column, Figure, Report, Section, Table
from harness.reports.document.text import fixed, significant
from harness.reports.sweep import figures as _sweep_figures
from harness.reports.sweep.expected_performance import ExpectedPerformance, expected_performance, leaders
from harness.settings.sweep import OBJECTIVES

BEST = "best.yaml"
_READING = (
    "All figures are of the validation split: they chose these settings, so they flatter them. itm leaderboard EXP "
    "--tuned measures the choice on the test split.",
)


def build(summary: StudySummary, others: Sequence[StudySummary] = ()) -> Report:
    """The report of a study.

    Args:
        summary: of the study.
        others: further studies of the same experiment, whose curves are drawn beside it.

    Returns:
        The report; `main` holds one flat row a trial.
    """
    rows = [_row(summary, trial) for trial in summary.trials]
    comparable = [o for o in others if o.entry.get("data_sha256") == summary.entry.get("data_sha256") and o.trials]
    best = _best(summary)
    sections = [best, _importance(summary), _course(summary, rows)]
    if len(summary.directions) > 1:
        sections.append(_pareto(summary, rows))
    sections.append(_expected([summary, *comparable]))
    return Report(
        title=f"Sweep of {summary.scorer}: {summary.study}",
        stem="sweep",
        sentences=_opening(summary),
        sections=[section for section in sections if section is not None],
        brief=_brief(summary, best),
        main=pd.DataFrame(rows),
        data={"tuning": summary.tuning, "best_entry": summary.best_entry, "study": summary.model_dump(mode="json")},
        attachments={BEST: best_yaml(summary)} if summary.best_entry else {},
    )


def best_yaml(summary: StudySummary) -> str:
    """The best settings as the `scorers` of an experiment file."""
    best = summary.trial(_known(summary.best_trial))
    head = (
        f"# Best of {summary.budget.trials} trials of study {summary.study}: trial {best.number}, "
        f"validation rSum {_rsum(best):.1f}.\n"
    )
    return head + strict_yaml.dump({"scorers": [summary.best_entry]})


def _brief(summary: StudySummary, best: Section | None) -> list[Table | str]:
    if best is None:
        return ["No trial can be recommended."]
    trial = summary.trial(_known(summary.best_trial))
    caption = f"best of {summary.budget.trials} trials: trial {trial.number}, validation rSum {_rsum(trial):.1f}"
    return [replace(best.tables[0], caption=caption)]


def curves(studies: Sequence[StudySummary]) -> dict[str, ExpectedPerformance]:
    """The expected-performance curve of each study that has trials with a value, by its entry's key.

    A trial with the experiment's own settings is no draw of the search and is left out; a pruned trial counts with what
    it had reached; one that failed before its first epoch counts as 0, since a search can come upon it.
    """
    found = {}
    for study in studies:
        drawn = [trial.rsum or 0.0 for trial in study.trials if trial.source == "sampled" and trial.violation <= 0]
        if drawn:
            name = study.key if sum(other.key == study.key for other in studies) == 1 else study.study
            found[name] = expected_performance(drawn)
    return found


def _opening(summary: StudySummary) -> list[str]:
    budget = summary.budget
    spent = (
        f"{budget.trials} trials ({summary.count('complete')} complete, {summary.count('pruned')} pruned, "
        f"{summary.count('failed')} failed), {budget.steps:,} training steps, {fixed(budget.seconds, 0)} s of work; "
        f"{len(summary.seeds)} training run{'s' if len(summary.seeds) > 1 else ''} a trial; {summary.sampler['name']} "
        f"with seed {summary.sampler_seed}, {summary.pruner['name']}."
    )
    sentences = [f"On {summary.dataset}, experiment {summary.experiment}: {spent}"]
    if summary.best_trial is None:
        return [*sentences, "No trial can be recommended."]
    best = summary.trial(summary.best_trial)
    own = next((trial for trial in summary.trials if trial.source == "default" and trial.rsum is not None), None)
    against = f"; the experiment's own settings (trial {own.number}) reached {_rsum(own):.1f}" if own else ""
    if own is not None and own.number == best.number:
        against = ": the experiment's own settings, which no other trial surpassed"
    return [
        f"The best is trial {best.number} with a validation rSum of {_rsum(best):.1f}{against}. Its settings are in {BEST}.",
        *sentences,
    ]


def _best(summary: StudySummary) -> Section | None:
    if summary.best_trial is None:
        return None
    best = summary.trial(summary.best_trial)
    columns = [
        Column(key="setting", title="Setting"),
        Column(key="best", title="Best"),
        Column(key="searched", title="Searched"),
    ]
    caption = f"Settings of trial {best.number}"
    table = Table(frame=pd.DataFrame(_settings(summary, best)), columns=columns, caption=caption, key="best")
    return Section(title="Best settings", tables=[table], reading=_READING)


def _settings(summary: StudySummary, best: TrialSummary) -> list[dict[str, str]]:
    return [
        {"setting": path, "best": _shown(best.params.get(path)), "searched": searched(entry)}
        for path, entry in summary.space.items()
        if path in best.params
    ]


def searched(entry: Mapping[str, Any]) -> str:
    """An entry of a space in words."""
    if "choices" in entry:
        text = ", ".join(_shown(choice) for choice in entry["choices"])
    elif "tied" in entry:
        text = f"as {entry['tied']}"
    else:
        text = f"{_shown(entry['low'])} to {_shown(entry['high'])}{' (log)' if entry.get('log') else ''}"
    conditions = [f"{path} is {' or '.join(map(_shown, values))}" for path, values in entry.get("when", {}).items()]
    return f"{text} where {' and '.join(conditions)}" if conditions else text


def _importance(summary: StudySummary) -> Section:
    title = "Which settings mattered"
    if not summary.importance:
        return Section(title=title, sentences=[f"Not known: {summary.importance_note}."])
    methods = list(summary.importance)
    paths = sorted({path for shares in summary.importance.values() for path in shares})
    rows = [{"setting": path, **{m: summary.importance[m].get(path) for m in methods}} for path in paths]
    rows.sort(key=lambda row: max(summary.importance[m].get(str(row["setting"]), 0.0) for m in methods), reverse=True)
    columns = [Column(key="setting", title="Setting")]
    columns += [Column(key=m, title=m, kind="number", digits=2) for m in methods]
    return Section(
        title=title,
        tables=[
            Table(
                frame=pd.DataFrame(rows),
                columns=columns,
                caption="Share of each setting in the variation of validation rSum",
                key="importance",
            )
        ],
        figures=[_sweep_figures.importance(rows, methods)],
        reading=[
            "PED-ANOVA weighs what separates the best trials from the rest, fANOVA what explains the variance of all. "
            f"Both rest on {summary.count('complete')} complete trials and on where the sampler looked."
        ],
        footnotes=[summary.importance_note] if summary.importance_note else [],
    )


def _course(summary: StudySummary, rows: Sequence[dict[str, Any]]) -> Section:
    figures: list[Figure] = []
    if any(trial.rsum is not None for trial in summary.trials):
        figures.append(_sweep_figures.history(summary))
        varied = [path for path in summary.space if any(path in trial.params for trial in summary.trials)]
        if varied:
            figures.append(_sweep_figures.slices(summary, varied))
    reasons = sorted({f"Trial {t.number} {t.state}: {t.reason}" for t in summary.trials if t.state == "failed"})
    columns = [
        Column(key="trial", title="Trial", kind="number", digits=0),
        Column(key="state", title="State"),
        Column(key="rsum", title="Val. rSum", kind="number"),
        *(
            Column(key=name, title=OBJECTIVES[name].title, kind="significant", digits=3, noise=f"{name}_noisy")
            for name in ("query_ms_p50", "peak_memory_mib", "params_millions")
        ),
        Column(key="steps", title="Steps", kind="number", digits=0),
        Column(key="seconds", title="Seconds", kind="number", digits=0),
        *(_setting_column(rows, path) for path in summary.space),
        Column(key="reason", title="Reason", prose=True),
    ]
    table = Table(
        frame=pd.DataFrame(rows, columns=[*dict.fromkeys([*(rows[0] if rows else {}), *(c.key for c in columns)])]),
        columns=columns,
        caption="All trials",
        key="trials",
        collapsed=True,
        for_paper=False,
    )
    legend = [noise.LEGEND] if any(row["query_ms_p50_noisy"] for row in rows) else []
    return Section(
        title="The search", tables=[table] if rows else [], figures=figures, reading=legend, footnotes=reasons
    )


def _setting_column(rows: Sequence[dict[str, Any]], path: str) -> Column:
    """A setting's column: whole numbers as they are, other numbers to three digits, choices as texts."""
    kinds = {type(row[path]) for row in rows if row.get(path) is not None}
    if kinds and kinds <= {int}:
        return Column(key=path, title=path, kind="number", digits=0)
    return Column(key=path, title=path, kind="significant" if kinds and kinds <= {int, float} else "text", digits=3)


def _pareto(summary: StudySummary, rows: Sequence[dict[str, Any]]) -> Section:
    front = [row for row in rows if row["trial"] in summary.pareto]
    front.sort(key=lambda row: -row["rsum"])
    names = list(summary.directions)
    columns = [Column(key="trial", title="Trial", kind="number", digits=0)]
    columns += [Column(key=name, title=OBJECTIVES[name].title, kind="significant", digits=4) for name in names]
    columns += [_setting_column(front, path) for path in summary.space]
    table = Table(
        frame=pd.DataFrame(front, columns=[*dict.fromkeys([*(front[0] if front else {}), *(c.key for c in columns)])]),
        columns=columns,
        caption="The Pareto set: no trial is better in one objective without being worse in another",
        key="pareto",
    )
    costs = [name for name in names if name != "rsum"]
    return Section(
        title="Accuracy against cost",
        sentences=[
            f"{len(front)} of {summary.count('complete')} complete trials are on the Pareto front.",
            *_left_out(summary),
        ],
        tables=[table] if front else [],
        figures=[_sweep_figures.pareto(summary, cost) for cost in costs] if front else [],
        reading=[
            "Latency was measured on the machine and at the load of the trial: with several workers it is higher."
        ],
    )


def _left_out(summary: StudySummary) -> list[str]:
    noisy = sum(trial.counts and trial.noisy(summary.directions) for trial in summary.trials)
    if not noisy:
        return []
    return [
        f"{noisy} trials were timed on a busy machine, so they are left off the front: tune for speed on a quiet one."
    ]


def _expected(studies: Sequence[StudySummary]) -> Section | None:
    found = curves(studies)
    if not found:
        return None
    budgets = [n for n in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512) if n <= max(len(c.budgets) for c in found.values())]
    rows = [{"budget": n, **{k: v for name, c in found.items() for k, v in _at(name, c, n).items()}} for n in budgets]
    columns = [Column(key="budget", title="Trials", kind="number", digits=0)]
    columns += [Column(key=name, title=name, kind="estimate") for name in found]
    table = Table(
        frame=pd.DataFrame(rows),
        columns=columns,
        caption="Expected validation rSum of the best of n trials, 95 % interval where the trials allow one",
        key="expected",
    )
    pruned = any(study.count("pruned") for study in studies)
    sampled = any(study.sampler["name"] != "RandomSampler" for study in studies)
    return Section(
        title="What a budget buys",
        sentences=_who_wins(found),
        tables=[table],
        figures=[_sweep_figures.expected(found)],
        reading=[
            "Unbiased estimate of the expected maximum (Dodge et al. 2019, 2021), over all subsets of the trials; intervals "
            "by the jackknife, up to half of the trials.",
            *(
                ["It takes trials for independent draws. Samplers that learn draw better ones later, so for them it "
                 "describes these trials in random order."]
                if sampled
                else []
            ),
            *(["Pruned trials count with what they had reached, which is a lower bound."] if pruned else []),
        ],
    )  # fmt: skip


def _at(name: str, curve: ExpectedPerformance, budget: int) -> dict[str, float | None]:
    if budget > len(curve.budgets):
        return {name: None}
    index = budget - 1
    return {name: curve.expected[index], f"{name}_low": curve.low[index], f"{name}_high": curve.high[index]}


def _who_wins(found: Mapping[str, ExpectedPerformance]) -> list[str]:
    if len(found) < 2:
        return []
    parts = [
        f"{name} at {first} trial{'s' if first > 1 else ''}"
        if first == last
        else f"{name} from {first} to {last} trials"
        for first, last, name in leaders(found)
    ]
    return [f"Ahead in expectation: {'; '.join(parts)}. Where the intervals overlap, the order is open."]


def _row(summary: StudySummary, trial: TrialSummary) -> dict[str, Any]:
    return {
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


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return significant(value, 3) if abs(value) >= 1e-3 or not value else f"{value:.3g}"
    return "none" if value is None else str(value)


def _rsum(trial: TrialSummary) -> float:
    return float(trial.rsum or 0.0)


def _known(number: int | None) -> int:
    if number is None:
        raise ValueError("the study has no best trial")
    return number
