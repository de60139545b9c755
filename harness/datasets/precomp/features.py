"""Region features in `.npy` files: mapped, never loaded whole. The facts of one pass over a file are remembered.

Shape letters: N rows, R regions, D width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image

from harness.datasets.base import Resize
from harness.datasets.store import facts
from harness.errors import InvalidDataset

if TYPE_CHECKING:
    from harness.fragments import Fragments

_BLOCK_BYTES = 64 * 2**20  # read at once
_DIGEST_BYTES = 16
_NO_PIXELS = "this dataset has region features but no pixels; choose the image backbone 'regions', or dataset karpathy"


class FeatureRows:
    """Region features of a split's images, by row of a mapped array.

    Args:
        features: (N, R, D) floating point.
        rows: (I,) int64, the row of each image.
    """

    inputs: frozenset[Literal["pixels", "regions"]] = frozenset(("regions",))

    def __init__(self, features: np.ndarray, rows: np.ndarray):
        self.region_width: int = features.shape[2]
        self.dtype: str = features.dtype.name  #: as stored
        self._features, self._rows = features, rows

    def __len__(self) -> int:
        return len(self._rows)

    def pixels(self, indices: Sequence[int] | np.ndarray, size: int, resize: Resize = "plain") -> np.ndarray:
        raise InvalidDataset(_NO_PIXELS)

    def original(self, row: int) -> Image.Image:
        raise InvalidDataset(_NO_PIXELS)

    def regions(self, indices: Sequence[int] | np.ndarray) -> Fragments:
        """Region features (n, R, region_width), float32; all regions are real."""
        from harness.datasets.padded import padded  # here, not above: captions need no torch

        rows = self._rows[np.asarray(indices, dtype=np.int64)]
        features = np.asarray(self._features[rows]).astype(np.float32, copy=False)
        return padded(features, np.full(len(features), features.shape[1]))


@dataclass(frozen=True, eq=False)
class FeatureFile:
    """One file of features and what a pass over all of it found.

    Args:
        path: the file.
        features: (N, R, D), mapped.
        digests: (N,) 16 bytes each, the BLAKE2b of a row's values in file order.
        not_finite: rows that hold NaN or inf, ascending.
    """

    path: Path
    features: np.ndarray
    digests: np.ndarray
    not_finite: np.ndarray

    def __len__(self) -> int:
        return len(self.features)

    @property
    def layout(self) -> str:
        """Type and shape of a row, which its digest does not cover."""
        return f"{self.features.dtype.str} {self.features.shape[1:]}"

    def runs(self) -> np.ndarray:
        """Lengths of the runs of equal neighbouring rows; they sum to N. Equal means every value of every region."""
        starts = np.flatnonzero(np.append(True, self.digests[1:] != self.digests[:-1]))
        return np.diff(np.append(starts, len(self.digests)))

    def require_finite(self, rows: np.ndarray) -> None:
        """Refuse rows that hold NaN or inf.

        Raises:
            InvalidDataset: names the first.
        """
        bad = np.intersect1d(rows, self.not_finite)
        if len(bad):
            raise InvalidDataset(f"{self.path}: row {int(bad[0])} holds NaN or inf; extract it again")


def open_features(path: Path) -> FeatureFile:
    """Map a file. All of it is read once, and what was found is remembered.

    Args:
        path: an array (N, R, D), or (N, D) for one vector per image, which counts as R = 1.

    Raises:
        InvalidDataset: missing, truncated, no floating-point features, or rows without regions.
    """
    features = _mapped(path)
    found = facts.remembered_arrays("features", path, facts.signature(path), lambda: _facts(features, path))
    return FeatureFile(path, features, found["digests"], found["not_finite"])


def _mapped(path: Path) -> np.ndarray:
    if not path.exists():
        raise InvalidDataset(f"{path} is missing; precomp needs {{split}}_ims.npy beside {{split}}_caps.txt")
    facts.signature(path)  # refuses a FIFO before it is opened
    try:
        features = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:  # ValueError: truncated, or an array of Python objects
        reason = f" (truncated?): {' '.join(str(error).split())}"
        if "object" in reason.lower():
            reason = (
                ": it holds Python objects (a pickle), for example images with unequal numbers of regions; save one array "
                "(N, R, D) of floats"
            )
        raise InvalidDataset(f"{path} cannot be read as an array{reason}") from None
    if not isinstance(features, np.ndarray) or features.ndim not in (2, 3) or features.dtype.kind != "f":
        got = f"{features.dtype} of shape {features.shape}" if isinstance(features, np.ndarray) else "an archive"
        raise InvalidDataset(f"{path} must hold floating-point features (N, R, D), got {got}")
    if 0 in features.shape[1:]:
        raise InvalidDataset(f"{path} holds images without regions or without features: shape {features.shape}")
    return features if features.ndim == 3 else features[:, None, :]


def _facts(features: np.ndarray, path: Path) -> dict[str, np.ndarray]:
    with ThreadPoolExecutor(2) as pool:  # hashing and reading release the interpreter's lock
        blocks = facts.reported(pool.map(_block_facts, _blocks(features)), len(features), f"reading {path.name}")
        rows = np.concatenate([np.empty(0, _ROW), *blocks])
    return {"digests": rows["digest"], "not_finite": np.flatnonzero(~rows["finite"])}


_ROW = np.dtype([("digest", f"V{_DIGEST_BYTES}"), ("finite", "?")])


def _blocks(features: np.ndarray) -> Iterator[np.ndarray]:
    size = max(1, _BLOCK_BYTES // max(1, features[:1].nbytes))
    for start in range(0, len(features), size):
        yield features[start : start + size]


def _block_facts(mapped: np.ndarray) -> np.ndarray:
    """(n,) digest of each row, and whether its values are finite."""
    rows = np.ascontiguousarray(mapped)
    found = np.empty(len(rows), _ROW)
    digests = b"".join(hashlib.blake2b(row.data, digest_size=_DIGEST_BYTES).digest() for row in rows)
    found["digest"] = np.frombuffer(digests, _ROW["digest"])
    found["finite"] = np.isfinite(rows).all(axis=(1, 2))
    return found
