"""The figures of a profile: accuracy against each cost, cost against the gallery, cascades against their shortlist."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis as Scale
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from matplotlib.transforms import Bbox

from harness.records.profile import Profile
from harness.reports.document import figures
from harness.reports.document.model import Figure
from harness.reports.document.text import fixed
from harness.reports.profile.rows import Axis, Row, scaling_rows

_DOMINATED = "#9aa1ab"
_LABEL_PT, _DOMINATED_PT = 8.0, 6.5
#: Where a name may stand beside its point: directions, at growing distances in points.
#: The diagonals first: straight up, down, left and right run the error bars.
_AROUND = [
    (np.cos(np.radians(a)), np.sin(np.radians(a))) for a in (45, 135, -45, -135, 70, 110, -70, -110, 20, 160, 0, 180)
]
_DISTANCES = (8.0, 16.0, 26.0, 38.0, 52.0)
_DIRECTIONS = {"t2i": "caption to images", "i2t": "image to captions"}


def pareto_figure(rows: Sequence[Row], axis: Axis, devices: Sequence[str], suffix: str) -> Figure | None:
    """rSum against one cost, the front in colour, dominated points in grey and named; None without two points."""
    there = [row for row in rows if row[axis.column] is not None and not row["is_fine"]]
    if len(there) < 2:
        return None
    bases = list(dict.fromkeys(row["base"] for row in rows))
    with figures.canvas(9.0, 5.6) as drawing:
        axes = drawing.subplots()
        axes.set_xscale("log")
        on_front = [row for row in there if row[f"front_{axis.key}"]]
        for row in there:
            _mark(axes, row, axis, bases.index(row["base"]))
        stairs = sorted(on_front, key=lambda row: row[axis.column])
        axes.step(
            [row[axis.column] for row in stairs],
            [row["rsum"] for row in stairs],
            where="post" if axis.sense == "min" else "pre",
            color=figures.GREY,
            linewidth=0.9,
            zorder=1,
        )
        axes.set_xlabel(axis.title)
        axes.set_ylabel("rSum (0 to 600), 95 % interval over images")
        axes.grid(which="minor", visible=False)
        axes.margins(x=0.16, y=0.1)
        _plain_ticks(axes.xaxis)
        _legend(axes, bases)
        drawing.draw_without_rendering()
        _name(axes, there, axis)
    better = "left" if axis.sense == "min" else "right"
    names = ", ".join(row["label"] for row in stairs)
    return Figure(
        drawing=drawing,
        key=f"pareto-{axis.key}{suffix}",
        caption=(
            f"rSum against {axis.title} (logarithmic; up and to the {better} is better) on {'; '.join(devices)}. "
            "Grey points are dominated: another is at least as good in both and better in one. Hollow points were timed on a "
            "busy machine: they neither dominate nor are dominated."
        ),
        alt=f"Not dominated, by {axis.title}: {names}.",
    )


def scaling_figure(profile: Profile, suffix: str) -> Figure | None:
    """Latency of a query against the size of the gallery, in both directions; None where one size was measured."""
    rows = scaling_rows(profile)
    if not rows:
        return None
    labels = list(dict.fromkeys(row["label"] for row in rows))
    with figures.canvas(9.5, 4.2) as drawing:
        panels = drawing.subplots(1, 2, sharey=True)
        for axes, (direction, title) in zip(panels, _DIRECTIONS.items(), strict=True):
            for row in (row for row in rows if row["direction"] == direction):
                _curve(axes, row, labels.index(row["label"]))
            axes.set(xscale="log", yscale="log", xlabel=f"gallery size, {title}")
            axes.grid(which="minor", visible=False)
            _plain_ticks(axes.xaxis, axes.yaxis)
            if axes.get_legend_handles_labels()[0]:
                axes.legend(fontsize=7.5, loc="upper left")
        panels[0].set_ylabel("ms a query (p50)")
    steepest = max(rows, key=lambda row: row["exponent"])
    return Figure(
        drawing=drawing,
        key=f"scaling{suffix}",
        caption=(
            f"Growth of a query's latency with the gallery on {profile.device}; the exponent of a power law in the legend, "
            "its 95 % interval in the table. Hollow marks on dashed lines are extrapolated, not measured."
        ),
        alt=f"Latency against gallery size; steepest is {steepest['label']} with exponent {steepest['exponent']:.2f}.",
    )


def cascade_figure(rows: Sequence[Row], profile: Profile, suffix: str) -> Figure | None:
    """Accuracy of cascades against the shortlist and against latency; each curve ends at its fine scorer."""
    cascades = [row for row in rows if row["kind"] == "cascade"]
    if not cascades:
        return None
    pairs = list(dict.fromkeys((row["coarse"], row["base"]) for row in cascades))
    everything = max(profile.images, profile.captions)
    with figures.canvas(9.5, 4.2) as drawing:
        left, right = drawing.subplots(1, 2, sharey=True)
        for number, (coarse, fine) in enumerate(pairs):
            chain = [row for row in cascades if (row["coarse"], row["base"]) == (coarse, fine)]
            chain.sort(key=lambda row: row["k"] or everything)
            style = _style(number)
            rsum = [row["rsum"] for row in chain]
            left.plot(
                [row["k"] or everything for row in chain], rsum, label=figures.label(f"{coarse} > {fine}"), **style
            )
            right.plot([row["t2i_ms"] for row in chain], rsum, **style)
            base = next((row for row in rows if row["label"] == fine), None)
            if base is not None:
                left.axhline(base["rsum"], color=style["color"], linestyle=":", linewidth=1)
        left.set(xscale="log", xlabel=f"items re-ranked, k (last: all {everything:,})", ylabel="rSum (0 to 600)")
        right.set(xscale="log", xlabel=f"ms a query at {profile.gallery:,} images (p50)")
        for axes in (left, right):
            axes.grid(which="minor", visible=False)
            _plain_ticks(axes.xaxis)
        left.legend(fontsize=8, loc="lower right")
    return Figure(
        drawing=drawing,
        key=f"cascades{suffix}",
        caption=(
            f"Cascades on {profile.device}: rSum against the number of items that the fine scorer re-ranks (test split of "
            f"{profile.images:,} images and {profile.captions:,} captions; dotted: the fine scorer alone), and against latency."
        ),
        alt="; ".join(
            f"{coarse} > {fine}: rSum "
            + " to ".join(fixed(r["rsum"], 1) for r in cascades if (r["coarse"], r["base"]) == (coarse, fine))
            for coarse, fine in pairs
        ),
    )


def _plain_ticks(*scales: Scale) -> None:
    """Ticks of a logarithmic scale as people write them: 1, 2, 5, 10, ... with thousands as 5k."""
    for scale in scales:
        low, high = scale.get_view_interval()
        decades = np.log10(high / low)
        scale.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 2.5 else (1.0,), numticks=20))
        scale.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
        scale.set_minor_formatter(NullFormatter())


def _short(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _style(number: int) -> dict[str, Any]:
    size = len(figures.COLOURS)
    return {
        "color": figures.COLOURS[number % size],
        "marker": figures.MARKERS[(number + number // size) % size],
        "markersize": 6,
        "linewidth": 1.4,
    }


def _mark(axes: Axes, row: Row, axis: Axis, number: int) -> None:
    style = _style(number)
    front = bool(row[f"front_{axis.key}"])
    noisy = axis.measured and bool(row[f"noisy_{axis.column}"])
    colour = style["color"] if front or noisy else _DOMINATED
    x, y = row[axis.column], row["rsum"]
    bars: dict[str, Any] = {"color": colour, "linewidth": 1.1, "alpha": 0.8 if front else 0.45, "zorder": 2}
    if row["rsum_low"] is not None:
        axes.plot([x, x], [row["rsum_low"], row["rsum_high"]], **bars)
    low, high = row.get(f"{axis.column}_low"), row.get(f"{axis.column}_high")
    if axis.measured and low is not None and high is not None:
        axes.plot([low, high], [y, y], **bars)
    axes.plot(
        [x], [y], marker=style["marker"], markersize=7.5 if front else 5.5, color=colour, linestyle="none", zorder=3,
        markeredgecolor=colour if noisy else "white", markerfacecolor="white" if noisy else colour,
    )  # fmt: skip


def _legend(axes: Axes, bases: Sequence[str]) -> None:
    for number, base in enumerate(bases):
        style = _style(number)
        axes.plot([], [], marker=style["marker"], color=style["color"], linestyle="none", label=figures.label(base, 24))
    axes.legend(fontsize=8, loc="best", title="weights (cascade: fine scorer)", title_fontsize=7.5)


def _curve(axes: Axes, row: Row, number: int) -> None:
    sizes = sorted(int(key[3:]) for key, value in row.items() if key.startswith("ms_") and value is not None)
    measured = [size for size in sizes if not row[f"extrapolated_{size}"]]
    style = _style(number)
    label = f"{figures.label(row['label'], 24)}: {row['exponent']:.2f}"
    axes.plot(measured, [row[f"ms_{size}"] for size in measured], label=label, **style)
    beyond = [measured[-1], *(size for size in sizes if size not in measured)]
    if len(beyond) > 1:
        hollow = {**style, "linestyle": "--", "markerfacecolor": "white", "markevery": list(range(1, len(beyond)))}
        axes.plot(beyond, [row[f"ms_{size}"] for size in beyond], **hollow)


def _name(axes: Axes, rows: Sequence[Row], axis: Axis) -> None:
    """Names beside their points, those of the front first, where they hide nothing; far ones get a line."""
    drawing = axes.get_figure(root=True)
    assert drawing is not None
    scale = drawing.dpi / 72
    spots = {id(row): axes.transData.transform((row[axis.column], row["rsum"])) for row in rows}
    taken = [Bbox.from_bounds(x - 4 * scale, y - 4 * scale, 8 * scale, 8 * scale) for x, y in spots.values()]
    legend = axes.get_legend()
    if legend is not None:
        taken.append(legend.get_window_extent())
    frame = axes.get_window_extent()
    for row in sorted(rows, key=lambda row: (not row[f"front_{axis.key}"], -row["rsum"])):
        front = bool(row[f"front_{axis.key}"])
        size = _LABEL_PT if front else _DOMINATED_PT
        text = figures.label(row["label"], 34)
        width, height = 0.56 * size * len(text) * scale, 1.15 * size * scale
        x, y = spots[id(row)]
        box, offset = _free_place(x, y, width, height, scale, taken, frame)
        if box is None:
            continue  # the table names it
        taken.append(box)
        axes.annotate(
            text,
            (row[axis.column], row["rsum"]),
            xytext=offset,
            textcoords="offset points",
            fontsize=size,
            color="black" if front else "#6b7280",
            va="center",
            ha="center",
            arrowprops={"arrowstyle": "-", "color": _DOMINATED, "linewidth": 0.5, "shrinkB": 3}
            if np.hypot(*offset) > 60
            else None,
        )


def _free_place(
    x: float, y: float, width: float, height: float, scale: float, taken: Sequence[Bbox], frame: Bbox
) -> tuple[Bbox | None, tuple[float, float]]:
    """The nearest place for a text's box, pixels, and the offset of its centre in points."""
    for distance in _DISTANCES:
        for dx, dy in _AROUND:
            # The box is pushed out until its nearest edge is `distance` away.
            cx = x + dx * (distance * scale + width / 2)
            cy = y + dy * (distance * scale + height / 2)
            box = Bbox.from_bounds(cx - width / 2, cy - height / 2, width, height)
            inside = box.x0 >= frame.x0 and box.x1 <= frame.x1 and box.y0 >= frame.y0 and box.y1 <= frame.y1
            if inside and not any(box.overlaps(other) for other in taken):
                return box, ((cx - x) / scale, (cy - y) / scale)
    return None, (0.0, 0.0)
