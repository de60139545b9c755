"""Images that lie in arrays: pixels (I, 3, S, S), and region features of a ragged number per image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from PIL import Image

from harness.fragments import Fragments


class ArrayImages:
    """Images whose pixels and region features are arrays (usually memory-mapped).

    Args:
        pixels: (I, 3, S, S) uint8, RGB.
        regions: (I, R, D) float32, padded.
        counts: (I,) the number of real regions of each image, at least 1; they come first.
    """

    def __init__(self, pixels: np.ndarray, regions: np.ndarray, counts: np.ndarray):
        self.inputs: frozenset[Literal["pixels", "regions"]] = frozenset(("pixels", "regions"))
        self.region_width: int = regions.shape[2]
        self.dtype: str = regions.dtype.name  #: of the region features, as stored
        self._pixels, self._regions, self._counts = pixels, regions, counts

    def __len__(self) -> int:
        return len(self._pixels)

    def pixels(self, indices: Sequence[int] | np.ndarray, size: int) -> np.ndarray:
        """(n, 3, size, size) uint8, RGB; resized bicubically where `size` is not the stored one."""
        block = np.asarray(self._pixels[np.asarray(indices, dtype=np.int64)])
        if size == block.shape[-1]:
            return block
        return np.stack([to_pixels(Image.fromarray(np.moveaxis(image, 0, -1)), size) for image in block])

    def regions(self, indices: Sequence[int] | np.ndarray) -> Fragments:
        """Region features (n, R, region_width), R the largest number of regions among these images."""
        rows = np.asarray(indices, dtype=np.int64)
        counts = self._counts[rows]
        longest = int(counts.max(initial=1))
        features = torch.from_numpy(np.array(self._regions[rows, :longest]))
        return Fragments(features, torch.from_numpy(np.arange(longest) < counts[:, None]))


def to_pixels(image: Image.Image, size: int) -> np.ndarray:
    """(3, size, size) uint8 from an RGB image, plainly resized (bicubic, aspect ratio not kept), no crop."""
    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BICUBIC)
    return np.moveaxis(np.asarray(image), -1, 0)
