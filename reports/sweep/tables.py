"""The tables of a sweep: the best settings, their importance, all trials, the Pareto set, and what a budget buys."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from harness.records.study import StudySummary, TrialSummary
from harness.reports.document.model import Column, Table
from harness.reports.sweep.rows import Row, setting_rows
from harness.settings.sweep import OBJECTIVES

_TRIAL = Column("trial", "Trial", "count")
_SETTING = Column("setting", "Setting")


def best(summary: StudySummary, trial: TrialSummary) -> Table:
    """The settings of the best trial."""
    columns = [_SETTING, Column("best", "Best"), Column("searched", "Searched")]
    frame = pd.DataFrame(setting_rows(summary, trial))
    return Table(frame, columns, f"Settings of trial {trial.number}", "best")


def importance(rows: Sequence[Row], methods: Iterable[str]) -> Table:
    """The share of each setting by method."""
    columns = [_SETTING, *(Column(method, method, "number", 2) for method in methods)]
    caption = "Share of each setting in the variation of validation rSum"
    return Table(pd.DataFrame(rows), columns, caption, "importance")


def trials(summary: StudySummary, rows: Sequence[Row]) -> Table:
    """All trials."""
    costs = ("query_ms_p50", "peak_memory_mib", "params_millions")
    columns = [
        _TRIAL,
        Column("state", "State"),
        Column("rsum", "Val. rSum", "number"),
        *(Column(name, OBJECTIVES[name].title, "significant", noise=f"{name}_noisy") for name in costs),
        Column("steps", "Steps", "count"),
        Column("seconds", "Seconds", "count"),
        *(_of_setting(rows, path) for path in summary.space),
        Column("reason", "Reason", prose=True),
    ]
    frame = _frame(rows, columns)
    return Table(frame, columns, "All trials", "trials", collapsed=True, for_paper=False)


def pareto(summary: StudySummary, front: Sequence[Row]) -> Table:
    """The trials of the Pareto set."""
    columns = [
        _TRIAL,
        *(Column(name, OBJECTIVES[name].title, "significant", 4) for name in summary.directions),
        *(_of_setting(front, path) for path in summary.space),
    ]
    caption = "The Pareto set: no trial is better in one objective without being worse in another"
    return Table(_frame(front, columns), columns, caption, "pareto")


def expected(rows: Sequence[Row], names: Iterable[str]) -> Table:
    """The expected best of n trials of each study."""
    columns = [Column("budget", "Trials", "count"), *(Column(name, name, "estimate") for name in names)]
    caption = "Expected validation rSum of the best of n trials, 95 % interval where the trials allow one"
    return Table(pd.DataFrame(rows), columns, caption, "expected")


def _frame(rows: Sequence[Row], columns: Sequence[Column]) -> pd.DataFrame:
    """Rows with every column that is shown, also where no row has it."""
    return pd.DataFrame(rows, columns=list(dict.fromkeys([*rows[0], *(column.key for column in columns)])))


def _of_setting(rows: Sequence[Row], path: str) -> Column:
    """A setting's column: whole numbers as they are, other numbers to three digits, choices as texts."""
    kinds = {type(row[path]) for row in rows if row.get(path) is not None}
    if not kinds or not kinds <= {int, float}:
        return Column(path, path)
    return Column(path, path, "count" if kinds == {int} else "significant")
