"""Scenes to pixels, by exact arithmetic: the same bytes on every machine.

Only +, -, *, /, comparisons and integer sums are used on arrays: they are correctly rounded everywhere, while sines,
powers and floating-point sums differ in the last bit between processors. Edges are smooth by counting samples of
a finer grid.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from harness.datasets.scenes.world import COLOURS, GRID, SHAPES, SIZES, TEXTURES, Draws, Object, Scene

SAMPLES = 4  # a pixel's side, in samples
_RADII = {"small": (0.25, 0.30), "large": (0.41, 0.47)}  # in cells
_MARGIN = 0.49  # an object's edge stays this near its cell's centre, so that the cell is never in doubt
_ROTATIONS = ((1.0, 0.0), (0.9903, 0.1392), (0.9903, -0.1392))  # cosine and sine of 0 and +-8 degrees
RGB = {
    "red": (214, 39, 40),
    "orange": (255, 140, 20),
    "yellow": (250, 220, 40),
    "green": (40, 160, 60),
    "blue": (40, 80, 220),
    "purple": (150, 50, 190),
    "white": (245, 245, 245),
    "black": (20, 20, 20),
}


class Clutter(NamedTuple):
    """How hard a scene is to see."""

    strokes_behind: int
    strokes_before: int  #: thin strokes that cross the objects
    vivid: bool  #: strokes take the objects' colours, not only greys
    gradient: int  #: largest difference between the background's corners, grey values of 255
    noise: int  #: largest change of a pixel, grey values of 255


CLUTTER = {
    "none": Clutter(0, 0, False, 0, 0),
    "low": Clutter(4, 0, False, 40, 6),
    "medium": Clutter(10, 2, True, 60, 12),
    "high": Clutter(24, 6, True, 80, 24),
}


class Placed(NamedTuple):
    """An object where it is drawn, in pixels."""

    object: Object
    x: float
    y: float
    radius: float
    rotation: tuple[float, float]
    shade: int  #: added to each channel, grey values of 255


def place(scene: Scene, draws: Draws, size: int) -> tuple[Placed, ...]:
    """Each object at a random spot of its cell, with a random radius of its size, tilt and shade."""
    cell = size / GRID
    placed = []
    for obj in scene:
        radius = draws.between(*_RADII[SIZES[obj.size]])
        slack = _MARGIN - radius
        x = obj.column + 0.5 + draws.between(-slack, slack)
        y = obj.row + 0.5 + draws.between(-slack, slack)
        tilt = _ROTATIONS[draws.below(len(_ROTATIONS))]
        placed.append(Placed(obj, x * cell, y * cell, radius * cell, tilt, draws.below(41) - 20))
    return tuple(placed)


def render(placed: Sequence[Placed], clutter: Clutter, draws: Draws, size: int) -> np.ndarray:
    """The picture of a scene.

    Args:
        placed: the objects.
        clutter: what surrounds and covers them.
        draws: for the background, strokes and noise.
        size: side S in pixels.

    Returns:
        (S, S, 3) uint8, RGB.
    """
    canvas = _background(clutter, draws, size)
    for _ in range(clutter.strokes_behind):
        _stroke(canvas, clutter, draws, width=draws.between(0.008, 0.03) * size)
    for obj in placed:
        _draw(canvas, obj)
    for _ in range(clutter.strokes_before):
        _stroke(canvas, clutter, draws, width=0.01 * size)
    if clutter.noise:
        noise = draws.bytes(canvas.size).astype(np.int32) * (2 * clutter.noise + 1) >> 8
        canvas += noise.reshape(canvas.shape) - clutter.noise
    return np.clip(canvas, 0, 255).astype(np.uint8)


def _background(clutter: Clutter, draws: Draws, size: int) -> np.ndarray:
    """(S, S, 3) int32: a warm or cold grey, its corners blended over the picture."""
    base = 110 + draws.below(60)
    tint = np.array([draws.below(21) - 10 for _ in range(3)])
    corners = [base + (draws.below(2 * clutter.gradient + 1) - clutter.gradient) // 2 for _ in range(4)]
    across = (np.arange(size) + 0.5) / size
    top = corners[0] + (corners[1] - corners[0]) * across
    bottom = corners[2] + (corners[3] - corners[2]) * across
    grey = top + (bottom - top) * across[:, None]
    return grey.astype(np.int32)[:, :, None] + tint.astype(np.int32)


def _stroke(canvas: np.ndarray, clutter: Clutter, draws: Draws, width: float) -> None:
    """A straight stroke between two random points, in grey or in an object's colour."""
    size = len(canvas)
    x0, y0 = draws.between(0, size), draws.between(0, size)
    x1, y1 = x0 + draws.between(-0.3, 0.3) * size, y0 + draws.between(-0.3, 0.3) * size
    grey = 40 + draws.below(176)
    colour = RGB[COLOURS[draws.below(len(COLOURS))]] if draws.chance(0.5) and clutter.vivid else (grey, grey, grey)
    rows = _window(min(y0, y1) - width, max(y0, y1) + width, size)
    columns = _window(min(x0, x1) - width, max(x0, x1) + width, size)
    ys, xs = _samples(rows)[:, None], _samples(columns)[None, :]
    dx, dy = x1 - x0, y1 - y0
    along = np.clip(((xs - x0) * dx + (ys - y0) * dy) / (dx * dx + dy * dy + 1e-9), 0.0, 1.0)
    off_x, off_y = xs - x0 - along * dx, ys - y0 - along * dy
    _blend(canvas, rows, columns, [(off_x * off_x + off_y * off_y <= width * width / 4, colour)])


def extent(placed: Placed, size: int) -> tuple[float, float, float, float]:
    """Left, top, right, bottom in pixels of the smallest box round what is painted of an object.

    Args:
        placed: the object, its centre within the picture.
        size: side S in pixels.
    """
    xs, ys = painted(placed, size)
    half = 0.5 / SAMPLES
    return float(xs.min() - half), float(ys.min() - half), float(xs.max() + half), float(ys.max() + half)


def painted(placed: Placed, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the samples lie that an object paints, `SAMPLES` x `SAMPLES` in each pixel that it fills.

    Args:
        placed: the object, its centre within the picture.
        size: side S in pixels.

    Returns:
        x and y in pixels, (n,) each, n at least 1.
    """
    rows, columns = _around(placed, size)
    xs, ys = _samples(columns)[None, :], _samples(rows)[:, None]
    down, across = np.nonzero(paints(placed, xs, ys))
    return xs[0, across], ys[down, 0]


def paints(placed: Placed, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """Whether samples lie in an object.

    Args:
        placed: the object.
        xs, ys: in pixels, of shapes that broadcast.
    """
    return _SHAPES[SHAPES[placed.object.shape]](*_own(placed, xs, ys))


def _around(placed: Placed, size: int) -> tuple[range, range]:
    """The rows and columns of pixels round an object."""
    reach = placed.radius * 1.15  # a tilted square's corners lie outside its upright box
    rows = _window(placed.y - reach, placed.y + reach, size)
    return rows, _window(placed.x - reach, placed.x + reach, size)


def _own(placed: Placed, xs: np.ndarray, ys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Samples in an object's own coordinates (u, v), in radii from its centre."""
    cosine, sine = placed.rotation
    dx, dy = (xs - placed.x) / placed.radius, (ys - placed.y) / placed.radius
    return cosine * dx + sine * dy, cosine * dy - sine * dx


def _draw(canvas: np.ndarray, placed: Placed) -> None:
    rows, columns = _around(placed, len(canvas))
    u, v = _own(placed, _samples(columns)[None, :], _samples(rows)[:, None])
    inside = _SHAPES[SHAPES[placed.object.shape]](u, v)
    marked = inside & _TEXTURES[TEXTURES[placed.object.texture]](u, v)
    colour = tuple(channel + placed.shade for channel in RGB[COLOURS[placed.object.colour]])
    # Marks are darker than their object, and lighter on black.
    dark = sum(colour) < 150
    mark = tuple((channel + 200) // 2 if dark else channel // 4 for channel in colour)
    _blend(canvas, rows, columns, [(inside & ~marked, colour), (marked, mark)])


def _blend(canvas: np.ndarray, rows: range, columns: range, layers: list[tuple[np.ndarray, tuple[int, ...]]]) -> None:
    """Paint disjoint layers of samples over a window of the canvas, in integers."""
    if not len(rows) or not len(columns):
        return
    window = canvas[rows.start : rows.stop, columns.start : columns.stop]
    total = SAMPLES * SAMPLES
    counts = [m.reshape(len(rows), SAMPLES, len(columns), SAMPLES).sum(axis=(1, 3), dtype=np.int32) for m, _ in layers]
    painted = (total - sum(counts))[:, :, None] * window
    for count, (_, colour) in zip(counts, layers, strict=True):
        painted += count[:, :, None] * np.array(colour, dtype=np.int32)
    window[:] = painted // total


def _window(low: float, high: float, size: int) -> range:
    """The pixels that an interval touches, within the picture."""
    return range(max(0, int(low)), min(size, int(high) + 1))


def _samples(pixels: range) -> np.ndarray:
    """Positions of the samples of a row of pixels."""
    return (np.arange(len(pixels) * SAMPLES) + 0.5) / SAMPLES + pixels.start


def _star(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Four points: a square frame from which four circles are cut."""
    x, y = 1.1 - abs(u), 1.1 - abs(v)
    return (x >= 0.1) & (y >= 0.1) & (x * x + y * y >= 0.9)


def _nowhere(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.zeros(np.broadcast_shapes(u.shape, v.shape), dtype=bool)


def _stripes(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    phase = (v + 4.0) * 1.5
    return (phase - np.floor(phase) < 0.5) | _nowhere(u, v)


def _spots(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    x, y = u * 1.5 + 6.5, v * 1.5 + 6.5
    x, y = x - np.floor(x) - 0.5, y - np.floor(y) - 0.5
    return x * x + y * y < 0.09


#: What lies inside, for coordinates (u, v) in radii from the object's centre.
_SHAPES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "circle": lambda u, v: u * u + v * v <= 1.0,
    "square": lambda u, v: np.maximum(abs(u), abs(v)) <= 0.9,
    "triangle": lambda u, v: (v <= 0.85) & (2.0 * abs(u) - v <= 1.0),
    "cross": lambda u, v: (np.minimum(abs(u), abs(v)) <= 0.34) & (np.maximum(abs(u), abs(v)) <= 1.0),
    "ring": lambda u, v: (u * u + v * v <= 1.0) & (u * u + v * v >= 0.25),
    "star": _star,
}
_TEXTURES = {"plain": _nowhere, "striped": _stripes, "spotted": _spots}
