"""Boxes in a picture: how much of a fragment's place lies in a target, and whether its centre does.

Boxes are left, top, right, bottom in fractions of the picture's width and height.

Shape letters: N words, R fragments of an image, K boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from harness.datasets.images import WHOLE, Box

#: Rectangles of a target at most: 100 boxes that all cross make about 40,000.
MOST_RECTANGLES = 50_000


class Places(NamedTuple):
    """Where the fragments of some pictures lie.

    Args:
        boxes: (N, R, 4) float64. A fragment that stands for the whole picture, such as [CLS], has the whole picture.
        placed: (N, R) bool, False = it stands for the whole picture, or is padding.
    """

    boxes: np.ndarray
    placed: np.ndarray


def places_of(pictures: Sequence[Sequence[Box | None]]) -> Places:
    """The places of the fragments of N pictures, padded to the largest number.

    Args:
        pictures: per picture its fragments' boxes; None = the fragment stands for the whole picture.

    >>> places = places_of([[None, (0.0, 0.0, 0.5, 1.0)]])
    >>> places.boxes[0].tolist(), places.placed[0].tolist()
    ([[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.5, 1.0]], [False, True])
    """
    most = max((len(boxes) for boxes in pictures), default=0)
    boxes = np.tile(np.asarray(WHOLE), (len(pictures), most, 1))
    placed = np.zeros((len(pictures), most), dtype=bool)
    for row, own in enumerate(pictures):
        for column, box in enumerate(own):
            if box is not None:
                boxes[row, column], placed[row, column] = box, True
    return Places(boxes, placed)


def apart(boxes: np.ndarray) -> np.ndarray:
    """Rectangles that cover what some boxes cover, and touch in edges only, so that their areas add up.

    >>> apart(np.array([[0.0, 0.0, 0.5, 1.0], [0.25, 0.0, 1.0, 1.0]])).tolist()
    [[0.0, 0.0, 0.25, 1.0], [0.25, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0]]

    Args:
        boxes: (K, 4).

    Raises:
        ValueError: they cross so often that more than `MOST_RECTANGLES` would be needed.
    """
    if len(boxes) == 1:
        return boxes
    across, down = np.unique(boxes[:, [0, 2]]), np.unique(boxes[:, [1, 3]])
    if len(across) * len(down) > MOST_RECTANGLES:
        raise ValueError(f"{len(boxes):,} boxes of one target")
    left, top, right, bottom = boxes.T[:, :, None]
    columns = (left <= across[:-1]) & (across[1:] <= right)  # (K, cells across)
    rows = (top <= down[:-1]) & (down[1:] <= bottom)
    row, column = np.nonzero((rows[:, :, None] & columns[:, None]).any(0))
    return np.stack([across[column], down[row], across[column + 1], down[row + 1]], axis=1)


def padded(targets: Sequence[np.ndarray]) -> np.ndarray:
    """(N, K, 4): the rectangles of N targets; padding has no area and lies outside every picture."""
    most = max((len(target) for target in targets), default=0)
    found = np.full((len(targets), most, 4), -1.0)
    for row, target in enumerate(targets):
        found[row, : len(target)] = target
    return found


def overlaps(places: Places, targets: np.ndarray) -> np.ndarray:
    """(N, R) float64: which share of each fragment's place lies in the target, 0 to 1.

    Args:
        places: of the fragments of N words' pictures.
        targets: (N, K, 4) rectangles of each word's target that touch in edges only, see `apart`.
    """
    boxes = places.boxes
    areas = np.prod(boxes[..., 2:] - boxes[..., :2], axis=-1)
    common = np.zeros(areas.shape)
    for rectangle in np.moveaxis(targets, 1, 0)[:, :, None]:  # (N, 1, 4)
        extent = np.minimum(boxes[..., 2:], rectangle[..., 2:]) - np.maximum(boxes[..., :2], rectangle[..., :2])
        common += np.prod(np.clip(extent, 0, None), axis=-1)
    # The sum of many rectangles may exceed the whole by rounding.
    return np.clip(common / np.where(areas > 0, areas, 1), 0, 1)


def centres_inside(places: Places, targets: np.ndarray) -> np.ndarray:
    """(N, R) bool: whether each fragment's centre lies in the target, edges included.

    A fragment that stands for the whole picture points at no place, and so is never inside. Arguments as `overlaps`.
    """
    centres = (places.boxes[..., :2] + places.boxes[..., 2:]) / 2
    inside = np.zeros(places.placed.shape, dtype=bool)
    for rectangle in np.moveaxis(targets, 1, 0)[:, :, None]:
        inside |= ((rectangle[..., :2] <= centres) & (centres <= rectangle[..., 2:])).all(-1)
    return inside & places.placed
