"""Perturbations of pictures at five severities.

The amounts are those of the benchmarks that made the five severities usual: ImageNet-C for pictures of 224 px, and Tiny
ImageNet-C by the same authors for pictures of 64 px, where the same noise or compression destroys more. The amount for a
picture follows from its shorter side: interpolated in the side's logarithm between 64 and 224 px, and constant outside.

Randomness is the same at every severity of a picture: severity 3 is severity 2's noise made stronger, or its bar made larger.

Source: Hendrycks & Dietterich, Benchmarking Neural Network Robustness to Common Corruptions and Perturbations, ICLR 2019, with
the amounts of the authors' code (`make_imagenet_c.py`, `make_tinyimagenet_c.py`). Differs: pictures keep their aspect ratio
and are not cropped, values are rounded and not cut off, and nothing is saved as a JPEG of quality 85 afterwards. Occlusion is
not in those benchmarks; it is a bar as in Zhong et al., Random Erasing Data Augmentation, AAAI 2020, filled with grey.

Shape letters: H height, W width.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage

from harness.robustness.perturbations.severities import SEVERITIES

#: Raise it when a perturbation makes other pixels than before.
GENERATOR = 1
#: A larger picture is reduced to this shorter side before it is perturbed, as ImageNet-C does.
LARGEST_SIDE = 256
#: Sides of the pictures that the two columns of amounts are for.
SIDES = (64, 224)

_GREY = 128
_ASPECT = 2.0  # a bar is at most so many times as wide as high, relative to the picture, or as high as wide

#: (H, W, 3) uint8, the amount, and draws -> (H, W, 3) uint8.
Change = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class ImagePerturbation:
    """One kind of damage.

    Args:
        title: in a few words, for tables.
        unit: what an amount is.
        small, large: amounts at severities 1 to 5 for pictures of 64 and of 224 px.
        change: applies an amount.
    """

    title: str
    unit: str
    small: Sequence[float]
    large: Sequence[float]
    change: Change

    def amount(self, severity: int, side: int) -> float:
        """The amount for a picture.

        >>> IMAGE_PERTURBATIONS["noise"].amount(5, 64), IMAGE_PERTURBATIONS["noise"].amount(5, 500)
        (0.18, 0.38)

        Args:
            severity: 1 to 5.
            side: its shorter side in pixels.
        """
        low, high = self.small[severity - 1], self.large[severity - 1]
        return float(np.interp(math.log(side), np.log(SIDES), (low, high)))

    def apply(self, pixels: np.ndarray, severity: int, draws: np.random.Generator) -> np.ndarray:
        """A perturbed picture (H, W, 3) uint8; the same one at severity 0.

        Args:
            pixels: (H, W, 3) uint8, RGB.
            severity: 0 to 5.
            draws: the picture's own; give equal ones to every severity.
        """
        assert severity in (0, *SEVERITIES)
        if severity == 0:
            return pixels
        return self.change(pixels, self.amount(severity, min(pixels.shape[:2])), draws)


def reduced(image: Image.Image) -> np.ndarray:
    """Pixels (H, W, 3) uint8 of a picture whose shorter side has at most `LARGEST_SIDE` px, resized bicubically.

    >>> reduced(Image.new("L", (1024, 512))).shape, reduced(Image.new("RGB", (64, 40))).shape
    ((256, 512, 3), (40, 64, 3))
    """
    image = image.convert("RGB")
    shorter = min(image.size)
    if shorter > LARGEST_SIDE:
        width, height = (round(side * LARGEST_SIDE / shorter) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(image)


def noise(pixels: np.ndarray, amount: float, draws: np.random.Generator) -> np.ndarray:
    """Independent Gaussian noise on every value, with a standard deviation of `amount` times the range."""
    return _rounded(pixels + np.float32(255 * amount) * draws.standard_normal(pixels.shape, np.float32))


def blur(pixels: np.ndarray, amount: float, draws: np.random.Generator) -> np.ndarray:
    """A Gaussian blur with a standard deviation of `amount` times the shorter side; beyond the edge, the edge goes on."""
    sigma = amount * min(pixels.shape[:2])
    return _rounded(ndimage.gaussian_filter(pixels.astype(np.float32), (sigma, sigma, 0), mode="nearest", truncate=4.0))


def jpeg(pixels: np.ndarray, amount: float, draws: np.random.Generator) -> np.ndarray:
    """JPEG with quality `amount` of libjpeg, colours at half the resolution."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=round(amount), subsampling="4:2:0")
    return np.asarray(Image.open(file))


def brightness(pixels: np.ndarray, amount: float, draws: np.random.Generator) -> np.ndarray:
    """`amount` times the range more value (V of HSV), at most the whole range; hue and saturation stay."""
    red, green, blue = np.moveaxis(pixels, 2, 0)
    value = np.maximum(np.maximum(red, green), blue)[..., None].astype(np.float32)
    brighter = np.minimum(value + np.float32(255 * amount), 255)
    # Black has no hue: it becomes grey.
    return _rounded(np.where(value > 0, pixels * (brighter / np.maximum(value, 1)), brighter))


def contrast(pixels: np.ndarray, amount: float, draws: np.random.Generator) -> np.ndarray:
    """Each value at `amount` times its distance from the mean of its colour channel in this picture."""
    mean = pixels.reshape(-1, 3).mean(axis=0, dtype=np.float64)
    return _rounded(pixels * np.float32(amount) + (mean * (1 - amount)).astype(np.float32))


def occlusion(pixels: np.ndarray, amount: float, draws: np.random.Generator) -> np.ndarray:
    """A grey bar over `amount` of the area, of a drawn aspect ratio and place; a larger one covers a smaller one."""
    height, width = pixels.shape[:2]
    aspect = _ASPECT ** draws.uniform(-1, 1)
    across, down = draws.uniform(), draws.uniform()
    left, right = _span(width, math.sqrt(amount * aspect), across)
    top, bottom = _span(height, math.sqrt(amount / aspect), down)
    covered = pixels.copy()
    covered[top:bottom, left:right] = _GREY
    return covered


def resize(pixels: np.ndarray, amount: float, draws: np.random.Generator) -> np.ndarray:
    """`amount` of the width and height, by means over areas, and back to the size that it had: large square pixels."""
    image = Image.fromarray(pixels)
    width, height = (max(1, int(side * amount)) for side in image.size)
    return np.asarray(image.resize((width, height), Image.Resampling.BOX).resize(image.size, Image.Resampling.BOX))


def _span(length: int, share: float, place: float) -> tuple[int, int]:
    """Begin and end of a share of a length, which lies inside it wherever it is placed (0 = at its begin, 1 = at its end)."""
    begin = place * (1 - share) * length
    return round(begin), round(begin + share * length)


def _rounded(values: np.ndarray) -> np.ndarray:
    """Floating-point values, which are overwritten, as uint8."""
    return np.rint(np.clip(values, 0, 255, out=values), out=values).astype(np.uint8)


def _of_side(side: int, *lengths: float) -> tuple[float, ...]:
    return tuple(length / side for length in lengths)


#: By name, in the order of tables.
IMAGE_PERTURBATIONS = {
    "noise": ImagePerturbation(
        "Gaussian noise", "standard deviation, of the range of values", (0.04, 0.08, 0.12, 0.15, 0.18),
        (0.08, 0.12, 0.18, 0.26, 0.38), noise,
    ),
    "blur": ImagePerturbation(
        "Gaussian blur", "standard deviation, of the shorter side", _of_side(64, 0.5, 0.75, 1, 1.25, 1.5),
        _of_side(224, 1, 2, 3, 4, 6), blur,
    ),
    "jpeg": ImagePerturbation("JPEG", "quality", (65, 58, 50, 40, 25), (25, 18, 15, 10, 7), jpeg),
    "brightness": ImagePerturbation(
        "brightness", "added value, of its range", (0.1, 0.2, 0.3, 0.4, 0.5), (0.1, 0.2, 0.3, 0.4, 0.5), brightness
    ),
    "contrast": ImagePerturbation(
        "low contrast", "contrast that is left", (0.4, 0.3, 0.2, 0.1, 0.05), (0.4, 0.3, 0.2, 0.1, 0.05), contrast
    ),
    "occlusion": ImagePerturbation(
        "occlusion", "covered area", (0.1, 0.2, 0.3, 0.4, 0.5), (0.1, 0.2, 0.3, 0.4, 0.5), occlusion
    ),
    "resize": ImagePerturbation(
        "low resolution", "resolution that is left", (0.9, 0.8, 0.7, 0.6, 0.5), (0.6, 0.5, 0.4, 0.3, 0.25), resize
    ),
}  # fmt: skip
