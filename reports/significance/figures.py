"""The figures of a significance report: differences with intervals, the matrix of all pairs, the diagram of groups."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray

from harness.reports.document import figures
from harness.reports.document.model import Figure
from harness.reports.document.palette import SHADES
from harness.reports.document.text import fixed, interval, p_value, signed
from harness.reports.significance.text import level
from harness.reports.statistics.hits import decimals, metric_name
from harness.reports.statistics.ranking import RankedMethod
from harness.reports.statistics.results import Comparison, PairRow

MOST_PAIRS = 30
MOST_METHODS = 30
# Above this many methods the cells are too small for numbers.
_MOST_WRITTEN = 10
_SLOPE = 35  # of the names above columns, degrees


def forest(comparison: Comparison) -> Figure | None:
    """Every pair's difference with its interval; None where they are too many to be read."""
    metric = comparison.primary
    rows, digits = comparison.of_metric(metric), decimals(metric)
    if len(rows) > MOST_PAIRS:
        return None
    with figures.canvas(7.8, 1.25 + 0.34 * len(rows)) as drawing:
        axes = drawing.subplots()
        axes.axvline(0, color=figures.GREY, linewidth=1)
        for number, row in enumerate(rows):
            _interval(axes, row, number, digits)
            face = figures.COLOURS[0] if row.significant else "white"
            (dot,) = axes.plot(row.difference, number, "o", color=figures.COLOURS[0], markerfacecolor=face)
            figures.describe(dot, f"{_difference(row, digits)}, corrected p {p_value(row.p_adjusted)}")
            if row.equivalence is not None:
                margin = row.equivalence.delta
                axes.plot([-margin, margin], [number] * 2, "|", color="black", markersize=9)
        figures.rows_down(axes, [_pair(row.a, row.b) for row in rows])
        axes.set_xlabel(f"difference in {metric_name(metric)}, points")
    ticks = " Ticks mark the declared margin of equivalence." if rows[0].equivalence else ""
    return Figure(
        drawing=drawing,
        key="differences",
        caption=(
            f"First method minus second. Thin line: {level(comparison)} interval of the pair; wide pale line: simultaneous "
            f"interval of the family; a filled dot is significant after correction.{ticks}"
        ),
        alt=f"Differences in {metric_name(metric)} of {len(rows)} pairs with intervals; the table has the numbers.",
    )


def matrix(comparison: Comparison) -> Figure | None:
    """Heat map of corrected p and difference, methods from best to worst; None unless all pairs of 3 to 30 are there."""
    metric = comparison.primary
    size = len(comparison.methods)
    p = comparison.p_matrix(metric)
    if not 3 <= size <= MOST_METHODS or np.isnan(p).any():
        return None
    order = np.argsort(-comparison.scores[:, comparison.metrics.index(metric)], kind="stable")
    methods = [comparison.methods[i] for i in order]
    p, differences = p[np.ix_(order, order)], _differences(comparison, metric)[np.ix_(order, order)]
    bounds = (comparison.alpha, 0.01, 0.001) if comparison.alpha > 0.01 else (comparison.alpha,)
    digits = decimals(metric)
    moved = [[signed(value, digits) for value in row] for row in differences]
    said = [
        [f"{a} − {b}: {moved[i][j]}, corrected p {p_value(p[i, j])}" for j, b in enumerate(methods)]
        for i, a in enumerate(methods)
    ]
    # The p-values are symmetric, so that each stands once: above the diagonal the differences.
    written = [[moved[i][j] if j > i else p_value(p[i, j]) for j in range(size)] for i in range(size)]
    numbers = " Above the diagonal: row minus column in points; below it: the corrected p."
    if size > _MOST_WRITTEN:
        written, numbers = [], ""
    side = max(3.6, 0.62 * size) if size <= _MOST_WRITTEN else 0.3 * size + 2
    names = [figures.label(method, 26) for method in methods]
    longest = max(figures.text_size(name, 9)[0] for name in names) / 72
    slope = math.radians(_SLOPE)
    # Room for the names: beside the rows, and rising from the columns.
    room = (longest * (1 + math.cos(slope)) + 0.3, longest * math.sin(slope) + 0.4)
    with figures.canvas(side + room[0], side + room[1]) as drawing:
        axes = drawing.subplots()
        _cells(axes, np.sum([p <= bound for bound in bounds], axis=0), written, said)
        _frame(axes, names)
        _shade_legend(drawing, bounds)
    return Figure(
        drawing=drawing,
        key="matrix",
        caption=(
            f"All pairs on {metric_name(metric)}, best method first; the stronger the colour, the stronger the "
            f"evidence.{numbers}"
        ),
        alt=f"Matrix of corrected p-values of {size} methods; the table of pairs has the numbers.",
    )


def groups_diagram(comparison: Comparison, ranking: Sequence[RankedMethod]) -> Figure | None:
    """Critical-difference diagram on mean scores, bars from our corrected p-values; None outside 3 to 30 methods."""
    size = len(ranking)
    if not 3 <= size <= MOST_METHODS:
        return None
    from scikit_posthocs import critical_difference_diagram

    metric = comparison.primary
    place = [comparison.methods.index(method.name) for method in ranking]
    apart = (comparison.p_matrix(metric) <= comparison.alpha)[np.ix_(place, place)]
    scores = [method.score for method in ranking]
    span = max(scores) - min(scores) or 1.0
    # Numbers stand in for the names until all is drawn: sets of numbers have one order in every process, and a name
    # is never taken for a format.
    matrix = pd.DataFrame(np.where(apart, 0.0, 1.0), index=range(size), columns=range(size))
    # Even an unbroken chain of overlapping groups needs no more levels than methods.
    with figures.canvas(8.2, 1.1 + 0.3 * (size + 1) // 2 + 0.16 * size) as drawing:
        axes = drawing.subplots()
        artists = critical_difference_diagram(
            dict(enumerate(scores)),
            matrix,
            alpha=0.5,
            ax=axes,
            label_fmt_left="{label}",
            label_fmt_right="{label}",
            text_h_margin=0.06 * span,
            label_props={"fontsize": 9},
            marker_props={"color": figures.COLOURS[0], "s": 26},
            elbow_props={"color": figures.GREY, "linewidth": 0.9},
            crossbar_props={"color": "black", "linewidth": 2.6, "marker": "o", "markersize": 4.5},
        )
        for text, marker, elbow in zip(artists["labels"], artists["markers"], artists["elbows"], strict=True):
            method = ranking[int(text.get_text())]
            said = f"{method.name}: {fixed(method.score, decimals(metric))}, place {method.open_ranks}"
            for artist in (text, marker, elbow):
                figures.describe(artist, said)
            text.set_text(f" {figures.label(method.name, 30)} ({fixed(method.score, decimals(metric))}) ")
            text.set_color("black")
        axes.grid(visible=False)
        axes.ticklabel_format(useOffset=False)
        axes.spines["top"].set_visible(True)
        axes.xaxis.set_label_position("top")
        axes.set_xlabel(f"{metric_name(metric)}, mean over seeds (higher is better)", labelpad=6)
    return Figure(
        drawing=drawing,
        key="critical-difference",
        caption=(
            f"Critical-difference diagram on mean {metric_name(metric)}: a bar joins methods that the corrected p-values of "
            f"this report do not tell apart at {comparison.alpha:g}."
        ),
        alt=f"{size} methods on an axis of {metric_name(metric)} with bars over those that cannot be told apart.",
    )


def _interval(axes: Axes, row: PairRow, number: int, digits: int) -> None:
    wide = axes.hlines(number, row.simultaneous_low, row.simultaneous_high, color=SHADES[1], linewidth=5)
    bounds = interval(row.simultaneous_low, row.simultaneous_high, digits)
    figures.describe(wide, f"{_difference(row, digits)}; simultaneous {bounds}")
    thin = axes.hlines(number, row.low, row.high, color=figures.COLOURS[0], linewidth=1.8)
    figures.describe(thin, _difference(row, digits))


def _difference(row: PairRow, digits: int) -> str:
    return f"{row.a} − {row.b}: {signed(row.difference, digits)} {interval(row.low, row.high, digits)}"


def _pair(a: str, b: str) -> str:
    return f"{figures.label(a, 26)} − {figures.label(b, 26)}"


def _differences(comparison: Comparison, metric: str) -> NDArray[np.float64]:
    """(M, M) row minus column, the very numbers of the table: differences of scores may round to another digit."""
    place = {name: i for i, name in enumerate(comparison.methods)}
    values = np.zeros((len(place), len(place)))
    for row in comparison.of_metric(metric):
        i, j = place[row.a], place[row.b]
        values[i, j], values[j, i] = row.difference, -row.difference
    return values


def _cells(axes: Axes, shades: NDArray[Any], written: Sequence[Sequence[str]], said: Sequence[Sequence[str]]) -> None:
    """One square per pair: its shade, what is written in it, what it says when pointed at."""
    for (i, j), shade in np.ndenumerate(shades):
        if i == j:
            continue
        cell = Rectangle((j, i), 1, 1, facecolor=SHADES[shade], edgecolor="white", linewidth=1.5)
        figures.describe(axes.add_patch(cell), said[i][j])
        if written:
            ink = "white" if shade == len(SHADES) - 1 else "black"
            axes.text(j + 0.5, i + 0.5, written[i][j], color=ink, fontsize=8, ha="center", va="center")


def _frame(axes: Axes, names: Sequence[str]) -> None:
    size = len(names)
    axes.set(xlim=(0, size), ylim=(size, 0), aspect="equal")
    places = np.arange(size) + 0.5
    axes.set_xticks(places, names, rotation=_SLOPE, ha="left", rotation_mode="anchor")
    axes.xaxis.set_ticks_position("top")
    axes.set_yticks(places, names)
    axes.tick_params(length=0, labelcolor="black")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def _shade_legend(drawing: figures.Drawing, bounds: Sequence[float]) -> None:
    labels = [f"p > {p_value(bounds[0])}", *(f"p ≤ {p_value(bound)}" for bound in bounds)]
    patches = [
        Patch(facecolor=shade, edgecolor=figures.GREY, linewidth=0.5, label=label)
        for shade, label in zip(SHADES, labels, strict=False)
    ]
    figures.legend_below(drawing, patches)
