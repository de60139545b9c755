"""Perceptual hashes: pictures that look the same although their files differ.

Two pictures are near-duplicates where two things agree: the 64 bits of a perceptual hash up to a threshold, and their
16 x 16 grey miniatures by correlation. On the 8,000 photographs of Flickr8k, hashes alone confuse 22 pairs up to 10 bits
(a dog on a beach with a jumping man), both together none; both find every picture that was saved at JPEG quality 30,
halved, brightened by 30 % or turned grey, 99 % of those cropped by 2 % on each side, and a third of those cropped by 5 %.
Mirrored or turned pictures are not found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import imagehash
import numpy as np
from PIL import Image

BITS = 64
NEAR_BITS = 10
CORRELATION = 0.9
_SIDE = 16
_FLAT = 1.0  # standard deviation of grey values below which a picture has no structure to hash
_BLOCK = 2048  # rows compared at once: 2048 x 2048 hashes take 32 MB
_AT_ONCE = 50_000  # pairs whose miniatures are compared at once: 100 MB


@dataclass(frozen=True, eq=False)
class Prints:
    """Perceptual fingerprints of N images.

    Args:
        bits: (N,) uint64.
        grey: (N, 256) uint8, a miniature of 16 x 16.
        known: (N,) bool, False for images that could not be read or that are of one grey value.
    """

    bits: np.ndarray
    grey: np.ndarray
    known: np.ndarray

    @classmethod
    def of(cls, images: Sequence[Image.Image | None]) -> Prints:
        """Of images in memory; None has no fingerprint."""
        found = [
            fingerprint(image) if image is not None else (0, np.zeros(_SIDE * _SIDE, np.uint8)) for image in images
        ]
        return cls.stack(found)

    @classmethod
    def stack(cls, found: Sequence[tuple[int, np.ndarray]]) -> Prints:
        """Of hashes and miniatures one by one."""
        grey = np.array([miniature for _, miniature in found], dtype=np.uint8).reshape(len(found), _SIDE * _SIDE)
        return cls(np.array([bits for bits, _ in found], dtype=np.uint64), grey, grey.std(axis=1) >= _FLAT)

    @classmethod
    def joined(cls, parts: Sequence[Prints]) -> Prints:
        """Of several sets, one after the other."""
        return cls(
            np.concatenate([part.bits for part in parts]),
            np.concatenate([part.grey for part in parts]),
            np.concatenate([part.known for part in parts]),
        )

    def of_rows(self, rows: np.ndarray) -> Prints:
        """Of some of the images."""
        return Prints(self.bits[rows], self.grey[rows], self.known[rows])

    def __len__(self) -> int:
        return len(self.bits)


def fingerprint(image: Image.Image) -> tuple[int, np.ndarray]:
    """The 64 bits of the hash and the miniature (256,) uint8 of an RGB image.

    Source:
        imagehash.phash: signs of the lowest 8 x 8 frequencies of a cosine transform, against their median.
    """
    bits = int(str(imagehash.phash(image)), 16)
    miniature = image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    return bits, np.asarray(miniature, dtype=np.uint8).ravel()


def near(first: Prints, second: Prints | None = None, bits: int = NEAR_BITS) -> tuple[np.ndarray, np.ndarray]:
    """All near-duplicates, the nearest first. Arguments as `near_blocks`.

    Returns:
        Rows (P, 2) int64 of the pairs and their distance (P,) int64 in bits.
    """
    blocks = [(np.empty((0, 2), np.int64), np.empty(0, np.int64)), *near_blocks(first, second, bits)]
    found, far = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    order = np.lexsort((found[:, 1], found[:, 0], far))
    return found[order], far[order]


def near_blocks(
    first: Prints, second: Prints | None = None, bits: int = NEAR_BITS
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Near-duplicates block by block, so that 123,000 images of COCO fit in memory.

    Args:
        first: N images.
        second: M images; None compares the first among themselves, each pair once.
        bits: differing bits up to which hashes are near.

    Yields:
        Rows (P, 2) int64 of the pairs of a block, the second of the second set, and their distance (P,) in bits.
    """
    other = first if second is None else second
    grey = _centred(first)
    others = grey if second is None else _centred(other)
    for top in range(0, len(first), _BLOCK):
        for start in range(top if second is None else 0, len(other), _BLOCK):
            differing = np.bitwise_count(first.bits[top : top + _BLOCK, None] ^ other.bits[start : start + _BLOCK])
            rows, columns = np.nonzero(differing <= bits)
            distance = differing[rows, columns].astype(np.int64)
            rows, columns = rows + top, columns + start
            real = first.known[rows] & other.known[columns] & ((rows < columns) | (second is not None))
            for part in np.array_split(np.flatnonzero(real), len(rows) // _AT_ONCE + 1):
                alike = np.einsum("pd,pd->p", grey[rows[part]], others[columns[part]]) >= CORRELATION
                if alike.any():
                    yield np.stack([rows[part], columns[part]], axis=1)[alike], distance[part][alike]


def _centred(prints: Prints) -> np.ndarray:
    """(N, 256) float32 miniatures of mean 0 and length 1, whose products are correlations."""
    grey = prints.grey.astype(np.float32)
    grey -= grey.mean(axis=1, keepdims=True)
    return grey / np.maximum(np.linalg.norm(grey, axis=1, keepdims=True), 1e-6)
