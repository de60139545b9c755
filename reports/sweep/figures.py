"""The drawings of a sweep's report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator, NullFormatter

from harness.records.study import StudySummary, TrialSummary
from harness.reports.document import figures
from harness.reports.document.model import Figure
from harness.reports.sweep.expected_performance import ExpectedPerformance
from harness.settings.sweep import OBJECTIVES

#: Marker and colour of a trial's state.
_STATES = {
    "complete": ("o", figures.COLOURS[0]),
    "pruned": ("v", figures.COLOURS[1]),
    "failed": ("X", figures.COLOURS[5]),
}
_SLICES_A_ROW = 3


def history(summary: StudySummary) -> Figure:
    """Validation rSum by trial, with the best so far."""
    with figures.canvas(7.0, 3.2) as drawing:
        axes = drawing.subplots()
        _by_state(axes, summary.trials, lambda trial: trial.number)
        able = [trial for trial in summary.trials if trial.counts]
        if able:
            best = np.maximum.accumulate([trial.rsum or 0.0 for trial in able]).tolist()
            ends = [*(trial.number for trial in able), summary.trials[-1].number]
            axes.step(ends, [*best, best[-1]], where="post", color="black", linewidth=1.2, label="best so far")
        axes.set_xlabel("trial")
        axes.set_ylabel("validation rSum")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(fontsize=8)
    return Figure(
        drawing=drawing,
        key="history",
        caption="Validation rSum of each trial; pruned ones as far as they came.",
        alt=f"Scatter of {len(summary.trials)} trials with the running maximum.",
    )


def slices(summary: StudySummary, paths: Sequence[str]) -> Figure:
    """Validation rSum against each setting."""
    height = math.ceil(len(paths) / _SLICES_A_ROW)
    with figures.canvas(8.0, 2.5 * height + 0.4) as drawing:
        grid = drawing.subplots(height, min(_SLICES_A_ROW, len(paths)), squeeze=False, sharey=True)
        for axes, path in zip(grid.flat, paths, strict=False):
            entry = summary.space[path]
            trials = [trial for trial in summary.trials if path in trial.params]
            if "choices" in entry:
                names = [figures.label(str(choice), 14) for choice in entry["choices"]]
                place = {str(choice): index for index, choice in enumerate(entry["choices"])}
                _by_state(axes, trials, lambda trial, p=path, at=place: at[str(trial.params[p])])
                axes.set_xticks(range(len(names)), names)
                axes.set_xlim(-0.5, len(names) - 0.5)
            else:
                _by_state(axes, trials, lambda trial, p=path: trial.params[p])
                axes.set_xlim(entry["low"], entry["high"])
                if entry.get("log"):
                    axes.set_xscale("log")
                    ends = [entry["low"], (entry["low"] * entry["high"]) ** 0.5, entry["high"]]
                    axes.set_xticks(ends, [f"{end:.2g}" for end in ends])
                    axes.xaxis.set_minor_formatter(NullFormatter())  # its labels would overlap
            axes.set_title(figures.label(path, 40), fontsize=9)
        for axes in list(grid.flat)[len(paths) :]:
            axes.set_visible(False)
        for row in grid:
            row[0].set_ylabel("validation rSum")
        handles, labels = grid.flat[0].get_legend_handles_labels()
        drawing.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8)
    return Figure(
        drawing=drawing,
        key="slices",
        caption="Validation rSum against each setting, over the range that was searched.",
        alt=f"Scatter plots of rSum against {', '.join(paths)}.",
    )


def importance(rows: Sequence[Mapping[str, Any]], methods: Sequence[str]) -> Figure:
    """Bars of each setting's share, a colour a method."""
    with figures.canvas(6.5, 0.9 + 0.45 * len(rows)) as drawing:
        axes = drawing.subplots()
        width = 0.8 / len(methods)
        for position, method in enumerate(methods):
            where = [index + (position - (len(methods) - 1) / 2) * width for index in range(len(rows))]
            shares = [row[method] or 0.0 for row in rows]
            hatch = ("", "///")[position % 2]
            axes.barh(
                where, shares, width, label=method, color=figures.COLOURS[position], hatch=hatch, edgecolor="white"
            )
        axes.set_yticks(range(len(rows)), [figures.label(row["setting"], 40) for row in rows])
        axes.tick_params(axis="y", length=0, labelcolor="black")
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("share in the variation of validation rSum")
        axes.legend(fontsize=8, loc="lower right")
    return Figure(
        drawing=drawing,
        key="importance",
        caption="Importance of each setting.",
        alt=f"Bars; the most important setting is {rows[0]['setting']}.",
    )


def pareto(summary: StudySummary, cost: str) -> Figure:
    """rSum against one cost, with the front in these two."""
    done = [trial for trial in summary.trials if trial.state == "complete"]
    front = sorted((summary.trial(n) for n in summary.pareto), key=lambda trial: trial.values[cost])
    with figures.canvas(6.0, 3.6) as drawing:
        axes = drawing.subplots()
        for inside, marker, label in ((True, "o", "trial"), (False, "x", "breaks a constraint")):
            some = [trial for trial in done if (trial.violation <= 0) is inside]
            if some:
                axes.scatter(
                    [trial.values[cost] for trial in some],
                    [trial.values["rsum"] for trial in some],
                    marker=marker,
                    color=figures.GREY,
                    s=26,
                    label=label,
                )
        xs, ys = [t.values[cost] for t in front], [t.values["rsum"] for t in front]
        # Only with two objectives is the set a line in this plane.
        line = "-" if len(summary.directions) == 2 else "none"
        steps = "steps-post" if OBJECTIVES[cost].direction == "minimize" else "steps-pre"
        axes.plot(xs, ys, linestyle=line, marker="D", color=figures.COLOURS[0], label="Pareto set", drawstyle=steps)
        for trial in front:
            axes.annotate(
                str(trial.number), (trial.values[cost], trial.values["rsum"]), textcoords="offset points",
                xytext=(5, 5), fontsize=8,
            )  # fmt: skip
        if cost in summary.at_most and summary.at_most[cost] <= 2 * max(trial.values[cost] for trial in done):
            axes.axvline(summary.at_most[cost], color=figures.COLOURS[5], linestyle="--", linewidth=1, label="at most")
        axes.set_xlabel(OBJECTIVES[cost].title)
        axes.set_ylabel("validation rSum")
        axes.legend(fontsize=8)
    return Figure(
        drawing=drawing,
        key=f"pareto-{cost}",
        caption=f"Validation rSum against {OBJECTIVES[cost].title}; the numbers are trials.",
        alt=f"{len(front)} of {len(done)} trials form the Pareto set.",
    )


def expected(curves: Mapping[str, ExpectedPerformance]) -> Figure:
    """Expected best validation rSum against the number of trials, one curve a study."""
    with figures.canvas(7.0, 3.6) as drawing:
        axes = drawing.subplots()
        for index, (name, curve) in enumerate(curves.items()):
            colour = figures.COLOURS[index % len(figures.COLOURS)]
            marker = figures.MARKERS[index % len(figures.MARKERS)]
            sure = np.isfinite(curve.low)
            axes.fill_between(
                curve.budgets[sure], curve.low[sure], curve.high[sure], color=colour, alpha=0.18, linewidth=0
            )
            step = max(1, len(curve.budgets) // 12)
            axes.plot(
                curve.budgets, curve.expected, color=colour, marker=marker, markevery=step, markersize=5,
                label=figures.label(name),
            )  # fmt: skip
        axes.set_xlabel("budget (trials)")
        axes.set_ylabel("expected best validation rSum")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(fontsize=8, loc="lower right")
    return Figure(
        drawing=drawing,
        key="expected",
        caption="Expected validation rSum of the best of n trials; bands are 95 % intervals.",
        alt=f"One rising curve for each of {', '.join(curves)}.",
    )


def _by_state(axes: Any, trials: Sequence[TrialSummary], place: Any) -> None:
    for state, (marker, colour) in _STATES.items():
        some = [trial for trial in trials if trial.state == state and trial.rsum is not None]
        if some:
            axes.scatter(
                [place(t) for t in some], [t.rsum for t in some], marker=marker, color=colour, s=26, label=state
            )
