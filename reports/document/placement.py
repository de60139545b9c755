"""Names beside the points of a figure, where they hide neither a point nor each other."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from harness.reports.document import figures

#: Directions in degrees. The diagonals first: straight up, down, left and right run the error bars.
_ANGLES = np.radians((45, 135, -45, -135, 70, 110, -70, -110, 20, 160, 0, 180))
#: Between a point and its name, in points. Beyond the last but one, a line joins them.
_DISTANCES = (8.0, 16.0, 26.0, 38.0, 52.0)
_LINE_FROM = 60.0


def name_points(
    axes: Axes,
    points: Sequence[tuple[float, float, str, bool]],
    limit: int = 34,
    obstacles: Sequence[tuple[float, float]] = (),
) -> None:
    """Name points in order, each at the nearest free place; a name without a free place is left out.

    Args:
        axes: whose points, limits and legend are final.
        points: x, y, untrusted name, and whether it is prominent or small and grey.
        limit: longest name, in characters.
        obstacles: x, y of points without a name, which names leave free as well.
    """
    drawing = axes.get_figure(root=True)
    assert isinstance(drawing, figures.Drawing)
    drawing.lay_out()  # which decides where the points lie; they stay there
    axes.get_xlim()  # of limits that are not final yet a transformation would not know
    scale = drawing.dpi / 72
    spots = [axes.transData.transform((x, y)) for x, y, *_ in points]
    places = [*spots, *(axes.transData.transform(place) for place in obstacles)]
    taken = [Bbox.from_bounds(x - 4 * scale, y - 4 * scale, 8 * scale, 8 * scale) for x, y in places]
    if legend := axes.get_legend():
        taken.append(legend.get_window_extent())
    frame = axes.get_window_extent()
    for (x, y, name, prominent), spot in zip(points, spots, strict=True):
        named = functools.partial(_named, axes, (x, y), name, limit, prominent)
        text = named((0.0, 0.0))
        extent = np.array(text.get_window_extent().size) + scale
        text.remove()
        box = next((box for box in _places(spot, extent, scale) if _is_free(box, frame, taken)), None)
        if box is not None:
            taken.append(box)
            x_offset, y_offset = (box.get_points().mean(axis=0) - spot) / scale
            figures.describe(named((x_offset, y_offset)), name, label=name)


def _named(
    axes: Axes, point: tuple[float, float], name: str, limit: int, prominent: bool, offset: tuple[float, float]
) -> Annotation:
    """The name of a point with its middle at an offset in points, joined by a line where it is far away."""
    line = {"arrowstyle": "-", "color": figures.FAINT, "linewidth": 0.5, "shrinkB": 3}
    return axes.annotate(
        figures.label(name, limit), point, xytext=offset, textcoords="offset points", ha="center", va="center",
        fontsize=8.0 if prominent else 6.5, color="black" if prominent else figures.GREY,
        arrowprops=line if math.hypot(*offset) > _LINE_FROM else None,
    )  # fmt: skip


def _places(spot: np.ndarray, extent: np.ndarray, scale: float) -> Iterator[Bbox]:
    """Boxes around a spot, pixels, each pushed out until its nearest edge is at its distance."""
    for distance in _DISTANCES:
        for angle in _ANGLES:
            centre = spot + np.array((np.cos(angle), np.sin(angle))) * (distance * scale + extent / 2)
            yield Bbox([centre - extent / 2, centre + extent / 2])


def _is_free(box: Bbox, frame: Bbox, taken: Sequence[Bbox]) -> bool:
    inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
    return inside and not any(box.overlaps(other) for other in taken)
