"""From a split to the batches that encoders take, and from batches to fragments of a whole split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from harness.backbones.base import ImageEncoder
from harness.datasets.base import Split
from harness.errors import InvalidDataset
from harness.fragments import Fragments
from harness.scorer import Scorer


def image_batch(split: Split, encoder: ImageEncoder, rows: Sequence[int] | np.ndarray) -> Tensor | Fragments:
    """The images at `rows` in the form that the encoder takes.

    Returns:
        uint8 pixels (n, 3, S, S), or raw region features as `Fragments`.

    Raises:
        InvalidDataset: the dataset has no such form.
    """
    if encoder.input not in split.images.inputs:
        raise InvalidDataset(
            f"image backbone {type(encoder).__name__} takes {encoder.input}, but this dataset offers "
            f"{' and '.join(sorted(split.images.inputs))} only; choose another image backbone"
        )
    if encoder.input == "regions":
        return split.images.regions(rows)
    return torch.from_numpy(np.ascontiguousarray(split.images.pixels(rows, encoder.image_size)))


@torch.no_grad()
def encode_split(scorer: Scorer, split: Split, batch_size: int = 256) -> tuple[Fragments, Fragments]:
    """Fragments of all images and all captions of a split, on the scorer's device.

    The scorer is put in evaluation mode for it and left in the mode it came in.

    Args:
        scorer: with both encoders.
        split: I images, T captions.
        batch_size: items encoded at once.

    Returns:
        Images (I, R, D) and captions (T, W, D).

    Raises:
        CannotEncode: the scorer has no encoders.
        InvalidFragments: an encoder returned features that are not finite.
    """
    image_encoder, text_encoder = scorer.encoders
    training = scorer.training
    scorer.eval()
    try:
        device = scorer.device
        images = [
            scorer.encode_images(image_batch(split, image_encoder, rows).to(device))
            for rows in _chunks(len(split.images), batch_size)
        ]
        tokens = text_encoder.tokenizer(split.captions)
        # Captions of one length beside each other: less padding to run through the encoder.
        order = torch.argsort(tokens.lengths, stable=True)
        texts = Fragments.cat(
            [scorer.encode_texts(tokens[order[rows]].to(device)) for rows in _chunks(len(tokens), batch_size)]
        )
        return Fragments.cat(images), texts[torch.argsort(order).to(device)]
    finally:
        scorer.train(training)


def _chunks(count: int, size: int) -> Iterator[np.ndarray]:
    for start in range(0, count, size):
        yield np.arange(start, min(start + size, count))
