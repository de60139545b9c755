"""Which texts of a drawn figure lie on each other, outside the canvas, or on its marks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text
from matplotlib.transforms import Bbox

#: Pixels at 100 dpi that boxes may share: a box is a little larger than its letters.
SLACK = 1.0


def overprinted(drawing: Figure) -> list[str]:
    """One line per collision of a figure: two texts, a text and the canvas's edge, a legend and a marker."""
    drawing.draw_without_rendering()  # annotations and ticks get their places when they are drawn
    shapes = list(_shapes(drawing))
    found = [f"'{a}' and '{b}'" for (a, one), (b, other) in itertools.combinations(shapes, 2) if _overlap(one, other)]
    canvas = drawing.bbox.padded(SLACK)
    found += [
        f"'{name}' leaves the canvas"
        for name, corners in shapes
        if not all(canvas.contains(*corner) for corner in corners)
    ]
    marks = np.concatenate([np.empty((0, 2)), *(_markers(axes) for axes in drawing.axes)])
    for legend in _legends(drawing):
        box = legend.get_window_extent()
        hidden = sum(box.contains(*mark) for mark in marks)
        found += [f"a legend hides {hidden} markers"] if hidden else []
    return found


def _shapes(drawing: Figure) -> Iterator[tuple[str, np.ndarray]]:
    """Name and (4, 2) corners of every text and legend, in pixels."""
    for axes in drawing.axes:
        if axes.get_visible():
            for text in _texts(axes):
                if text.get_visible() and text.get_text().strip():
                    yield text.get_text(), _corners(text)
    for legend in _legends(drawing):
        box = legend.get_window_extent()
        yield "legend", _rectangle(box, box.width, box.height, 0.0)


def _corners(text: Text) -> np.ndarray:
    # The text alone: the box of an annotation spans to the point that it belongs to.
    box, rotation = Text.get_window_extent(text), text.get_rotation()
    text.set_rotation(0)
    level = Text.get_window_extent(text)
    text.set_rotation(rotation)
    return _rectangle(box, level.width, level.height, np.radians(rotation))


def _rectangle(around: Bbox, width: float, height: float, angle: float) -> np.ndarray:
    """A rectangle turned by an angle; it shares its centre with the box around it."""
    turned = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    half = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (width / 2, height / 2)
    return half @ turned + around.get_points().mean(axis=0)


def _texts(axes: Axes) -> Iterator[Text]:
    yield from (axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts)
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        room = 1e-6 * (high - low)
        for tick in axis.get_major_ticks():
            if low - room <= tick.get_loc() <= high + room:
                yield from (tick.label1, tick.label2)
        yield axis.get_offset_text()


def _legends(drawing: Figure) -> list[Legend]:
    inside = [legend for axes in drawing.axes if axes.get_visible() and (legend := axes.get_legend())]
    return inside + list(drawing.legends)


def _markers(axes: Axes) -> np.ndarray:
    """(N, 2) pixels of the markers of lines and scatter plots."""
    lines = [
        axes.transData.transform(np.column_stack(line.get_data()).astype(float))
        for line in axes.lines
        if line.get_marker() not in ("None", None, "") and len(line.get_xdata())
    ]
    scatters = [
        axes.transData.transform(np.asarray(some.get_offsets())) for some in axes.collections if len(some.get_offsets())
    ]
    return np.concatenate([np.empty((0, 2)), *lines, *scatters])


def _overlap(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two rectangles share more than the slack along each of their sides (separating axes)."""
    for corners in (a, b):
        for side in (corners[1] - corners[0], corners[3] - corners[0]):
            along = side / np.linalg.norm(side)
            one, other = a @ along, b @ along
            if min(one.max(), other.max()) - max(one.min(), other.min()) <= SLACK:
                return False
    return True
