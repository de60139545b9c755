"""A simulated object detector: boxes round most objects and some background, with features of the pixels inside.

Where the boxes lie comes from the scene, as a trained detector would place them; what is in them does not: a box's
feature is a function of its pixels and its coordinates alone. Exact arithmetic, as in `rendering`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from harness.datasets.scenes.rendering import Placed
from harness.datasets.scenes.world import Draws

CROP = 8  #: a box's pixels are resampled to CROP x CROP
FEATURE_WIDTH = CROP * CROP * 3 + 6
_FINE = 3  # samples along a resampled pixel's side
_MISS = 0.04  # probability that an object is not found
_TWICE = 0.2  # probability that an object gets a second box
_JITTER = 0.12  # largest shift of an edge, as a share of the object's side
MOST_FALSE = {"none": 0, "low": 1, "medium": 2, "high": 4}  #: largest number of false positives, by clutter level


def most_regions(objects: int, clutter: str) -> int:
    """The largest number of boxes in a picture of at most `objects` objects."""
    return 2 * objects + MOST_FALSE[clutter]


def detect(placed: Sequence[Placed], clutter: str, draws: Draws, size: int) -> np.ndarray:
    """Boxes of one picture, in random order; at least one.

    Args:
        placed: the objects.
        clutter: its level, which decides the number of false positives.
        draws: for misses, jitter, false positives and order.
        size: side S in pixels.

    Returns:
        (R, 4) float64: left, top, right, bottom in pixels, within the picture.
    """
    boxes = []
    for obj in placed:
        boxes += _found(obj, draws)
    false = draws.below(MOST_FALSE[clutter] + 1)
    if not boxes and not false:
        return np.array([[0.0, 0.0, size, size]])  # nothing found: the whole picture, as detectors do
    boxes += [_anywhere(draws, size) for _ in range(false)]
    return np.clip(np.array([boxes[i] for i in draws.order(len(boxes))]), 0.0, float(size))


def detect_alike(placed: Sequence[Placed], clutter: str, draws: Callable[[int], Draws], size: int) -> np.ndarray:
    """As `detect`, with draws of its own for each object: what is found of one does not depend on the others.

    Args:
        placed: the objects.
        clutter: its level, which decides the number of false positives.
        draws: for what: 0 false positives, 1 the order, 2 and more one object each, in their order.
        size: side S in pixels.
    """
    boxes = [box for number, obj in enumerate(placed) for box in _found(obj, draws(2 + number))]
    others = draws(0)
    boxes += [_anywhere(others, size) for _ in range(others.below(MOST_FALSE[clutter] + 1))]
    if not boxes:
        return np.array([[0.0, 0.0, size, size]])
    return np.clip(np.array([boxes[i] for i in draws(1).order(len(boxes))]), 0.0, float(size))


def _found(obj: Placed, draws: Draws) -> list[tuple[float, float, float, float]]:
    """The boxes of one object: none, one or two."""
    if draws.chance(_MISS):
        return []
    return [_jittered(obj, draws) for _ in range(1 + draws.chance(_TWICE))]


def describe(image: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Features of boxes: the pixels inside, resampled, and where the box lies.

    Args:
        image: (S, S, 3) uint8.
        boxes: (R, 4) left, top, right, bottom in pixels.

    Returns:
        (R, FEATURE_WIDTH) float32 in [-1, 1]: CROP x CROP RGB values, then left, top, right, bottom, width, height.
    """
    size = len(image)
    steps = (np.arange(CROP * _FINE) + 0.5) / (CROP * _FINE)
    columns = _inside(boxes[:, 0, None] + steps * (boxes[:, 2] - boxes[:, 0])[:, None], size)
    rows = _inside(boxes[:, 1, None] + steps * (boxes[:, 3] - boxes[:, 1])[:, None], size)
    samples = image[rows[:, :, None], columns[:, None, :]]  # (R, CROP * FINE, CROP * FINE, 3)
    blocks = samples.reshape(len(boxes), CROP, _FINE, CROP, _FINE, 3)
    crops = blocks.sum(axis=(2, 4), dtype=np.int64) / (255.0 * _FINE * _FINE)
    extent = boxes[:, 2:] - boxes[:, :2]
    where = np.concatenate([boxes, extent], axis=1) / size
    return (np.concatenate([crops.reshape(len(boxes), -1), where], axis=1) * 2.0 - 1.0).astype(np.float32)


def _jittered(obj: Placed, draws: Draws) -> tuple[float, float, float, float]:
    reach = 2.0 * _JITTER * obj.radius
    left, top, right, bottom = (draws.between(-reach, reach) for _ in range(4))
    return obj.x - obj.radius + left, obj.y - obj.radius + top, obj.x + obj.radius + right, obj.y + obj.radius + bottom


def _anywhere(draws: Draws, size: int) -> tuple[float, float, float, float]:
    width, height = draws.between(0.15, 0.5) * size, draws.between(0.15, 0.5) * size
    left, top = draws.between(0, size - width), draws.between(0, size - height)
    return left, top, left + width, top + height


def _inside(positions: np.ndarray, size: int) -> np.ndarray:
    """Positions to pixel indices within the picture."""
    return np.clip(positions.astype(np.int64), 0, size - 1)
