"""The figure of an ablation: the effect of every change on rSum, measured and published."""

from __future__ import annotations

from typing import Any

from harness.reports.ablation.rows import Effects
from harness.reports.document import figures
from harness.reports.document.model import Figure
from harness.reports.document.text import interval, p_value, signed


def effects_figure(effects: Effects, source: str) -> Figure:
    """Differences to the reference with their intervals, the largest loss first."""
    rows = effects.by_loss[1:]
    blue, orange = figures.COLOURS[0], figures.COLOURS[5]
    measured: dict[str, Any] = {"label": "measured (filled: corrected p ≤ .05)"}
    printed: dict[str, Any] = {"label": "published"}
    with figures.canvas(7.5, 1.2 + 0.36 * len(rows)) as drawing:
        axes = drawing.subplots()
        axes.axvline(0, color=figures.GREY, linewidth=1)
        for number, row in enumerate(rows):
            title = (
                f"{row['model']}: {signed(row['rsum_difference'], 1)} {interval(row['rsum_low'], row['rsum_high'], 1)}"
            )
            (line,) = axes.plot([row["rsum_low"], row["rsum_high"]], [number, number], color=blue, linewidth=1.8)
            figures.describe(line, title)
            face = blue if row["p_adjusted"] <= 0.05 else "white"
            (point,) = axes.plot([row["rsum_difference"]], [number], "o", color=blue, markerfacecolor=face, **measured)
            figures.describe(point, f"{title}, corrected p {p_value(row['p_adjusted'])}")
            measured = {}
            if row["published_difference"] is not None:
                style = {"color": orange, "markersize": 13, "markeredgewidth": 2, **printed}
                (tick,) = axes.plot([row["published_difference"]], [number], "|", **style)
                figures.describe(tick, f"{row['model']}: published {signed(row['published_difference'], 1)}")
                printed = {}
        figures.rows_down(axes, [figures.label(row["model"], 40) for row in rows])
        axes.set_xlabel(f"difference in rSum, with its 95 % interval, to\n{figures.label(effects.reference)}")
        figures.legend_below(drawing, axes.get_legend_handles_labels()[0])
    title, worst = effects.gallery.title, rows[0]
    note = "" if printed else f" Bars in orange: {source}, other data."
    caption = f"{title}: effect of each change on rSum.{note}"
    alt = (
        f"Differences in rSum to {effects.reference}; the largest loss is {worst['model']} at "
        f"{worst['rsum_difference']:.1f}."
    )
    return Figure(drawing, f"{effects.gallery.dataset}-{effects.gallery.protocol}", caption, alt)
