"""The leaderboard's figure: rSum with its interval, and rSum against scoring speed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from harness.reports.document import figures
from harness.reports.document.model import Figure
from harness.reports.leaderboard.board import Board, noise_key
from harness.reports.leaderboard.text import listed

_MOST_METHODS = 30
_MOST_LABELS = 8
_AND_SPEED = (
    ", and rSum against the pairs scored in a second (logarithmic; up and to the right is better). A method has the "
    "same mark on both sides; a hollow one on the right was timed on a busy machine and its place is not to be trusted"
)


def board_figure(board: Board) -> Figure | None:
    """Draw the measured methods of a board, the best ones if they are many; None if there is no rSum to draw."""
    rows = [row for row in board.rows if row["rsum"] is not None and row["origin"] != "published"][:_MOST_METHODS]
    if not rows:
        return None
    timed = [row for row in rows if row["pairs_per_second"]]
    with figures.canvas(9.5 if timed else 5.5, max(2.6, 1.1 + 0.34 * len(rows))) as drawing:
        if timed:
            left, right = drawing.subplots(1, 2, width_ratios=(1.15, 1))
            taken = _speed(right, rows)
        else:
            left = drawing.subplots()
        _intervals(left, rows)
        if timed and len(taken) <= _MOST_LABELS:
            drawing.draw_without_rendering()  # the layout decides where the points lie
            _name_points(right, taken, points_a_pixel=72.0 / drawing.dpi)
    best = rows[0]
    return Figure(
        drawing=drawing,
        key=board.gallery.slug,
        caption=f"{board.gallery.title}: rSum with its 95 % interval{_AND_SPEED if timed else ''}.",
        alt=(
            f"rSum of {listed([str(row['label']) for row in rows])} with 95 % intervals; "
            f"{best['label']} is highest at {best['rsum']:.1f}."
        ),
    )


def _mark(number: int) -> dict[str, Any]:
    """Colour and marker of a method; pairs repeat after 49 methods only."""
    size = len(figures.COLOURS)
    return {"color": figures.COLOURS[number % size], "marker": figures.MARKERS[(number + number // size) % size]}


def _intervals(axes: Axes, rows: Sequence[dict[str, Any]]) -> None:
    for number, row in enumerate(rows):
        mark = _mark(number)
        if row["rsum_low"] is not None:
            axes.plot([row["rsum_low"], row["rsum_high"]], [number, number], color=mark["color"], linewidth=1.8)
        axes.plot([row["rsum"]], [number], markersize=6.5, linestyle="none", markeredgecolor="white", **mark)
    axes.set_yticks(range(len(rows)), [figures.label(str(row["label"]), 36) for row in rows])
    axes.tick_params(axis="y", length=0, labelcolor="black")
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("rSum (0 to 600), 95 % interval")


def _speed(axes: Axes, rows: Sequence[dict[str, Any]]) -> list[tuple[float, float, str]]:
    """Draw the methods that were timed; their places and names."""
    taken: list[tuple[float, float, str]] = []
    axes.set_xscale("log")
    for number, row in enumerate(rows):
        if not row["pairs_per_second"]:
            continue
        mark = _mark(number)
        x, y = row["pairs_per_second"], row["rsum"]
        if row["rsum_low"] is not None:
            axes.plot([x, x], [row["rsum_low"], row["rsum_high"]], color=mark["color"], linewidth=1.2, alpha=0.6)
        noisy = {"markerfacecolor": "white", "markeredgecolor": mark["color"]}
        face = noisy if row[noise_key("pairs_per_second")] else {"markeredgecolor": "white"}
        axes.plot([x], [y], markersize=6.5, linestyle="none", **mark, **face)
        taken.append((x, y, str(row["label"])))
    axes.margins(x=0.18, y=0.12)
    axes.set_xlabel("pairs scored a second")
    axes.set_ylabel("rSum")
    axes.grid(which="minor", visible=False)
    return taken


def _name_points(axes: Axes, points: Sequence[tuple[float, float, str]], points_a_pixel: float) -> None:
    """Write names beside points, each at the first of four places where it hides neither a point nor another name."""
    spots = [tuple(axes.transData.transform((x, y)) * points_a_pixel) for x, y, _ in points]
    edge = axes.get_window_extent().x1 * points_a_pixel
    taken = [(x - 4.0, y - 4.0, x + 4.0, y + 4.0) for x, y in spots]
    for (x, y, name), (left, low) in zip(points, spots, strict=True):
        text = figures.label(name, 24)
        width = 4.9 * len(text)  # of 8 point type, roughly
        offered = {}
        for dx, dy, side in ((7, 3, "left"), (-7, 3, "right"), (7, -10, "left"), (-7, -10, "right")):
            start = left + dx - (width if side == "right" else 0)
            offered[dx, dy, side] = (start, low + dy, start + width, low + dy + 9.0)
        free = [place for place, box in offered.items() if box[2] < edge and not any(_overlap(box, b) for b in taken)]
        dx, dy, side = free[0] if free else next(iter(offered))
        taken.append(offered[dx, dy, side])
        axes.annotate(text, (x, y), xytext=(dx, dy), textcoords="offset points", fontsize=8, ha=side)


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
