"""The figures of a significance report: differences with intervals, the matrix of all pairs, the diagram of groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch
from numpy.typing import NDArray

from harness.reports.document import figures
from harness.reports.document.model import Figure
from harness.reports.document.text import fixed, p_value, shortened
from harness.reports.significance.text import level
from harness.reports.statistics.hits import decimals, metric_name
from harness.reports.statistics.ranking import RankedMethod
from harness.reports.statistics.results import Comparison

MOST_PAIRS = 30
MOST_METHODS = 30
# Above this many methods the cells are too small for numbers.
_MOST_WRITTEN = 10
# Light to dark with the strength of the evidence; the three shades stay apart in greyscale.
_SHADES = ("#f3f5f7", "#b7d4ea", "#5c9fcb", "#0b4f80")


def forest(comparison: Comparison) -> Figure | None:
    """Every pair's difference with its interval; None where they are too many to be read."""
    metric = comparison.primary
    rows = comparison.of_metric(metric)
    if len(rows) > MOST_PAIRS:
        return None
    with figures.canvas(7.8, 1.25 + 0.34 * len(rows)) as drawing:
        axes = drawing.subplots()
        axes.axvline(0, color=figures.GREY, linewidth=1)
        for number, row in enumerate(rows):
            axes.hlines(number, row.simultaneous_low, row.simultaneous_high, color=_SHADES[1], linewidth=5)
            axes.hlines(number, row.low, row.high, color=figures.COLOURS[0], linewidth=1.8)
            face = figures.COLOURS[0] if row.significant else "white"
            axes.plot(row.difference, number, "o", color=figures.COLOURS[0], markerfacecolor=face)
            if row.equivalence is not None:
                margin = row.equivalence.delta
                axes.plot([-margin, margin], [number] * 2, "|", color="black", markersize=9)
        figures.rows_down(axes, [f"{shortened(row.a, 24)} − {shortened(row.b, 24)}" for row in rows], limit=52)
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
    names = [figures.label(comparison.methods[i], 26) for i in order]
    p, differences = p[np.ix_(order, order)], _differences(comparison, metric)[np.ix_(order, order)]
    bounds = (comparison.alpha, 0.01, 0.001) if comparison.alpha > 0.01 else (comparison.alpha,)
    # The p-values are symmetric, so that each stands once: above the diagonal the differences.
    written: NDArray[Any] | None = np.array(
        [
            [_signed(differences[i, j], decimals(metric)) if j > i else p_value(p[i, j]) for j in range(size)]
            for i in range(size)
        ]
    )
    numbers = " Above the diagonal: row minus column in points; below it: the corrected p."
    if size > _MOST_WRITTEN:
        written, numbers = None, ""
    side = max(3.6, 0.62 * size) if size <= _MOST_WRITTEN else 0.3 * size + 2
    with figures.canvas(side + 2.2, side + 0.9) as drawing:
        _heat_map(drawing.subplots(), np.sum([p <= bound for bound in bounds], axis=0), written, names, bounds)
    return Figure(
        drawing=drawing,
        key="matrix",
        caption=f"All pairs on {metric_name(metric)}, best method first; darker is stronger evidence.{numbers}",
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
        for text in artists["labels"]:
            method = ranking[int(text.get_text())]
            text.set_text(f" {figures.label(method.name, 30)} ({fixed(method.score, decimals(metric))}) ")
            text.set_color("black")
        axes.grid(visible=False)
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


def _differences(comparison: Comparison, metric: str) -> NDArray[np.float64]:
    """(M, M) row minus column, the very numbers of the table: differences of scores may round to another digit."""
    place = {name: i for i, name in enumerate(comparison.methods)}
    values = np.zeros((len(place), len(place)))
    for row in comparison.of_metric(metric):
        i, j = place[row.a], place[row.b]
        values[i, j], values[j, i] = row.difference, -row.difference
    return values


def _heat_map(
    axes: Axes, shade: NDArray[Any], written: NDArray[Any] | None, names: Sequence[str], bounds: Sequence[float]
) -> None:
    import seaborn  # here: it imports pyplot, which reading a report does not need

    seaborn.heatmap(
        shade,
        mask=np.eye(len(names), dtype=bool),
        annot=False if written is None else written,
        fmt="",
        annot_kws={"fontsize": 8},
        cmap=ListedColormap(_SHADES[: len(bounds) + 1]),
        vmin=-0.5,
        vmax=len(bounds) + 0.5,
        linewidths=1.5,
        linecolor="white",
        square=True,
        cbar=False,
        ax=axes,
    )
    places = np.arange(len(names)) + 0.5
    axes.set_xticks(places, names, rotation=35, ha="left", rotation_mode="anchor")
    axes.xaxis.set_ticks_position("top")
    axes.set_yticks(places, names, rotation=0)
    axes.tick_params(length=0, labelcolor="black")
    axes.grid(visible=False)
    labels = [f"p > {p_value(bounds[0])}", *(f"p ≤ {p_value(bound)}" for bound in bounds)]
    patches = [
        Patch(facecolor=shade, edgecolor=figures.GREY, linewidth=0.5, label=label)
        for shade, label in zip(_SHADES, labels, strict=False)
    ]
    axes.legend(handles=patches, loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=4, fontsize=8)


def _signed(value: float, digits: int) -> str:
    text = fixed(value, digits)
    return f"+{text}" if value > 0 and float(text.replace(",", "")) else text
