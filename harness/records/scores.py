"""Score matrices from files. Any code may have made them, so they are checked before a metric is computed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from harness.errors import InvalidSimilarity, one_line
from harness.files.kinds import identify, mismatch
from harness.files.writing import atomic_path

SCORES = "scores.npy"  #: of a run that keeps them, in its folder
_BLOCK_ELEMENTS = 4_000_000
#: What to do with a file that is no score matrix, by what it is.
_ADVICE = {
    "torch": "load it and save the matrix with `numpy.save(path, scores.cpu().numpy())`",
    "pickle": "load it in the program that made it and save the matrix with numpy.save",
    "npy-objects": (
        "take the matrix out in the program that made it: `numpy.save(new, numpy.load(old, allow_pickle=True)"
        ".item()['sims'])`, if it is the dictionary of npts and sims that many authors save"
    ),
    "npz": "save the one score matrix with numpy.save, not numpy.savez",
    "safetensors": "save the matrix with `numpy.save(path, tensors[name].numpy())`",
    "numbers": "save it with `numpy.save(path, numpy.loadtxt(text))`",
    "csv": "save it with `numpy.save(path, numpy.loadtxt(text, delimiter=','))`",
    "trec-run": "a cut list is no score matrix; give a TREC run to `itm significance`, in a folder with its qrels",
    "yaml": "scores come before the options, the dataset after --dataset",
    "npy": "it is cut off or damaged; write it again",
}
_EXPECTED = "a NumPy array (.npy) of scores (I, T)"
#: Integers up to here are exact in float64.
_EXACT = 2**53


def open_scores(path: Path, images: int, texts: int) -> np.ndarray:
    """A score matrix, memory-mapped where it can be, and checked.

    Args:
        path: a `.npy` file of numbers: floats or whole numbers of any size and byte order, or booleans, in C or Fortran
            order.
        images, texts: the shape that it must have.

    Returns:
        (I, T), read-only or a copy, in native byte order. Types that the ranking could not compare exactly come as
        others that order all pairs alike: see `comparable`.

    Raises:
        InvalidSimilarity: missing, no array of numbers, of another shape, or with a value that is not finite.
    """
    require_array_file(path)
    try:
        scores = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:  # ValueError: truncated, or types that cannot be mapped
        raise InvalidSimilarity(
            f"{path} cannot be read as an array of numbers: {one_line(error, 120)}; write it again"
        ) from None
    return checked_scores(scores, path, images, texts)


def checked_scores(scores: np.ndarray, path: Path, images: int, texts: int) -> np.ndarray:
    """The scores of a file in a type that ranks exactly; arguments and errors as `open_scores`."""
    if scores.dtype.kind not in "fiub":
        raise InvalidSimilarity(
            f"{path} holds {_type_name(scores.dtype)}; scores must be real numbers (floats, whole numbers or booleans)"
        )
    if scores.shape != (images, texts):
        hint = "; it is transposed, rows must be images" if scores.shape == (texts, images) else ""
        raise InvalidSimilarity(
            f"{path} has shape {scores.shape}, the dataset has {images:,} images and {texts:,} captions: expected "
            f"({images}, {texts}){hint}"
        )
    _require_finite(scores, path)
    return comparable(scores)


def write_scores(path: Path, scores: np.ndarray) -> None:
    """Write a score matrix (I, T), whole or not at all.

    Raises:
        ResultsNotWritable: the folder cannot be written.
    """
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, scores, allow_pickle=False)


@contextmanager
def scores_file(path: Path, images: int, texts: int) -> Iterator[np.memmap]:
    """A float32 matrix (I, T) in a `.npy` file, mapped into memory to be filled; whole or not at all.

    The disk is asked for the room first: a write to a mapped file on a full disk would end the process.

    Raises:
        ResultsNotWritable: the folder cannot be written, or its disk has no room.
    """
    with atomic_path(path) as temporary:
        scores = np.lib.format.open_memmap(temporary, "w+", np.float32, (images, texts))
        if hasattr(os, "posix_fallocate"):
            with temporary.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, temporary.stat().st_size)
        yield scores
        scores.flush()


def require_array_file(path: Path) -> None:
    """Refuse a file that is missing or of another kind, before anything is spent on its dataset.

    Raises:
        InvalidSimilarity: naming what the file is and what to do.
    """
    kind = identify(path)
    if kind.key != "npy":
        raise InvalidSimilarity(mismatch(path, _EXPECTED, _ADVICE.get(kind.key, "save the matrix with numpy.save")))


def comparable(scores: np.ndarray) -> np.ndarray:
    """(I, T) scores in a type whose values rank exactly as the given ones: the argument itself, or a converted copy.

    Floats up to 64 bits keep their type, and so do whole numbers that float64 holds exactly (up to 2^53). Any other value
    becomes its place among the distinct values of the matrix, which keeps order and ties: ranks depend on nothing else.

    Raises:
        InvalidSimilarity: complex numbers, text or Python objects.
    """
    if scores.dtype.kind not in "fiub":
        raise InvalidSimilarity(
            f"the scores are {_type_name(scores.dtype)}; they must be real numbers (floats, whole numbers or booleans)"
        )
    if scores.dtype.kind != "f":
        return scores if _is_exact(scores) else _places(scores)
    if scores.dtype.itemsize <= 8:
        return scores if scores.dtype.isnative else scores.astype(scores.dtype.newbyteorder("="))
    rounded = scores.astype(np.float64)
    exact = np.isnan(scores) | (rounded.astype(scores.dtype) == scores)
    return rounded if exact.all() else _places(scores)


def mean_scores(matrices: Sequence[np.ndarray]) -> np.ndarray:
    """The mean (I, T) of score matrices, as ensembles of this field take it: no scaling, equal weights.

    >>> mean_scores([np.eye(2), np.ones((2, 2))]).tolist()
    [[1.0, 0.5], [0.5, 1.0]]

    Args:
        matrices: each (I, T), real numbers; memory maps are read in blocks.

    Returns:
        float32, or float64 where a matrix is wider than float32.
    """
    wide = any(matrix.dtype.kind != "f" or matrix.dtype.itemsize > 4 for matrix in matrices)
    mean: np.ndarray = np.empty(matrices[0].shape, dtype=np.float64 if wide else np.float32)
    step = max(1, _BLOCK_ELEMENTS // max(1, mean.shape[1]))
    for start in range(0, len(mean), step):
        part = slice(start, start + step)
        total = matrices[0][part].astype(mean.dtype)
        for matrix in matrices[1:]:
            total += matrix[part]
        mean[part] = total / len(matrices)
    return mean


def open_member(path: Path, images: int, texts: int) -> np.ndarray:
    """A score matrix for an ensemble. Errors as `open_scores`; values that float64 would round are refused too."""
    scores = open_scores(path, images, texts)
    require_exact_mean(np.load(path, mmap_mode="r", allow_pickle=False), path)
    return scores


def require_exact_mean(given: np.ndarray, path: Path) -> None:
    """Refuse scores that float64 would round, so that their mean with others would not be theirs.

    Raises:
        InvalidSimilarity: such values.
    """
    if given.dtype.itemsize > 8 or (given.dtype.kind != "f" and not _is_exact(given)):
        raise InvalidSimilarity(
            f"{path} holds {_type_name(given.dtype)} values that float64 would round, so their mean with others is not "
            "exact; scale them down and save them as float64"
        )


def _is_exact(scores: np.ndarray) -> bool:
    """Whether float64 holds every one of these whole numbers."""
    if scores.dtype.kind == "b" or scores.dtype.itemsize < 8 or not scores.size:
        return True
    return int(scores.max()) <= _EXACT and int(scores.min()) >= -_EXACT


def _places(scores: np.ndarray) -> np.ndarray:
    native = scores.astype(scores.dtype.newbyteorder("="))
    _, places = np.unique(native, return_inverse=True)
    return places.reshape(scores.shape).astype(np.float64)


def _type_name(dtype: np.dtype) -> str:
    names = {"c": "complex numbers", "U": "text", "S": "bytes", "V": "records", "M": "dates", "m": "durations"}
    return f"{names[dtype.kind]} ({dtype})" if dtype.kind in names else str(dtype)


def _require_finite(scores: np.ndarray, path: Path) -> None:
    if scores.dtype.kind != "f" or not scores.size:
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
