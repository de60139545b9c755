"""A part of a split, drawn once for all models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from PIL import Image

from harness.datasets.base import Images, Resize, Split
from harness.fragments import Fragments


class SomeImages:
    """Some images of a split, in the forms that it has.

    Args:
        images: the split's.
        rows: (n,) which of them, in this order.
    """

    def __init__(self, images: Images, rows: np.ndarray):
        self.inputs: frozenset[Literal["pixels", "regions"]] = images.inputs
        self.region_width: int = images.region_width
        self._images, self._rows = images, np.asarray(rows, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._rows)

    def pixels(self, indices: Sequence[int] | np.ndarray, size: int, resize: Resize = "plain") -> np.ndarray:
        """(n, 3, size, size) uint8, RGB."""
        return self._images.pixels(self._rows[np.asarray(indices, dtype=np.int64)], size, resize)

    def original(self, row: int) -> Image.Image:
        """One image at the size that it has, RGB."""
        return self._images.original(int(self._rows[row]))

    def regions(self, indices: Sequence[int] | np.ndarray) -> Fragments:
        """Raw region features (n, R, region_width)."""
        return self._images.regions(self._rows[np.asarray(indices, dtype=np.int64)])


def sample(split: Split, count: int, key: str) -> Split:
    """Some images of a split with all their captions, in the split's order; the split itself if it has no more.

    Args:
        split: I images, T captions.
        count: images to draw.
        key: hexadecimal text that seeds the draw, such as the hash of the data: equal keys give equal samples.
    """
    images = len(split.image_ids)
    if images <= count:
        return split
    rows = np.sort(np.random.default_rng(int(key[:16], 16)).choice(images, count, replace=False))
    place = np.full(images, -1)
    place[rows] = np.arange(count)
    captions = np.flatnonzero(place[split.caption_image] >= 0)
    return Split(
        name=split.name,
        images=SomeImages(split.images, rows),
        image_ids=tuple(split.image_ids[row] for row in rows),
        captions=tuple(split.captions[column] for column in captions),
        caption_ids=tuple(split.caption_ids[column] for column in captions),
        caption_image=place[split.caption_image[captions]].astype(np.int64),
        relevance=None if split.relevance is None else split.relevance[np.ix_(rows, captions)],
    )
