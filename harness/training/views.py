"""Random views of training images: mirrored, and cropped from the image at its own size.

Every image has a stream of draws of its own in every epoch, so a view does not depend on which process makes it, or which
images it is made beside.

Shape letters: N images, S side in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image

from harness.datasets.base import Images, Resize
from harness.datasets.images import to_pixels
from harness.datasets.parallel import each
from harness.errors import InvalidSpec

CROP_AREA = (0.6, 1.0)  #: of the image, uniform
CROP_RATIO = (3 / 4, 4 / 3)  #: width over height, log-uniform
TRIES = 10  #: boxes that are drawn until one fits
_STREAM = 3  # tells these draws from the other streams of an epoch, whose seeds end with 0, 1 and 2


class Draws(Protocol):
    """What views need of a generator; NumPy's has it."""

    def uniform(self, low: float, high: float) -> float:
        """From low to high."""
        ...

    def integers(self, low: int, high: int) -> int:
        """From low to high - 1."""
        ...


@dataclass(frozen=True)
class Form:
    """What an encoder takes of an image, and what decides its random views.

    Args:
        size: side of the pixels.
        resize: how an image that is not cropped gets that side.
        seed: of the training.
    """

    size: int
    resize: Resize
    seed: int

    def draws(self, epoch: int, row: int) -> np.random.Generator:
        """The stream of an image in an epoch."""
        return np.random.default_rng([self.seed, epoch, row, _STREAM])


@dataclass(frozen=True)
class View:
    """A kind of `training.image_augmentation`.

    Args:
        of_originals: whether it reads images at their own size, and not the squares that encoders take.
        read: pixels (N, 3, S, S) uint8 of the images in some rows, in an epoch.
    """

    of_originals: bool
    read: Callable[[Images, np.ndarray, Form, int], np.ndarray]


def view_of(kind: str) -> View:
    """The views that a kind of augmentation makes.

    Args:
        kind: "none"; "flip", half of the images mirrored left to right; "crop_flip", also a crop of 60 to 100 % of the
            area of the image at its own size, of a ratio of 3:4 to 4:3, resized to the square.

    Raises:
        InvalidSpec: another kind.

    Source:
        crop_flip: the training transform of LAPS, torchvision's `RandomResizedCrop` (scale 0.6 to 1, bicubic) and
        `RandomHorizontalFlip`.
    """
    if kind not in VIEWS:
        raise InvalidSpec(f"unknown image augmentation '{kind}'; valid: {', '.join(VIEWS)}")
    return VIEWS[kind]


def crop_box(width: int, height: int, draws: Draws) -> tuple[int, int, int, int]:
    """A random crop of an image as left, top, right and bottom, in pixels.

    Where none of `TRIES` boxes fits, as in a panorama, it is the middle, as much of it as the ratio allows.

    Source:
        `RandomResizedCrop.get_params` of torchvision 0.29, with the same draws in the same order.
    """
    area = width * height
    low, high = (math.log(ratio) for ratio in CROP_RATIO)
    for _ in range(TRIES):
        target = area * draws.uniform(*CROP_AREA)
        ratio = math.exp(draws.uniform(low, high))
        wide, tall = round(math.sqrt(target * ratio)), round(math.sqrt(target / ratio))
        if 0 < wide <= width and 0 < tall <= height:
            top = int(draws.integers(0, height - tall + 1))
            left = int(draws.integers(0, width - wide + 1))
            return left, top, left + wide, top + tall
    wide, tall = _widest(width, height)
    left, top = (width - wide) // 2, (height - tall) // 2
    return left, top, left + wide, top + tall


def _widest(width: int, height: int) -> tuple[int, int]:
    """Width and height of the largest box of a ratio that is allowed."""
    narrowest, widest = CROP_RATIO
    if width / height < narrowest:
        return width, round(width / narrowest)
    if width / height > widest:
        return round(height * widest), height
    return width, height


def cropped(image: Image.Image, box: tuple[int, int, int, int], size: int) -> np.ndarray:
    """A part of an RGB image as pixels (3, S, S) uint8, resized bicubically; nothing beyond the box shows in it."""
    return to_pixels(image.crop(box), size)


def _is_mirrored(draws: Draws) -> bool:
    return draws.uniform(0, 1) < 0.5


def _squares(images: Images, rows: np.ndarray, form: Form, epoch: int) -> np.ndarray:
    return images.pixels(rows, form.size, form.resize)


def _mirrored_squares(images: Images, rows: np.ndarray, form: Form, epoch: int) -> np.ndarray:
    pixels = images.pixels(rows, form.size, form.resize)
    mirrored = np.array([_is_mirrored(form.draws(epoch, int(row))) for row in rows])
    return np.where(mirrored[:, None, None, None], pixels[..., ::-1], pixels)


def _mirrored_crops(images: Images, rows: np.ndarray, form: Form, epoch: int) -> np.ndarray:
    def view(row: np.integer) -> np.ndarray:
        image, draws = images.original(int(row)), form.draws(epoch, int(row))
        pixels = cropped(image, crop_box(*image.size, draws), form.size)
        return pixels[..., ::-1] if _is_mirrored(draws) else pixels

    return np.stack(each(view, rows))


VIEWS = {
    "none": View(False, _squares),
    "flip": View(False, _mirrored_squares),
    "crop_flip": View(True, _mirrored_crops),
}
