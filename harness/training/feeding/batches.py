"""A batch as a training step takes it, and how it is read from a split.

Shape letters: B pairs, N distinct images of them, S side in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harness.backbones.base import ImageEncoder
from harness.datasets.base import Split
from harness.fragments import Fragments
from harness.scoring.inputs import image_batch


@dataclass(frozen=True, eq=False)
class Batch:
    """Pairs of an image and a caption; an image that several of them share is there once.

    Args:
        captions: (B,) int64, rows of the captions.
        image_rows: (B,) int64, the image row of each caption.
        places: (B,) int64, where among `images` the image of each caption is.
        images: pixels (N, 3, S, S) uint8, or region features or a frozen tower's outputs.
        texts: what is stored of a frozen text tower (B items); None = the captions have to be tokenised.
    """

    captions: np.ndarray
    image_rows: np.ndarray
    places: np.ndarray
    images: Tensor | Fragments
    texts: Fragments | None


class Reader:
    """Reads batches of a split.

    Args:
        split: to learn from.
        encoder: decides the form of the images.
    """

    def __init__(self, split: Split, encoder: ImageEncoder):
        self._split, self._encoder = split, encoder

    def read(self, captions: np.ndarray) -> Batch:
        """The batch of some captions (B,), given by their rows."""
        image_rows = self._split.caption_image[captions]
        distinct, places = np.unique(image_rows, return_inverse=True)
        stored = self._split.stored_texts
        return Batch(
            captions,
            image_rows,
            places,
            image_batch(self._split, self._encoder, distinct),
            None if stored is None else stored.read(stored.rows[captions]),
        )


def on_device(rows: np.ndarray, device: torch.device) -> Tensor:
    """Rows as a tensor on a device."""
    return torch.from_numpy(rows).to(device)
