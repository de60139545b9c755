"""What is asked: words of a caption that name something, and where it lies in the picture."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Target(NamedTuple):
    """Words of a caption, and what they name in its picture.

    Args:
        caption: column of the split.
        span: where the words stand in the plain form of the caption, see `harness.grounding.texts`.
        role: what they say: colour, shape, people, ...
        boxes: (K, 4) float64, fractions of the picture, touching in edges only; see `harness.grounding.boxes.apart`.
    """

    caption: int
    span: tuple[int, int]
    role: str
    boxes: np.ndarray
