"""Images that lie in arrays: pixels (I, 3, S, S), and region features of a ragged number per image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image

from harness.datasets.base import Resize

if TYPE_CHECKING:
    from harness.fragments import Fragments

#: Left, top, right, bottom of a part of a picture, in fractions of its width and height.
Box = tuple[float, float, float, float]
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


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

    def pixels(self, indices: Sequence[int] | np.ndarray, size: int, resize: Resize = "plain") -> np.ndarray:
        """(n, 3, size, size) uint8, RGB; resized bicubically where `size` is not the stored one (a square: no crop)."""
        block = np.asarray(self._pixels[np.asarray(indices, dtype=np.int64)])
        if size == block.shape[-1]:
            return block
        return np.stack([to_pixels(Image.fromarray(np.moveaxis(image, 0, -1)), size) for image in block])

    def original(self, row: int) -> Image.Image:
        """One image at the size that is stored, RGB."""
        return Image.fromarray(np.moveaxis(self._pixels[row], 0, -1))

    def regions(self, indices: Sequence[int] | np.ndarray) -> Fragments:
        """Region features (n, R, region_width), R the largest number of regions among these images."""
        from harness.datasets.padded import padded  # here, not above: captions and pictures need no torch

        rows = np.asarray(indices, dtype=np.int64)
        counts = self._counts[rows]
        return padded(np.array(self._regions[rows, : int(counts.max(initial=1))]), counts)


def to_pixels(image: Image.Image, size: int, resize: Resize = "plain") -> np.ndarray:
    """(3, size, size) uint8 from an RGB image, resized bicubically.

    Args:
        image: of any size.
        size: side of the square.
        resize: `plain` changes the aspect ratio; `crop` resizes the shorter side and keeps the middle, as torchvision's
            `Resize(size)` and `CenterCrop(size)` do.

    >>> to_pixels(Image.new("RGB", (40, 20)), 10, "crop").shape
    (3, 10, 10)
    """
    if image.size != (size, size):
        image = _RESIZED[resize](image, size)
    return np.moveaxis(np.asarray(image), -1, 0)


def _plain(image: Image.Image, size: int) -> Image.Image:
    return image.resize((size, size), Image.Resampling.BICUBIC)


def _cropped(image: Image.Image, size: int) -> Image.Image:
    width, height, left, top = _middle(*image.size, size)
    return image.resize((width, height), Image.Resampling.BICUBIC).crop((left, top, left + size, top + size))


def _middle(width: int, height: int, size: int) -> tuple[int, int, int, int]:
    """Width and height of a picture whose shorter side is resized to `size`, and the left and top of its middle."""
    shorter = min(width, height)
    width, height = (int(size * side / shorter) for side in (width, height))  # torchvision rounds down here ...
    return width, height, round((width - size) / 2), round((height - size) / 2)  # ... and to even here


_RESIZED: dict[Resize, Callable[[Image.Image, int], Image.Image]] = {"plain": _plain, "crop": _cropped}


def seen_part(width: int, height: int, size: int, resize: Resize = "plain") -> Box:
    """The part of a picture that is in the pixels which `to_pixels` makes of it.

    >>> seen_part(400, 200, 100), seen_part(400, 200, 100, "crop")
    ((0.0, 0.0, 1.0, 1.0), (0.25, 0.0, 0.75, 1.0))

    Args:
        width, height: of the picture, in any unit.
        size, resize: as of `to_pixels`.
    """
    if resize == "plain":
        return WHOLE
    across, down, left, top = _middle(width, height, size)
    return left / across, top / down, (left + size) / across, (top + size) / down
