"""The leaderboard's figure: rSum with its interval, and rSum against scoring speed."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from harness.reports.document import figures
from harness.reports.document.model import Figure
from harness.reports.document.placement import name_points
from harness.reports.document.text import fixed, interval, listed, significant
from harness.reports.leaderboard.rows import Board, Row

_MOST_METHODS = 30
_MOST_LABELS = 8
_NOISY = " (noisy: timed on a busy machine)"
_AND_SPEED = (
    ", and rSum against the pairs scored per second (logarithmic; up and to the right is better). A method has the same "
    "mark on both sides; a hollow one on the right was timed on a busy machine, so its place cannot be trusted"
)


def board_figure(board: Board) -> Figure | None:
    """Draw the measured methods of a board, the best ones if they are many; None if there is no rSum to draw."""
    rows = [row for row in board.rows if row["rsum"] is not None and row["origin"] != "published"][:_MOST_METHODS]
    if not rows:
        return None
    timed = any(row["pairs_per_second"] for row in rows)
    with figures.canvas(9.5 if timed else 5.5, max(2.6, 1.1 + 0.34 * len(rows))) as drawing:
        if timed:
            left, right = drawing.subplots(1, 2, width_ratios=(1.15, 1))
            _speed(right, rows)
        else:
            left = drawing.subplots()
        _intervals(left, rows)
        if timed and len(rows) <= _MOST_LABELS:
            named = [
                (row["pairs_per_second"], row["rsum"], row["label"], True) for row in rows if row["pairs_per_second"]
            ]
            name_points(right, named, limit=24)
    best = rows[0]
    caption = f"{board.gallery.title}: rSum with its 95 % interval{_AND_SPEED if timed else ''}."
    alt = (
        f"rSum of {listed([row['label'] for row in rows])} with 95 % intervals; {best['label']} is highest at "
        f"{best['rsum']:.1f}."
    )
    return Figure(drawing, board.gallery.slug, caption, alt)


def _intervals(axes: Axes, rows: Sequence[Row]) -> None:
    for number, row in enumerate(rows):
        mark = figures.mark(number)
        title = _title(row)
        if row["rsum_low"] is not None:
            ends = [row["rsum_low"], row["rsum_high"]]
            (line,) = axes.plot(ends, [number, number], color=mark["color"], linewidth=1.8)
            figures.describe(line, title)
        (point,) = axes.plot([row["rsum"]], [number], markersize=6.5, linestyle="none", markeredgecolor="white", **mark)
        figures.describe(point, title, label=row["label"], rsum=row["rsum"])
    figures.rows_down(axes, [figures.label(row["label"], 36) for row in rows])
    axes.set_xlabel("rSum (0 to 600), 95 % interval")


def _title(row: Row) -> str:
    bounds = "" if row["rsum_low"] is None else f" {interval(row['rsum_low'], row['rsum_high'], 1)}"
    return f"{row['label']}: rSum {fixed(row['rsum'], 1)}{bounds}"


def _speed(axes: Axes, rows: Sequence[Row]) -> None:
    axes.set_xscale("log")
    for number, row in enumerate(rows):
        x, mark = row["pairs_per_second"], figures.mark(number)
        if not x:
            continue
        if row["rsum_low"] is not None:
            ends = [row["rsum_low"], row["rsum_high"]]
            (line,) = axes.plot([x, x], ends, color=mark["color"], linewidth=1.2, alpha=0.6)
            figures.describe(line, _title(row))
        noisy = {"markerfacecolor": "white", "markeredgecolor": mark["color"]}
        face = noisy if row["pairs_per_second_noisy"] else {"markeredgecolor": "white"}
        (point,) = axes.plot([x], [row["rsum"]], markersize=6.5, linestyle="none", **mark, **face)
        said = f"{_title(row)}, {significant(x, 3)} pairs per second" + _NOISY * bool(row["pairs_per_second_noisy"])
        values = {"x": x, "rsum": row["rsum"], "noisy": bool(row["pairs_per_second_noisy"])}
        figures.describe(point, said, label=row["label"], **values)
    axes.margins(x=0.18, y=0.12)
    figures.plain_ticks(axes.xaxis)
    axes.set_xlabel("pairs scored per second")
    axes.set_ylabel("rSum")
