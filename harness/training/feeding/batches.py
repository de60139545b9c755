"""A batch as a training step takes it, and how it is read from a split.

Where several processes train together, each reads its part of the images and of the captions, and knows the whole batch.

Shape letters: B pairs, N distinct images of them, S side in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, overload

import numpy as np
import torch
from torch import Tensor

from harness.backbones.base import ImageEncoder
from harness.datasets.base import Images, Split
from harness.fragments import Fragments
from harness.scoring.inputs import require_input
from harness.training.parts import Part
from harness.training.views import Form, view_of

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
        cpu_seconds: that a loader process spent since its last batch; 0 where there is none.
    """

    captions: np.ndarray
    image_rows: np.ndarray
    places: np.ndarray
    distinct: int
    part: Part
    images: Tensor | Fragments
    texts: Fragments | None
    cpu_seconds: float = 0.0

    @property
    def own_captions(self) -> np.ndarray:
        """Rows of the captions of this process's part."""
        return self.captions[self.part.taken(len(self.captions))]

    def pin_memory(self) -> Batch:
        """The same in page-locked memory, which a GPU copies from while it computes."""
        return replace(self, images=_pinned(self.images), texts=None if self.texts is None else _pinned(self.texts))


#: How images are had: copied from memory or a mapped file, decoded to squares, or decoded at their own size and cropped.
Work = Literal["copies", "squares", "originals"]


class Reader:
    """Reads batches of a split; what it holds can be sent to another process.

    Args:
        split: to learn from.
        encoder: decides the form of the images.
        augmentation: the kind of random views, see `harness.training.views`.
        seed: of the training.
        part: of each batch which is read.

    Raises:
        InvalidDataset: the images do not have the form that the encoder takes.
        InvalidSpec: no such augmentation.
    """

    def __init__(self, split: Split, encoder: ImageEncoder, augmentation: str, seed: int, part: Part = WHOLE):
        if split.stored_images is None:
            require_input(split, encoder)
        view_of(augmentation)
        self._images: Images = split.images
        self._stored_images, self._stored_texts = split.stored_images, split.stored_texts
        self._image_of = np.asarray(split.caption_image)
        self._regions = encoder.input == "regions"
        self._form = Form(encoder.image_size, encoder.resize, seed)
        self._augmentation, self._part = augmentation, part

    def read(self, captions: np.ndarray, epoch: int) -> Batch:
        """The batch of some captions (B,), given by their rows, as it is seen in an epoch (0-based)."""
        image_rows = self._image_of[captions]
        distinct, places = np.unique(image_rows, return_inverse=True)
        texts, taken = self._stored_texts, self._part.taken
        return Batch(
            captions,
            image_rows,
            places,
            len(distinct),
            self._part,
            self._read_images(distinct[taken(len(distinct))], epoch),
            None if texts is None else texts.read(texts.rows[captions[taken(len(captions))]]),
        )

    @property
    def work(self) -> Work:
        """What reading the images of a batch takes."""
        if self._stored_images is not None or self._regions:
            return "copies"
        decodes = getattr(self._images, "decodes", None)  # of photographs alone
        if decodes is None:
            return "copies"
        if view_of(self._augmentation).of_originals:
            return "originals"
        return "squares" if decodes(self._form.size, self._form.resize) else "copies"

    @property
    def needed_gib(self) -> float:
        """What the squares of all images would take in the cache."""
        return len(self._images) * 3 * self._form.size**2 / 2**30

    def _read_images(self, rows: np.ndarray, epoch: int) -> Tensor | Fragments:
        if self._stored_images is not None:
            return self._stored_images.read(self._stored_images.rows[rows])
        if self._regions:
            return self._images.regions(rows)
        pixels = view_of(self._augmentation).read(self._images, rows, self._form, epoch)
        return torch.from_numpy(np.ascontiguousarray(pixels))


def on_device(rows: np.ndarray, device: torch.device) -> Tensor:
    """Rows as a tensor on a device."""
    return torch.from_numpy(rows).to(device)


def size_of(batch: Batch) -> int:
    """Bytes of the tensors of a batch."""
    parts = [part for part in (batch.images, batch.texts) if part is not None]
    tensors = [tensor for part in parts for tensor in _tensors(part)]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _tensors(part: Tensor | Fragments) -> list[Tensor]:
    return [part.features, part.mask, *part.extras.values()] if isinstance(part, Fragments) else [part]


@overload
def _pinned(part: Fragments) -> Fragments: ...
@overload
def _pinned(part: Tensor) -> Tensor: ...
def _pinned(part: Tensor | Fragments) -> Tensor | Fragments:
    if not isinstance(part, Fragments):
        return part.pin_memory()
    extras = {name: extra.pin_memory() for name, extra in part.extras.items()}
    return Fragments.unchecked(part.features.pin_memory(), part.mask.pin_memory(), extras)
