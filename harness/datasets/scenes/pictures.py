"""Generated pictures as the images of a split, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image

from harness.datasets.base import Images, Resize
from harness.datasets.images import ArrayImages

if TYPE_CHECKING:
    from harness.fragments import Fragments


def in_memory(pictures: Sequence[tuple[np.ndarray, np.ndarray]]) -> ArrayImages:
    """Images from pictures, at least one.

    Args:
        pictures: of each its pixels (S, S, 3) uint8 and its region features (R, D) float32, R differing.

    >>> images = in_memory([(np.zeros((8, 8, 3), np.uint8), np.zeros((r, 4), np.float32)) for r in (1, 3)])
    >>> images.regions([0, 1]).mask.tolist()
    [[True, False, False], [True, True, True]]
    """
    pixels = np.stack([np.moveaxis(image, -1, 0) for image, _ in pictures])
    counts = np.array([len(features) for _, features in pictures])
    regions = np.stack([np.pad(features, ((0, counts.max() - len(features)), (0, 0))) for _, features in pictures])
    return ArrayImages(pixels, regions, counts)


class TwoImages:
    """The images of one set and after them those of another, which has the same forms.

    Args:
        first, second: the sets.
    """

    def __init__(self, first: Images, second: Images):
        self.inputs: frozenset[Literal["pixels", "regions"]] = first.inputs
        self.region_width: int = first.region_width
        self._first, self._second = first, second

    def __len__(self) -> int:
        return len(self._first) + len(self._second)

    def pixels(self, indices: Sequence[int] | np.ndarray, size: int, resize: Resize = "plain") -> np.ndarray:
        """(n, 3, size, size) uint8, RGB."""
        order, first, second = self._parts(indices)
        parts = (self._first.pixels(first, size, resize), self._second.pixels(second, size, resize))
        return np.concatenate([part for part in parts if len(part)] or parts[:1])[order]

    def original(self, row: int) -> Image.Image:
        """One image at the size that it has, RGB."""
        offset = len(self._first)
        return self._first.original(row) if row < offset else self._second.original(row - offset)

    def regions(self, indices: Sequence[int] | np.ndarray) -> Fragments:
        """Raw region features (n, R, region_width)."""
        from harness.datasets.padded import in_order  # here, not above: captions and pictures need no torch

        order, first, second = self._parts(indices)
        return in_order(self._first.regions(first), self._second.regions(second), order)

    def _parts(self, indices: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where each wanted image lies among those of the first set and then those of the second; the rows of both."""
        rows = np.asarray(indices, dtype=np.int64)
        later = rows >= len(self._first)
        order = np.where(later, (~later).sum() + later.cumsum(), (~later).cumsum()) - 1
        return order, rows[~later], rows[later] - len(self._first)
