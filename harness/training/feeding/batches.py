"""A batch as a training step takes it, and how it is read from a split.

Where several processes train together, each reads its part of the images and of the captions, and knows the whole batch.

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
from harness.training.parts import Part

WHOLE = Part()


@dataclass(frozen=True, eq=False)
class Batch:
    """Pairs of an image and a caption; an image that several of them share is there once.

    Args:
        captions: (B,) int64, rows of the captions.
        image_rows: (B,) int64, the image row of each caption.
        places: (B,) int64, where among the distinct images that of each caption is.
        distinct: N, how many distinct images there are.
        part: of the distinct images and of the captions which this process reads.
        images: of this part: pixels (N, 3, S, S) uint8, or region features or a frozen tower's outputs.
        texts: of this part: what is stored of a frozen text tower (B items); None = the captions have to be tokenised.
    """

    captions: np.ndarray
    image_rows: np.ndarray
    places: np.ndarray
    distinct: int
    part: Part
    images: Tensor | Fragments
    texts: Fragments | None

    @property
    def own_captions(self) -> np.ndarray:
        """Rows of the captions of this process's part."""
        return self.captions[self.part.taken(len(self.captions))]


class Reader:
    """Reads batches of a split.

    Args:
        split: to learn from.
        encoder: decides the form of the images.
        part: of each batch which is read.
    """

    def __init__(self, split: Split, encoder: ImageEncoder, part: Part = WHOLE):
        self._split, self._encoder, self._part = split, encoder, part

    def read(self, captions: np.ndarray) -> Batch:
        """The batch of some captions (B,), given by their rows."""
        image_rows = self._split.caption_image[captions]
        distinct, places = np.unique(image_rows, return_inverse=True)
        stored, taken = self._split.stored_texts, self._part.taken
        return Batch(
            captions,
            image_rows,
            places,
            len(distinct),
            self._part,
            image_batch(self._split, self._encoder, distinct[taken(len(distinct))]),
            None if stored is None else stored.read(stored.rows[captions[taken(len(captions))]]),
        )


def on_device(rows: np.ndarray, device: torch.device) -> Tensor:
    """Rows as a tensor on a device."""
    return torch.from_numpy(rows).to(device)
