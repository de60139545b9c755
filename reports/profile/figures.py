"""The figures of a profile: accuracy against each cost, cost against the gallery, cascades against their shortlist."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from harness.records.profile import Profile
from harness.reports.document import figures
from harness.reports.document.model import Figure
from harness.reports.document.placement import name_points
from harness.reports.document.text import fixed, interval, significant
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
        handles: list[Artist] = [
            Line2D([], [], linestyle="none", label=figures.label(base, 24), **figures.mark(number))
            for number, base in enumerate(bases)
        ]
        figures.legend_below(drawing, handles, title="weights (cascade: fine scorer)")
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
        panels[0].set_ylabel("ms per query (p50)")
        figures.legend_below(drawing, _exponents(rows, labels))
    steepest = max(rows, key=lambda row: row["exponent"])
    caption = (
        f"Growth of a query's latency with the gallery on {profile.device}; the exponents of a power law in the legend, "
        "their 95 % intervals in the table. Hollow marks on dashed lines are extrapolated, not measured."
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
            said = [(f"{_title(row)}, {significant(row['t2i_ms'], 3)} ms per query", _values(row)) for row in chain]
            (line,) = left.plot([row["k"] or everything for row in chain], rsum, label=label, **style)
            figures.describe_each(line, said)
            (line,) = right.plot([row["t2i_ms"] for row in chain], rsum, **style)
            figures.describe_each(line, said)
            for row in rows:
                if row["label"] == fine:
                    alone = left.axhline(row["rsum"], color=style["color"], linestyle=":", linewidth=1)
                    figures.describe(alone, f"{_title(row)}, alone")
        left.set(xscale="log", xlabel=f"items re-ranked, k (last: all {everything:,})", ylabel="rSum (0 to 600)")
        right.set(xscale="log", xlabel=f"ms per query at {profile.gallery:,} images (p50)")
        figures.plain_ticks(left.xaxis, right.xaxis)
        figures.legend_below(drawing, left.get_legend_handles_labels()[0])
    courses = {f"{coarse} > {fine}": [fixed(r["rsum"], 1) for r in chain] for (coarse, fine), chain in chains.items()}
    caption = (
        f"Cascades on {profile.device}: rSum against the number of items that the fine scorer re-ranks (test split of "
        f"{profile.images:,} images and {profile.captions:,} captions; dotted: the fine scorer alone), and against latency."
    )
    alt = "; ".join(f"{name}: rSum {' to '.join(rsum)}" for name, rsum in courses.items())
    return Figure(drawing, "cascades", caption, alt)


def _line(number: int) -> dict[str, Any]:
    return {**figures.mark(number), "markersize": 6, "linewidth": 1.4}


def _point(axes: Axes, row: Row, axis: Axis, number: int) -> None:
    mark, front, noisy = figures.mark(number), bool(row[f"front_{axis.key}"]), axis.noisy(row)
    if not front and not noisy:
        mark["color"] = figures.FAINT
    x, y, colour = row[axis.column], row["rsum"], mark["color"]
    title = f"{_title(row)}, {axis.title} {significant(x, 3)}" + " (noisy: timed on a busy machine)" * noisy
    values = _values(row) | {"axis": axis.key, "x": x, "noisy": noisy, "front": front}
    bars: dict[str, Any] = {"color": colour, "linewidth": 1.1, "alpha": 0.8 if front else 0.45, "zorder": 2}
    if row["rsum_low"] is not None:
        figures.describe(axes.plot([x, x], [row["rsum_low"], row["rsum_high"]], **bars)[0], title, **values)
    low, high = row.get(f"{axis.column}_low"), row.get(f"{axis.column}_high")
    if low is not None and high is not None:
        figures.describe(axes.plot([low, high], [y, y], **bars)[0], title, **values)
    face = {"markeredgecolor": colour, "markerfacecolor": "white"} if noisy else {"markeredgecolor": "white"}
    style: dict[str, Any] = {"markersize": 7.5 if front else 5.5, "linestyle": "none", "zorder": 3}
    figures.describe(axes.plot([x], [y], **style, **mark, **face)[0], title, **values)


def _curve(axes: Axes, row: Row, number: int) -> None:
    sizes = sorted(int(key[3:]) for key, value in row.items() if key.startswith("ms_") and value is not None)
    measured = [size for size in sizes if not row[f"extrapolated_{size}"]]
    (line,) = axes.plot(measured, [row[f"ms_{size}"] for size in measured], **_line(number))
    figures.describe_each(line, [_timed(row, size) for size in measured])
    beyond = [measured[-1], *(size for size in sizes if size not in measured)]
    if len(beyond) > 1:
        hollow: dict[str, Any] = {
            "linestyle": "--",
            "markerfacecolor": "white",
            "markevery": list(range(1, len(beyond))),
        }
        (line,) = axes.plot(beyond, [row[f"ms_{size}"] for size in beyond], **_line(number), **hollow)
        figures.describe_each(line, [_timed(row, size) for size in beyond[1:]])


def _exponents(rows: Sequence[Row], labels: Sequence[str]) -> list[Artist]:
    """Handles of the curves, with the exponent in each direction."""
    found: dict[str, list[str]] = {label: [] for label in labels}
    for row in rows:
        found[row["label"]].append(f"{row['direction']} {row['exponent']:.2f}")
    return [
        Line2D([], [], label=f"{figures.label(label, 24)}: {', '.join(exponents)}", **_line(number))
        for number, (label, exponents) in enumerate(found.items())
    ]


def _timed(row: Row, size: int) -> tuple[str, dict[str, Any]]:
    """Hover text and values of a curve's mark."""
    guessed = ", extrapolated" * bool(row[f"extrapolated_{size}"])
    ms = row[f"ms_{size}"]
    return f"{row['label']}: {significant(ms, 3)} ms per query at {size:,} items{guessed}", {"x": size, "ms": ms}


def _title(row: Row) -> str:
    bounds = "" if row["rsum_low"] is None else f" {interval(row['rsum_low'], row['rsum_high'], 1)}"
    return f"{row['label']}: rSum {fixed(row['rsum'], 1)}{bounds}"


def _values(row: Row) -> dict[str, Any]:
    return {"label": row["label"], "rsum": row["rsum"], "rsum_low": row["rsum_low"], "rsum_high": row["rsum_high"]}
