"""What a tower is to be run on: the distinct images or captions of a split, each with a digest of its content.

Equal images, and captions of equal tokens, are one item.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from harness.datasets.base import Images, Resize
from harness.datasets.photographs.decoding import DECODER
from harness.fragments import Tokens

Side = Literal["images", "texts"]
DIGEST_BYTES = 16
_BLOCK = 256


class Items(Protocol):
    """U distinct items among the N of a split.

    Attributes:
        side: what they are.
        digests: of the content of each.
        rows: (N,) int64, which of them each of the N is.
        mean_length: tokens of a caption; 0 for images, whose fragments the tower decides.
    """

    side: Side
    digests: list[bytes]
    rows: np.ndarray
    mean_length: float

    def __len__(self) -> int:
        """U."""
        ...

    def batch(self, places: np.ndarray) -> Tensor | Tokens:
        """What the tower takes, for some of the U items."""
        ...


class ImageItems:
    """Distinct images as squares of one size.

    Args:
        images: of a split.
        form: side of the pixels, and how a photograph gets it.
        content: a digest of each image's file; None = the pixels are read and hashed.
    """

    side: Side = "images"
    mean_length = 0.0

    def __init__(self, images: Images, form: tuple[int, Resize], content: Sequence[bytes] | None):
        self._images, self._form = images, form
        size, resize = form
        how = f"{DECODER} {size} {'' if resize == 'plain' else f'{resize} '}".encode()  # what a file becomes
        digests = _pixel_digests(images, form) if content is None else (_digest(how + one) for one in content)
        self.rows, self.digests, self._first = _distinct(digests)

    def __len__(self) -> int:
        return len(self.digests)

    def batch(self, places: np.ndarray) -> Tensor:
        """uint8 pixels (n, 3, S, S)."""
        read = getattr(self._images, "pixels_once", self._images.pixels)
        return torch.from_numpy(np.ascontiguousarray(read(self._first[places], *self._form)))


class TextItems:
    """Distinct captions as a tokenizer cuts them, the shortest first: a batch then has little padding.

    Args:
        tokens: N captions.
    """

    side: Side = "texts"

    def __init__(self, tokens: Tokens):
        found = (_digest(ids[real].numpy().tobytes()) for ids, real in zip(tokens.ids, tokens.mask, strict=True))
        rows, digests, first = _distinct(found)
        order = np.argsort(tokens.lengths.numpy()[first], kind="stable")
        place = np.argsort(order, kind="stable")
        self.rows, self.digests = place[rows], [digests[item] for item in order]
        self._tokens, self._first = tokens, first[order]
        self.mean_length = float(tokens.lengths.numpy()[first].mean())

    def __len__(self) -> int:
        return len(self.digests)

    def batch(self, places: np.ndarray) -> Tokens:
        """Tokens, padded to the longest of the batch."""
        return self._tokens[torch.from_numpy(self._first[places])]


def _distinct(digests: Sequence[bytes] | Iterator[bytes]) -> tuple[np.ndarray, list[bytes], np.ndarray]:
    """Rows (N,) into the distinct digests, those digests in the order of their first items, and these (U,)."""
    places: dict[bytes, int] = {}
    rows, first = [], []
    for number, digest in enumerate(digests):
        if digest not in places:
            places[digest] = len(places)
            first.append(number)
        rows.append(places[digest])
    return np.array(rows, dtype=np.int64), list(places), np.array(first, dtype=np.int64)


def _pixel_digests(images: Images, form: tuple[int, Resize]) -> Iterator[bytes]:
    for start in range(0, len(images), _BLOCK):
        for pixels in images.pixels(range(start, min(start + _BLOCK, len(images))), *form):
            yield _digest(np.ascontiguousarray(pixels).tobytes())


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()
