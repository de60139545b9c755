"""The figures of a robustness report: curves over levels, and bars of scores against what chance or no look would give."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from harness.reports.document import figures
from harness.reports.document.model import Figure
from harness.reports.document.text import fixed, interval
from harness.reports.robustness.quantities import Findings, Quantity

#: Panels in a row.
_PER_ROW = 4
#: Methods of a figure; more lines cannot be told apart.
MOST_METHODS = 8


def curves(found: Findings, methods: Sequence[str], alpha: float) -> Figure | None:
    """A panel per probe: the score at every level, a line per method with its interval; None without two levels."""
    probes = [
        probe
        for probe in dict.fromkeys(one.probe for one in found.quantities if one.level)
        if len(found.levels_of(probe)) > 1
    ]
    drawn = [method for method in methods if any(method in one.scores for one in found.quantities if one.level)]
    drawn = drawn[:MOST_METHODS]
    if not probes or not drawn:
        return None
    titles = {probe.about.name: probe.title for probe in found.asked}
    across = min(_PER_ROW, len(probes))
    down = math.ceil(len(probes) / across)
    with figures.canvas(max(5.2, 2.55 * across + 0.6), 2.5 * down + 0.2) as drawing:
        alike = len({found.levels_of(probe)[0].unit for probe in probes}) == 1
        grid = drawing.subplots(down, across, squeeze=False, sharey=alike)
        for number, axes in enumerate(grid.flat):
            if number >= len(probes):
                axes.set_axis_off()
                continue
            levels = found.levels_of(probes[number])
            for method in drawn:
                _curve(axes, levels, method, methods.index(method), alpha)
            axes.set_title(figures.label(titles.get(probes[number], probes[number]), 24), fontsize=8.5)
            _places(axes, levels, _axis_of(found, probes[number]))
            axes.margins(x=0.06)
            if number // across == down - 1 or number + across >= len(probes):
                axes.set_xlabel(figures.label(_axis_of(found, probes[number]), 30), fontsize=8.5)
            if number % across == 0 or not alike:
                axes.set_ylabel(levels[0].unit)
        handles = [
            Line2D([], [], label=figures.label(m, 30), markersize=5, **figures.mark(methods.index(m))) for m in drawn
        ]
        figures.legend_below(drawing, handles)
    left_out = f" Shown are the first {len(drawn)} methods." if len(drawn) < len(methods) else ""
    caption = f"{_CURVES.get(found.family, 'Scores at every level')}; bands are {_level(alpha)} intervals.{left_out}"
    alt = f"{len(probes)} panels of curves over levels, for {', '.join(drawn)}; the table has the numbers."
    return Figure(drawing, f"{found.family}-curves", caption, alt)


_CURVES = {
    "images": "rSum against the severity of perturbed pictures (0 = unchanged)",
    "captions": "rSum against the severity of perturbed captions (0 = unchanged)",
    "regions": "rSum against the severity of perturbed regions (0 = unchanged)",
    "clutter": "rSum against clutter, with the same targets at every level",
    "strata": "Scores of the queries of each stratum, in the gallery of the whole split",
}


def bars(
    quantities: Sequence[Quantity], methods: Sequence[str], alpha: float, key: str, caption: str, against: str
) -> Figure | None:
    """A group of dots per quantity, one per method, with intervals, and a line where chance is; None without scores."""
    shown = [one for one in quantities if one.scores]
    drawn = [method for method in methods if any(method in one.scores for one in shown)][:MOST_METHODS]
    if not shown or not drawn:
        return None
    step = 0.8 / len(drawn)
    with figures.canvas(7.8, 0.9 + len(shown) * (0.22 + 0.15 * len(drawn))) as drawing:
        axes = drawing.subplots()
        for row, one in enumerate(shown):
            if one.chance is not None:
                (line,) = axes.plot(
                    [one.chance] * 2, [row - 0.45, row + 0.45], color=figures.GREY, linewidth=1.4, linestyle="--"
                )
                figures.describe(line, f"{one.title}: {against} {fixed(one.chance, one.digits)}")
            for number, method in enumerate(drawn):
                if method in one.scores:
                    _dot(axes, one, method, methods.index(method), row + (number - (len(drawn) - 1) / 2) * step, alpha)
        figures.rows_down(axes, [figures.label(one.title, 44) for one in shown])
        axes.set_xlabel(_axis(shown))
        handles: list[Any] = [
            Line2D([], [], linestyle="none", label=figures.label(m, 30), markersize=5, **figures.mark(methods.index(m)))
            for m in drawn
        ]
        if any(one.chance is not None for one in shown):
            handles.append(Line2D([], [], color=figures.GREY, linewidth=1.4, linestyle="--", label=against))
        figures.legend_below(drawing, handles)
    alt = f"{len(shown)} rows of scores with intervals, for {', '.join(drawn)}; the table has the numbers."
    return Figure(drawing, key, f"{caption}; lines are {_level(alpha)} intervals.", alt)


def _curve(axes: Axes, levels: Sequence[Quantity], method: str, number: int, alpha: float) -> None:
    there = [one for one in levels if method in one.scores]
    mark = figures.mark(number)
    ends = [one.scores[method].interval(alpha, one.low, one.high) for one in there if one.scores[method].pictures > 1]
    x = [one.place for one in there]
    if len(ends) == len(there):
        band = axes.fill_between(
            x, [end.low for end in ends], [end.high for end in ends], color=mark["color"], alpha=0.15, linewidth=0
        )
        figures.describe(band, f"{method}: interval")
    (line,) = axes.plot(x, [one.scores[method].mean for one in there], markersize=4, linewidth=1.3, **mark)
    figures.describe_each(
        line, [(_said(one, method, alpha), {"x": one.place, "y": one.scores[method].mean}) for one in there]
    )


def _dot(axes: Axes, one: Quantity, method: str, number: int, y: float, alpha: float) -> None:
    score, mark = one.scores[method], figures.mark(number)
    said = _said(one, method, alpha)
    if score.pictures > 1:
        end = score.interval(alpha, one.low, one.high)
        figures.describe(axes.hlines(y, end.low, end.high, color=mark["color"], linewidth=1.4), said)
    (dot,) = axes.plot(score.mean, y, linestyle="none", markersize=4.5, **mark)
    figures.describe(dot, said, value=score.mean)


def _said(one: Quantity, method: str, alpha: float) -> str:
    score = one.scores[method]
    end = score.interval(alpha, one.low, one.high) if score.pictures > 1 else None
    bounds = "" if end is None else f" {interval(end.low, end.high, one.digits)}"
    return f"{method}, {one.title}: {fixed(score.mean, one.digits)}{bounds}"


def _places(axes: Axes, levels: Sequence[Quantity], axis: str) -> None:
    """Ticks at the levels: their places where the axis counts something, else their names."""
    places = [one.place for one in levels]
    if axis:
        axes.set_xticks(places, [f"{place:g}" for place in places])
        return
    names = [figures.label(one.level, 16) for one in levels]
    axes.set_xticks(places, names)
    axes.tick_params(axis="x", rotation=35)
    for text in axes.get_xticklabels():
        text.set(horizontalalignment="right", rotation_mode="anchor")


def _axis_of(found: Findings, probe: str) -> str:
    return next((one.about.axis for one in found.asked if one.about.name == probe), "")


def _axis(shown: Sequence[Quantity]) -> str:
    units = list(dict.fromkeys(one.unit for one in shown))
    return "percent" if units == ["%"] else units[0]


def _level(alpha: float) -> str:
    return f"{100 * (1 - alpha):g} %"
