"""The report of a sweep: the best settings, what mattered, how the search went, and what its budget bought."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from harness.records import noise
from harness.records.study import StudySummary
from harness.reports.document.model import Report, Section
from harness.reports.sweep import figures, tables, text
from harness.reports.sweep.rows import Row, best_trial, budget_rows, curves, importance_rows, trial_rows


def build(summary: StudySummary, others: Sequence[StudySummary] = ()) -> Report:
    """The report of a study.

    Args:
        summary: of the study.
        others: further studies of the same experiment, whose curves are drawn beside it.

    Returns:
        The report; `main` holds one flat row per trial, and `best.yaml` is attached if there is a best trial.
    """
    rows = trial_rows(summary)
    best = best_trial(summary)
    comparable = [o for o in others if o.entry.get("data_sha256") == summary.entry.get("data_sha256") and o.trials]
    settings = [tables.best(summary, best)] if best else []
    return Report(
        title=f"Sweep of {summary.scorer}: {summary.study}",
        stem="sweep",
        sentences=text.opening(summary),
        sections=[
            *(Section(title="Best settings", tables=[table], reading=text.READING) for table in settings),
            _importance(summary),
            _course(summary, rows),
            *([_pareto(summary, rows)] if len(summary.directions) > 1 else []),
            *_expected([summary, *comparable]),
        ],
        brief=[replace(settings[0], caption=text.best_of(summary, best))] if best else [text.NO_BEST],
        main=pd.DataFrame(rows),
        data={"tuning": summary.tuning, "best_entry": summary.best_entry, "study": summary.model_dump(mode="json")},
        attachments={text.BEST_FILE: text.best_yaml(summary, best)} if best and summary.best_entry else {},
    )


def _importance(summary: StudySummary) -> Section:
    title = "Which settings mattered"
    if not summary.importance:
        return Section(title=title, sentences=[f"Not known: {summary.importance_note}."])
    rows, methods = importance_rows(summary), list(summary.importance)
    return Section(
        title=title,
        tables=[tables.importance(rows, methods)],
        figures=[figures.importance(rows, methods)],
        reading=[text.importance_reading(summary)],
        footnotes=[summary.importance_note] if summary.importance_note else [],
    )


def _course(summary: StudySummary, rows: Sequence[Row]) -> Section:
    drawn = []
    if any(trial.rsum is not None for trial in summary.trials):
        drawn.append(figures.history(summary))
        varied = [path for path in summary.space if any(path in trial.params for trial in summary.trials)]
        drawn += [figures.slices(summary, varied)] if varied else []
    return Section(
        title="The search",
        tables=[tables.trials(summary, rows)] if rows else [],
        figures=drawn,
        reading=[noise.LEGEND] if any(row["query_ms_p50_noisy"] for row in rows) else [],
        footnotes=sorted({f"Trial {t.number} failed: {t.reason}" for t in summary.trials if t.state == "failed"}),
    )


def _pareto(summary: StudySummary, rows: Sequence[Row]) -> Section:
    front = sorted((row for row in rows if row["pareto"]), key=lambda row: -row["rsum"])
    costs = [name for name in summary.directions if name != "rsum"]
    return Section(
        title="Accuracy against cost",
        sentences=text.front_sentences(summary, len(front)),
        tables=[tables.pareto(summary, front)] if front else [],
        figures=[figures.pareto(summary, cost) for cost in costs] if front else [],
        reading=[text.LATENCY],
    )


def _expected(studies: Sequence[StudySummary]) -> list[Section]:
    found = curves(studies)
    if not found:
        return []
    return [
        Section(
            title="What a budget buys",
            sentences=text.who_leads(found),
            tables=[tables.expected(budget_rows(found), found)],
            figures=[figures.expected(found)],
            reading=text.budget_reading(studies),
        )
    ]
