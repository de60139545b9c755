"""Embeddings: one vector per image and one per caption, scored by our engine.

Shape letters: I images, T captions, D width.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from harness.errors import InvalidSimilarity
from harness.fragments import Fragments
from harness.outputs.base import Measure
from harness.outputs.contents import Contents
from harness.outputs.matrices import Matrix
from harness.scorer import Scorer
from harness.scoring import scores_of

#: Rows of one image may differ by rounding where it was encoded several times, in units of the largest value.
_SAME = 1e-3
_BLOCK_ROWS = 4096
_log = logging.getLogger(__name__)


class Embedded(Matrix):
    """Scores that our engine has made of embeddings."""

    def negated(self) -> Matrix:
        """Refused: the measure says how they compare."""
        raise InvalidSimilarity("embeddings are compared by --measure, so --distances has no meaning; leave it out")


class InnerProduct(Scorer):
    """Inner products (I, T) of items of one fragment each."""

    def score(self, images: Fragments, texts: Fragments) -> Tensor:
        return images.features[:, 0] @ texts.features[:, 0].T


def embedded(
    images: tuple[Contents, str],
    captions: tuple[Contents, str],
    caption_image: np.ndarray,
    count: int,
    measure: Measure,
) -> Matrix:
    """The scores of embeddings, computed in float32 and in blocks; tile by tile where they do not fit in memory.

    Args:
        images: file and name of an array (I, D), or (T, D) with each image's row once per caption, as VSE++ saves them.
        captions: file and name of an array (T, D).
        caption_image: (T,) image row of each caption.
        count: I.
        measure: cosine, or the dot product of the vectors as they are.

    Raises:
        InvalidSimilarity: other shapes, values that are not finite, or repeated rows that differ.
    """
    right = _vectors(*captions)
    left = _vectors(*images)
    if len(right) == len(caption_image):
        left = _once(left, images[0], caption_image, count)
    if len(left) != count or len(right) != len(caption_image):
        raise InvalidSimilarity(
            f"{images[0].path} holds {len(left):,} vectors and {captions[0].path} {len(right):,}; the dataset has {count:,} "
            f"images and {len(caption_image):,} captions{_swapped(left, right, count, len(caption_image))}"
        )
    if left.shape[1] != right.shape[1]:
        raise InvalidSimilarity(
            f"image vectors have width {left.shape[1]:,} and caption vectors {right.shape[1]:,}; both must have one width"
        )
    prepare = MEASURES[measure]
    scores = scores_of(InnerProduct(), _fragments(prepare(left)), _fragments(prepare(right)))
    title = f"embeddings of width {left.shape[1]:,}, compared by {measure}"
    return Embedded(scores.numpy() if isinstance(scores, Tensor) else scores, title)


def _vectors(contents: Contents, name: str) -> np.ndarray:
    """(N, D) as float32."""
    array = contents.arrays[name]
    what = f"array '{name}'" if name else "the array"
    if array.ndim != 2 or 0 in array.shape or array.dtype.kind not in "fiu":
        hint = "; fragments need their method's scores: give its score matrix" if array.ndim == 3 else ""
        raise contents.refuse(
            f"holds {array.dtype} of shape {array.shape}; one vector per item (N, D) is expected{hint}"
        )
    with np.errstate(over="ignore"):
        vectors = array.astype(np.float32)
    for start in range(0, len(vectors), _BLOCK_ROWS):
        finite = np.isfinite(vectors[start : start + _BLOCK_ROWS]).all(axis=1)
        if not finite.all():
            raise contents.refuse(f"holds NaN or infinite values in {what}, row {start + int(np.argmin(finite)):,}")
    return vectors


def _once(vectors: np.ndarray, contents: Contents, owner: np.ndarray, count: int) -> np.ndarray:
    """Image vectors (I, D), from as many or from one row per caption."""
    if len(vectors) != len(owner) or len(owner) == count:
        return vectors
    first = np.full(count, len(owner))
    np.minimum.at(first, owner, np.arange(len(owner)))
    scale = float(np.abs(vectors).max())
    for start in range(0, len(owner), _BLOCK_ROWS):
        part = slice(start, start + _BLOCK_ROWS)
        apart = np.abs(vectors[part] - vectors[first[owner[part]]]).max(axis=1) > _SAME * scale
        if apart.any():
            row = start + int(np.argmax(apart))
            raise contents.refuse(
                f"holds one row per caption ({len(owner):,}), but rows {int(first[owner[row]]):,} and {row:,} differ and "
                "belong to one image; give the image vectors in the order of the dataset's split"
            )
    _log.info("%s: one row per caption; the first of each image is taken", contents.path)
    return vectors[first]


def _swapped(left: np.ndarray, right: np.ndarray, images: int, texts: int) -> str:
    return "; they have changed places" if (len(left), len(right)) == (texts, images) and images != texts else ""


def _unit(vectors: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    if empty := int((norms == 0).sum()):
        _log.warning("%s vectors are zero: they have no direction, and their cosines count as 0", f"{empty:,}")
    return (vectors / np.where(norms == 0, 1, norms)).astype(np.float32)


#: What a measure does to vectors (N, D) before their dot products.
MEASURES: dict[Measure, Callable[[np.ndarray], np.ndarray]] = {"cosine": _unit, "dot": lambda vectors: vectors}


def _fragments(vectors: np.ndarray) -> Fragments:
    return Fragments(torch.from_numpy(vectors)[:, None], torch.ones(len(vectors), 1, dtype=torch.bool))
