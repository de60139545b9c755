"""Pictures with a map over them: grey where a method does not look, amber where it does."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from harness.records.cards import Box

#: Amber: told from every grey by its hue, also by the colour-blind, and lighter than the picture under it.
HEAT = (245, 158, 11)
#: Share of the amber at the largest weight: the picture stays visible below it.
OPACITY = 0.75
#: Longest side of an overlay in pixels, and side of a numbered cell where there is no picture to draw on.
LONGEST, CELL = 256, 32
_COLUMNS = 8
_PAPER, _LINE, _INK = (245, 246, 248), (170, 177, 186), (29, 35, 43)
_QUALITY = 72


def overlay(picture: bytes | None, weights: Sequence[float], boxes: Sequence[Box | None] | None) -> bytes:
    """A map as a picture.

    Args:
        picture: a JPEG to draw on; None = numbered cells.
        weights: (R,) in [0, 1]. The largest is drawn at full colour, 0 not at all.
        boxes: (R,) place of each fragment; None = numbered cells.

    Returns:
        A JPEG of at most `LONGEST` pixels a side; longer where numbered cells need it.
    """
    largest = max(weights, default=0.0)
    shares = [weight / largest if largest else 0.0 for weight in weights]
    if picture is None or boxes is None or not any(boxes):
        return _jpeg(_numbered(shares))
    return _jpeg(_heated(Image.open(io.BytesIO(picture)).convert("RGB"), shares, boxes))


def _heated(image: Image.Image, shares: Sequence[float], boxes: Sequence[Box | None]) -> Image.Image:
    image.thumbnail((LONGEST, LONGEST))
    grey = np.repeat(np.asarray(image.convert("L"), dtype=np.float64)[..., None], 3, axis=2)
    height, width = grey.shape[:2]
    alpha = np.zeros((height, width, 1))
    for share, box in zip(shares, boxes, strict=True):
        if box is not None:
            left, top, right, bottom = _pixels(box, width, height)
            part = alpha[top:bottom, left:right]
            np.maximum(part, OPACITY * share, out=part)
    return Image.fromarray((grey * (1 - alpha) + np.array(HEAT) * alpha).round().astype(np.uint8))


def _pixels(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    return round(box[0] * width), round(box[1] * height), round(box[2] * width), round(box[3] * height)


def _numbered(shares: Sequence[float]) -> Image.Image:
    """Fragments without a place: cells in their order, with their numbers from 1."""
    rows = -(-len(shares) // _COLUMNS)
    columns = min(_COLUMNS, len(shares))
    image = Image.new("RGB", (columns * CELL, rows * CELL), _PAPER)
    draw = ImageDraw.Draw(image)
    for number, share in enumerate(shares):
        top, left = (part * CELL for part in divmod(number, _COLUMNS))
        colour = tuple(round(p + (h - p) * OPACITY * share) for p, h in zip(_PAPER, HEAT, strict=True))
        draw.rectangle((left, top, left + CELL - 1, top + CELL - 1), fill=colour, outline=_LINE)
        draw.text((left + CELL / 2, top + CELL / 2), str(number + 1), fill=_INK, anchor="mm")
    return image


def _jpeg(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()
