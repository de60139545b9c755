"""The figures of a profile: accuracy against each cost, cost against the gallery, cascades against their shortlist."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from harness.records.profile import Profile
from harness.reports.document import figures
from harness.reports.document.model import Figure
from harness.reports.document.placement import name_points
from harness.reports.document.text import fixed
from harness.reports.profile.rows import Axis, Row, scaling_rows

_DIRECTIONS = {"t2i": "caption to images", "i2t": "image to captions"}


def pareto_figure(rows: Sequence[Row], axis: Axis, devices: Sequence[str]) -> Figure | None:
    """rSum against one cost, the front in colour, dominated points in grey and named; None without two points."""
    there = [row for row in rows if row[axis.column] is not None and not row["is_fine"]]
    if len(there) < 2:
        return None
    front = sorted((row for row in there if row[f"front_{axis.key}"]), key=lambda row: row[axis.column])
    bases = list(dict.fromkeys(row["base"] for row in rows))
    stairs: dict[str, Any] = {
        "where": "post" if axis.sense == "min" else "pre",
        "color": figures.GREY,
        "linewidth": 0.9,
        "zorder": 1,
    }
    with figures.canvas(9.0, 5.6) as drawing:
        axes = drawing.subplots()
        axes.set_xscale("log")
        for row in there:
            _point(axes, row, axis, bases.index(row["base"]))
        axes.step([row[axis.column] for row in front], [row["rsum"] for row in front], **stairs)
        axes.set_xlabel(axis.title)
        axes.set_ylabel("rSum (0 to 600), 95 % interval over images")
        axes.margins(x=0.16, y=0.1)
        figures.plain_ticks(axes.xaxis)
        for number, base in enumerate(bases):
            axes.plot([], [], linestyle="none", label=figures.label(base, 24), **figures.mark(number))
        axes.legend(fontsize=8, loc="best", title="weights (cascade: fine scorer)", title_fontsize=7.5)
        first = sorted(there, key=lambda row: (not row[f"front_{axis.key}"], -row["rsum"]))
        name_points(
            axes, [(row[axis.column], row["rsum"], row["label"], bool(row[f"front_{axis.key}"])) for row in first]
        )
    better = "left" if axis.sense == "min" else "right"
    caption = (
        f"rSum against {axis.title} (logarithmic; up and to the {better} is better) on {'; '.join(devices)}. "
        "Grey points are dominated: another is at least as good in both and better in one. Hollow points were timed on a "
        "busy machine: they neither dominate nor are dominated."
    )
    alt = f"Not dominated, by {axis.title}: {', '.join(row['label'] for row in front)}."
    return Figure(drawing, f"pareto-{axis.key}", caption, alt)


def scaling_figure(profile: Profile) -> Figure | None:
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
            figures.plain_ticks(axes.xaxis, axes.yaxis)
            if axes.get_legend_handles_labels()[0]:
                axes.legend(fontsize=7.5, loc="upper left")
        panels[0].set_ylabel("ms per query (p50)")
    steepest = max(rows, key=lambda row: row["exponent"])
    caption = (
        f"Growth of a query's latency with the gallery on {profile.device}; the exponent of a power law in the legend, "
        "its 95 % interval in the table. Hollow marks on dashed lines are extrapolated, not measured."
    )
    alt = f"Latency against gallery size; steepest is {steepest['label']} with exponent {steepest['exponent']:.2f}."
    return Figure(drawing, "scaling", caption, alt)


def cascade_figure(rows: Sequence[Row], profile: Profile) -> Figure | None:
    """Accuracy of cascades against the shortlist and against latency; each curve ends at its fine scorer."""
    everything = max(profile.images, profile.captions)
    chains: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row["kind"] == "cascade":
            chains.setdefault((row["coarse"], row["base"]), []).append(row)
    if not chains:
        return None
    with figures.canvas(9.5, 4.2) as drawing:
        left, right = drawing.subplots(1, 2, sharey=True)
        for number, ((coarse, fine), chain) in enumerate(chains.items()):
            chain.sort(key=lambda row: row["k"] or everything)
            style, rsum = _line(number), [row["rsum"] for row in chain]
            label = figures.label(f"{coarse} > {fine}")
            left.plot([row["k"] or everything for row in chain], rsum, label=label, **style)
            right.plot([row["t2i_ms"] for row in chain], rsum, **style)
            for row in rows:
                if row["label"] == fine:
                    left.axhline(row["rsum"], color=style["color"], linestyle=":", linewidth=1)
        left.set(xscale="log", xlabel=f"items re-ranked, k (last: all {everything:,})", ylabel="rSum (0 to 600)")
        right.set(xscale="log", xlabel=f"ms per query at {profile.gallery:,} images (p50)")
        figures.plain_ticks(left.xaxis, right.xaxis)
        left.legend(fontsize=8, loc="lower right")
    said = {f"{coarse} > {fine}": [fixed(r["rsum"], 1) for r in chain] for (coarse, fine), chain in chains.items()}
    caption = (
        f"Cascades on {profile.device}: rSum against the number of items that the fine scorer re-ranks (test split of "
        f"{profile.images:,} images and {profile.captions:,} captions; dotted: the fine scorer alone), and against latency."
    )
    alt = "; ".join(f"{name}: rSum {' to '.join(rsum)}" for name, rsum in said.items())
    return Figure(drawing, "cascades", caption, alt)


def _line(number: int) -> dict[str, Any]:
    return {**figures.mark(number), "markersize": 6, "linewidth": 1.4}


def _point(axes: Axes, row: Row, axis: Axis, number: int) -> None:
    mark, front, noisy = figures.mark(number), bool(row[f"front_{axis.key}"]), axis.noisy(row)
    if not front and not noisy:
        mark["color"] = figures.FAINT
    x, y, colour = row[axis.column], row["rsum"], mark["color"]
    bars: dict[str, Any] = {"color": colour, "linewidth": 1.1, "alpha": 0.8 if front else 0.45, "zorder": 2}
    if row["rsum_low"] is not None:
        axes.plot([x, x], [row["rsum_low"], row["rsum_high"]], **bars)
    low, high = row.get(f"{axis.column}_low"), row.get(f"{axis.column}_high")
    if low is not None and high is not None:
        axes.plot([low, high], [y, y], **bars)
    face = {"markeredgecolor": colour, "markerfacecolor": "white"} if noisy else {"markeredgecolor": "white"}
    axes.plot([x], [y], markersize=7.5 if front else 5.5, linestyle="none", zorder=3, **mark, **face)


def _curve(axes: Axes, row: Row, number: int) -> None:
    sizes = sorted(int(key[3:]) for key, value in row.items() if key.startswith("ms_") and value is not None)
    measured = [size for size in sizes if not row[f"extrapolated_{size}"]]
    label = f"{figures.label(row['label'], 24)}: {row['exponent']:.2f}"
    axes.plot(measured, [row[f"ms_{size}"] for size in measured], label=label, **_line(number))
    beyond = [measured[-1], *(size for size in sizes if size not in measured)]
    if len(beyond) > 1:
        hollow: dict[str, Any] = {
            "linestyle": "--",
            "markerfacecolor": "white",
            "markevery": list(range(1, len(beyond))),
        }
        axes.plot(beyond, [row[f"ms_{size}"] for size in beyond], **_line(number), **hollow)
