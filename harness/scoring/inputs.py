"""From a split to the batches that encoders take, and from batches to fragments of a whole split."""

from __future__ import annotations

import functools
import hashlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harness.backbones.base import ImageEncoder, TextEncoder
from harness.backbones.words.tokenizers import Tokenizer
from harness.datasets.base import Split
from harness.errors import InvalidDataset
from harness.fragments import Fragments, Tokens
from harness.machine.turnstile import pass_by
from harness.scorer import Scorer
from harness.scoring.blocks import evaluating, slices
from harness.scoring.distinct import digest
from harness.scoring.spilled import Keeping, SideInFile


def image_batch(split: Split, encoder: ImageEncoder, rows: Sequence[int] | np.ndarray) -> Tensor | Fragments:
    """The images at `rows` in the form that the encoder takes.

    Returns:
        uint8 pixels (n, 3, S, S), or raw region features as `Fragments`, or what is stored of the encoder's tower.

    Raises:
        InvalidDataset: the dataset has no such form.
    """
    if split.stored_images is not None:
        return split.stored_images.read(split.stored_images.rows[np.asarray(rows)])
    require_input(split, encoder)
    if encoder.input == "regions":
        return split.images.regions(rows)
    return torch.from_numpy(np.ascontiguousarray(split.images.pixels(rows, encoder.image_size, encoder.resize)))


def require_input(split: Split, encoder: ImageEncoder) -> None:
    """Refuse images that do not have the form that an encoder takes.

    Raises:
        InvalidDataset: says what the dataset has.
    """
    if encoder.input not in split.images.inputs:
        raise InvalidDataset(
            f"image backbone {type(encoder).__name__} takes {encoder.input}, but this dataset offers "
            f"{' and '.join(sorted(split.images.inputs))} only; choose another image backbone"
        )


def encode_split(scorer: Scorer, split: Split, batch_size: int = 256) -> tuple[Fragments, Fragments]:
    """Fragments of all images and all captions of a split, in memory on the scorer's device.

    Args, Raises: as `encode_sides`.

    Returns:
        Images (I, R, D) and captions (T, W, D).
    """
    images, texts = encode_sides(scorer, split, batch_size, limit=sys.maxsize)
    assert isinstance(images, Fragments) and isinstance(texts, Fragments)  # noqa: PT018 - no limit
    return images, texts


def encode_sides(
    scorer: Scorer, split: Split, batch_size: int = 256, *, limit: int | None = None
) -> tuple[Fragments | SideInFile, Fragments | SideInFile]:
    """All images and all captions of a split, encoded once; a side that does not fit in memory is spilled to a file.

    The scorer is put in evaluation mode meanwhile. Captions of equal tokens, and images of equal pixels or regions, are
    encoded once and copied: in two batches they would differ in the last bits.

    Args:
        scorer: with both encoders.
        split: I images, T captions.
        batch_size: items encoded at once.
        limit: bytes that each side may take in memory; None = see `Keeping`.

    Returns:
        Images (I, R, D) and captions (T, W, D): fragments on the scorer's device (or in main memory where that device has
        no room), or sides in a file.

    Raises:
        CannotEncode: the scorer has no encoders.
        InvalidFragments: an encoder returned features that are not finite.
        ItmError: a side fits neither in memory nor on the disk of temporary files.
    """
    return encode_images(scorer, split, batch_size, limit=limit), encode_texts(scorer, split, batch_size, limit=limit)


def encode_images(
    scorer: Scorer, split: Split, batch_size: int = 256, *, limit: int | None = None
) -> Fragments | SideInFile:
    """The images (I, R, D) of a split alone; see `encode_sides`."""
    image_encoder, _ = scorer.encoders
    with evaluating(scorer):
        return _encoded_images(scorer, split, image_encoder, batch_size, Keeping("images", limit))


def encode_texts(
    scorer: Scorer, split: Split, batch_size: int = 256, *, limit: int | None = None
) -> Fragments | SideInFile:
    """The captions (T, W, D) of a split alone; see `encode_sides`."""
    _, text_encoder = scorer.encoders
    with evaluating(scorer):
        texts = _distinct_texts(split, text_encoder)
        # Captions of one length beside each other: less padding to run through the encoder.
        order = torch.argsort(texts.lengths, stable=True)
        encoded, keeping = texts.lengths[order].cumsum(0), Keeping("captions", limit)
        for part in _parts(len(order), batch_size):
            share = float(encoded[part.stop - 1] / encoded[-1])
            keeping.add(scorer.encode_texts(texts.batch(order[part]).to(scorer.device)), share)
        return keeping.finish(torch.argsort(order)[texts.copy_of])


@dataclass(frozen=True, eq=False)
class _Texts:
    """The distinct captions of a split: their lengths (U,), what the encoder takes of them, and which one each caption is."""

    lengths: Tensor
    batch: Callable[[Tensor], Tokens | Fragments]
    copy_of: Tensor


def _distinct_texts(split: Split, encoder: TextEncoder) -> _Texts:
    stored = split.stored_texts
    if stored is not None:
        places, copy_of = np.unique(stored.rows, return_inverse=True)
        return _Texts(stored.lengths(places), lambda some: stored.read(places[some.numpy()]), torch.from_numpy(copy_of))
    tokens = _tokens(encoder.tokenizer, tuple(split.captions))  # type: ignore[arg-type]  # hashed by identity
    known: dict[bytes, int] = {}  # places of equal tokens among the distinct ones
    keys = (ids[real].numpy().tobytes() for ids, real in zip(tokens.ids, tokens.mask, strict=True))
    copies = [known.setdefault(key, len(known)) for key in keys]
    distinct = tokens[torch.from_numpy(np.unique(copies, return_index=True)[1])]
    return _Texts(distinct.lengths, lambda some: distinct[some], torch.tensor(copies))


def _encoded_images(
    scorer: Scorer, split: Split, encoder: ImageEncoder, batch_size: int, keeping: Keeping
) -> Fragments | SideInFile:
    """Each batch holds images that no earlier one held; no more than one batch is read at a time."""
    stored = split.stored_images
    if stored is not None:
        distinct, copies = np.unique(stored.rows, return_inverse=True)
        for part in _parts(len(distinct), batch_size):
            outputs = stored.read(distinct[part]).to(scorer.device)
            keeping.add(scorer.encode_images(outputs), part.stop / len(distinct))
        return keeping.finish(torch.from_numpy(copies))
    places: dict[bytes, int] = {}
    copy_of: list[int] = []
    for part in _parts(len(split.images), batch_size):
        batch = image_batch(split, encoder, np.arange(part.start, part.stop))
        new = []
        for row, key in enumerate(_image_keys(batch)):
            if key not in places:
                places[key] = len(places)
                new.append(row)
            copy_of.append(places[key])
        if new:
            some = batch if len(new) == len(batch) else batch[new]
            keeping.add(scorer.encode_images(some.to(scorer.device)), part.stop / len(split.images))
    return keeping.finish(torch.tensor(copy_of))


def _parts(count: int, size: int) -> Iterator[slice]:
    """Slices of a pass over a split, between which other processes may measure."""
    for part in slices(count, size):
        pass_by()
        yield part


def _image_keys(batch: Tensor | Fragments) -> list[bytes]:
    if isinstance(batch, Fragments):
        return [digest(batch, item) for item in range(len(batch))]
    return [hashlib.blake2b(pixels.contiguous().numpy().tobytes(), digest_size=16).digest() for pixels in batch]


@functools.lru_cache(maxsize=1)  # the validation captions come back in every epoch
def _tokens(tokenizer: Tokenizer, captions: tuple[str, ...]) -> Tokens:
    return tokenizer(captions)
