"""Score matrices from files: any code may have made them, so they are checked before a number is read off them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from harness.errors import InvalidSimilarity

_BLOCK_ELEMENTS = 4_000_000


def open_scores(path: Path, images: int, texts: int) -> np.ndarray:
    """A score matrix, memory-mapped and checked.

    Args:
        path: a `.npy` file of numbers.
        images, texts: the shape that it must have.

    Returns:
        (I, T), read-only.

    Raises:
        InvalidSimilarity: missing, no array of numbers, of another shape, or with a value that is not finite.
    """
    try:
        scores = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise InvalidSimilarity(f"{path} does not exist; it must be a .npy file of scores (I, T)") from None
    except (OSError, ValueError, EOFError) as error:  # ValueError: truncated, Python objects, or no .npy at all
        problem = " ".join(str(error).split())
        raise InvalidSimilarity(f"{path} cannot be read as an array of numbers: {problem:.120}") from None
    if not isinstance(scores, np.ndarray):
        raise InvalidSimilarity(f"{path} is an archive of arrays; save the one score matrix with numpy.save")
    if scores.dtype.kind not in "fiu":
        raise InvalidSimilarity(f"{path} holds {scores.dtype}; scores must be real numbers")
    if scores.shape != (images, texts):
        hint = "; it is transposed, rows must be images" if scores.shape == (texts, images) else ""
        raise InvalidSimilarity(
            f"{path} has shape {scores.shape}, the dataset has {images:,} images and {texts:,} captions: expected "
            f"({images}, {texts}){hint}"
        )
    _require_finite(scores, path)
    return scores


def mean_scores(matrices: Sequence[np.ndarray]) -> np.ndarray:
    """The mean of score matrices of one shape, as ensembles of this field take it: no scaling, equal weights.

    Args:
        matrices: each (I, T); memory maps are read in blocks.

    Returns:
        (I, T), float32, or float64 where a matrix is.
    """
    wide = any(matrix.dtype.kind != "f" or matrix.dtype.itemsize > 4 for matrix in matrices)
    mean: np.ndarray = np.empty(matrices[0].shape, dtype=np.float64 if wide else np.float32)
    step = max(1, _BLOCK_ELEMENTS // mean.shape[1])
    for start in range(0, len(mean), step):
        part = slice(start, start + step)
        total = matrices[0][part].astype(mean.dtype)
        for matrix in matrices[1:]:
            total += matrix[part]
        mean[part] = total / len(matrices)
    return mean


def _require_finite(scores: np.ndarray, path: Path) -> None:
    if scores.dtype.kind != "f":
        return
    step = max(1, _BLOCK_ELEMENTS // scores.shape[1])
    for start in range(0, len(scores), step):
        finite = np.isfinite(scores[start : start + step])
        if not finite.all():
            row, column = np.argwhere(~finite)[0].tolist()
            raise InvalidSimilarity(
                f"{path} holds {float(scores[start + row, column])} at image {start + row}, caption {column}; every score "
                "must be finite, or ranks are undefined"
            )
