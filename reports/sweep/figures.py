"""The drawings of a sweep's report."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullFormatter

from harness.records.study import StudySummary, TrialSummary
from harness.reports.document import figures
from harness.reports.document.model import Figure
from harness.reports.document.placement import name_points
from harness.reports.document.text import significant
from harness.reports.sweep.expected_performance import ExpectedPerformance
from harness.reports.sweep.rows import Row
from harness.settings.sweep import OBJECTIVES

#: Marker and colour of a trial's state.
_STATES = {
    "complete": ("o", figures.COLOURS[0]),
    "pruned": ("v", figures.COLOURS[1]),
    "failed": ("X", figures.COLOURS[5]),
}
_SLICES_PER_ROW = 3
_SLICE_POINTS = 165  # width of one of them, roughly
_RSUM = "validation rSum"


def history(summary: StudySummary) -> Figure:
    """Validation rSum by trial, with the best so far."""
    with figures.canvas(7.0, 3.2) as drawing:
        axes = drawing.subplots()
        _by_state(axes, summary.trials, lambda trial: trial.number)
        if able := [trial for trial in summary.trials if trial.counts]:
            best = np.maximum.accumulate([trial.rsum or 0.0 for trial in able]).tolist()
            ends = [*(trial.number for trial in able), summary.trials[-1].number]
            axes.step(ends, [*best, best[-1]], where="post", color="black", linewidth=1.2, label="best so far")
        axes.set(xlabel="trial", ylabel=_RSUM)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        figures.legend_below(drawing, axes.get_legend_handles_labels()[0])
    caption = "Validation rSum of each trial; pruned ones as far as they came."
    alt = f"Scatter of {len(summary.trials)} trials with the running maximum."
    return Figure(drawing, "history", caption, alt)


def slices(summary: StudySummary, paths: Sequence[str]) -> Figure:
    """Validation rSum against each setting."""
    height = math.ceil(len(paths) / _SLICES_PER_ROW)
    with figures.canvas(8.0, 2.5 * height + 0.4) as drawing:
        grid = drawing.subplots(height, min(_SLICES_PER_ROW, len(paths)), squeeze=False, sharey=True)
        for axes, path in zip(grid.flat, paths, strict=False):
            _slice(axes, summary, path)
        for axes in list(grid.flat)[len(paths) :]:
            axes.set_visible(False)
        for row in grid:
            row[0].set_ylabel(_RSUM)
        handles = {handle.get_label(): handle for axes in grid.flat for handle in axes.get_legend_handles_labels()[0]}
        figures.legend_below(drawing, list(handles.values()))
    caption = "Validation rSum against each setting, over the range that was searched."
    alt = f"Scatter plots of rSum against {', '.join(paths)}."
    return Figure(drawing, "slices", caption, alt)


def importance(rows: Sequence[Row], methods: Sequence[str]) -> Figure:
    """Bars of each setting's share, a colour per method."""
    with figures.canvas(6.5, 0.9 + 0.45 * len(rows)) as drawing:
        axes = drawing.subplots()
        width = 0.8 / len(methods)
        for position, method in enumerate(methods):
            where = np.arange(len(rows)) + (position - (len(methods) - 1) / 2) * width
            shares = [row[method] or 0.0 for row in rows]
            style: dict[str, Any] = {
                "color": figures.COLOURS[position],
                "hatch": ("", "///")[position % 2],
                "edgecolor": "white",
            }
            bars = axes.barh(where, shares, width, label=figures.label(method), **style)
            for bar, row in zip(bars, rows, strict=True):
                share = "not known" if row[method] is None else f"{row[method]:.2f}"
                figures.describe(bar, f"{row['setting']}, {method}: {share}")
        figures.rows_down(axes, [figures.label(row["setting"], 40) for row in rows])
        axes.set_xlabel("share in the variation of validation rSum")
        figures.legend_below(drawing, axes.get_legend_handles_labels()[0])
    caption = "Importance of each setting."
    alt = f"Bars; the most important setting is {rows[0]['setting']}."
    return Figure(drawing, "importance", caption, alt)


def pareto(summary: StudySummary, cost: str) -> Figure:
    """rSum against one cost, with the front in these two."""
    done = [trial for trial in summary.trials if trial.state == "complete"]
    front = sorted((summary.trial(number) for number in summary.pareto), key=lambda trial: trial.values[cost])
    objective, most = OBJECTIVES[cost], summary.at_most.get(cost)
    with figures.canvas(6.0, 3.6) as drawing:
        axes = drawing.subplots()
        for inside, marker, label in ((True, "o", "trial"), (False, "x", "breaks a constraint")):
            if some := [trial for trial in done if (trial.violation <= 0) is inside]:
                dots = axes.scatter(*_places(some, cost), marker=marker, color=figures.GREY, s=26, label=label)
                figures.describe_each(dots, [_said(trial, cost) for trial in some])
        # Only with two objectives is the set a line in this plane.
        line = "-" if len(summary.directions) == 2 else "none"
        steps = "steps-post" if objective.direction == "minimize" else "steps-pre"
        style: dict[str, Any] = {"linestyle": line, "marker": "D", "color": figures.COLOURS[0], "drawstyle": steps}
        (stairs,) = axes.plot(*_places(front, cost), label="Pareto set", **style)
        figures.describe_each(stairs, [_said(trial, cost) for trial in front])
        if most is not None and most <= 2 * max(trial.values[cost] for trial in done):
            axes.axvline(most, color=figures.COLOURS[5], linestyle="--", linewidth=1, label="at most")
        axes.set(xlabel=objective.title, ylabel=_RSUM)
        axes.margins(0.08)
        figures.legend_below(drawing, axes.get_legend_handles_labels()[0])
        others = [trial for trial in done if trial not in front]
        obstacles = list(zip(*_places(others, cost), strict=True))
        names = [(x, y, str(trial.number), True) for trial, x, y in zip(front, *_places(front, cost), strict=True)]
        name_points(axes, names, obstacles=obstacles)
    caption = f"Validation rSum against {objective.title}; the numbers are trials."
    alt = f"{len(front)} of {len(done)} trials form the Pareto set."
    return Figure(drawing, f"pareto-{cost}", caption, alt)


def expected(curves: Mapping[str, ExpectedPerformance]) -> Figure:
    """Expected best validation rSum against the number of trials, one curve per study."""
    with figures.canvas(7.0, 3.6) as drawing:
        axes = drawing.subplots()
        for number, (name, curve) in enumerate(curves.items()):
            mark, sure = figures.mark(number), np.isfinite(curve.low)
            band = (curve.budgets[sure], curve.low[sure], curve.high[sure])
            figures.describe(axes.fill_between(*band, color=mark["color"], alpha=0.18, linewidth=0), name)
            step = max(1, len(curve.budgets) // 12)
            line = {"markevery": step, "markersize": 5, "label": figures.label(name), **mark}
            (drawn,) = axes.plot(curve.budgets, curve.expected, **line)
            figures.describe(drawn, f"{name}: {curve.expected[-1]:.1f} after {len(curve.budgets)} trials")
        axes.set(xlabel="budget (trials)", ylabel="expected best validation rSum")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        figures.legend_below(drawing, axes.get_legend_handles_labels()[0])
    caption = "Expected validation rSum of the best of n trials; bands are 95 % intervals."
    alt = f"One rising curve for each of {', '.join(curves)}."
    return Figure(drawing, "expected", caption, alt)


def _slice(axes: Axes, summary: StudySummary, path: str) -> None:
    entry = summary.space[path]
    trials = [trial for trial in summary.trials if path in trial.params]
    if "choices" in entry:
        choices = [str(choice) for choice in entry["choices"]]
        _by_state(axes, trials, lambda trial: choices.index(str(trial.params[path])))
        names = [figures.label(choice, 14) for choice in choices]
        axes.set_xticks(range(len(choices)), names)
        if max(figures.text_size(name, 9)[0] for name in names) > _SLICE_POINTS / len(names) - 4:
            axes.tick_params(axis="x", rotation=40)
            for text in axes.get_xticklabels():
                text.set(horizontalalignment="right", rotation_mode="anchor")
        axes.set_xlim(-0.5, len(choices) - 0.5)
    else:
        _by_state(axes, trials, lambda trial: trial.params[path])
        axes.set_xlim(entry["low"], entry["high"])
        if entry.get("log"):
            axes.set_xscale("log")
            ends = [entry["low"], (entry["low"] * entry["high"]) ** 0.5, entry["high"]]
            axes.set_xticks(ends, [f"{end:.2g}" for end in ends])
            axes.xaxis.set_minor_formatter(NullFormatter())  # its labels would overlap
    axes.set_title(figures.label(path, 32), fontsize=8.5)


def _by_state(axes: Axes, trials: Sequence[TrialSummary], place: Callable[[TrialSummary], float]) -> None:
    for state, (marker, colour) in _STATES.items():
        some = [trial for trial in trials if trial.state == state and trial.rsum is not None]
        if some:
            x, y = [place(trial) for trial in some], [trial.rsum or 0.0 for trial in some]
            dots = axes.scatter(x, y, marker=marker, color=colour, s=26, label=state)
            figures.describe_each(dots, [_said(trial) for trial in some])


def _said(trial: TrialSummary, cost: str = "") -> tuple[str, dict[str, Any]]:
    """Hover text and values of a trial's mark."""
    price = f", {OBJECTIVES[cost].title} {significant(trial.values[cost], 3)}" if cost else ""
    return f"trial {trial.number} ({trial.state}): rSum {trial.rsum or 0.0:.1f}{price}", {"trial": trial.number}


def _places(trials: Sequence[TrialSummary], cost: str) -> tuple[list[float], list[float]]:
    return [trial.values[cost] for trial in trials], [trial.values["rsum"] for trial in trials]
