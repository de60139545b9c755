"""From a split to the batches that encoders take, and from batches to fragments of a whole split."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from harness.backbones.base import ImageEncoder
from harness.backbones.words.tokenizers import Tokenizer
from harness.datasets.base import Split
from harness.errors import InvalidDataset
from harness.fragments import Fragments, Tokens
from harness.scorer import Scorer
from harness.scoring.blocks import evaluating, slices
from harness.scoring.distinct import digest


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


def encode_split(scorer: Scorer, split: Split, batch_size: int = 256) -> tuple[Fragments, Fragments]:
    """Fragments of all images and all captions of a split, on the scorer's device.

    The scorer is put in evaluation mode meanwhile. Captions of equal tokens, and images of equal pixels or regions, are
    encoded once and copied: in two batches they would differ in the last bits.

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
    with evaluating(scorer):
        images = _encoded_images(scorer, split, image_encoder, batch_size)
        tokens = _tokens(text_encoder.tokenizer, tuple(split.captions))  # type: ignore[arg-type]  # hashed by identity
        places: dict[bytes, int] = {}  # of equal tokens among the distinct ones
        keys = (ids[real].numpy().tobytes() for ids, real in zip(tokens.ids, tokens.mask, strict=True))
        copy_of = [places.setdefault(key, len(places)) for key in keys]
        some = tokens[torch.from_numpy(np.unique(copy_of, return_index=True)[1])]
        # Captions of one length beside each other: less padding to run through the encoder.
        order = torch.argsort(some.lengths, stable=True)
        parts = [scorer.encode_texts(some[order[part]].to(scorer.device)) for part in slices(len(some), batch_size)]
        return images, Fragments.cat(parts)[torch.argsort(order)[torch.tensor(copy_of)].to(scorer.device)]


def _encoded_images(scorer: Scorer, split: Split, encoder: ImageEncoder, batch_size: int) -> Fragments:
    """Each batch holds images that no earlier one held; no more than one batch is read at a time."""
    places: dict[bytes, int] = {}
    parts: list[Fragments] = []
    copy_of: list[int] = []
    for part in slices(len(split.images), batch_size):
        batch = image_batch(split, encoder, np.arange(part.start, part.stop))
        new = []
        for row, key in enumerate(_image_keys(batch)):
            if key not in places:
                places[key] = len(places)
                new.append(row)
            copy_of.append(places[key])
        if new:
            parts.append(scorer.encode_images((batch if len(new) == len(batch) else batch[new]).to(scorer.device)))
    images = Fragments.cat(parts)
    return images if len(images) == len(copy_of) else images[copy_of]


def _image_keys(batch: Tensor | Fragments) -> list[bytes]:
    if isinstance(batch, Fragments):
        return [digest(batch, item) for item in range(len(batch))]
    return [hashlib.blake2b(pixels.contiguous().numpy().tobytes(), digest_size=16).digest() for pixels in batch]


@functools.lru_cache(maxsize=1)  # the validation captions come back in every epoch
def _tokens(tokenizer: Tokenizer, captions: tuple[str, ...]) -> Tokens:
    return tokenizer(captions)
