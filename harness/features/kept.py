"""Features as a split reads them: rows of mapped arrays, as fragments of the tower's width."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from harness.features.folders import ITEMS, OFFSETS, About, array_name, read_about, read_array
from harness.features.items import DIGEST_BYTES
from harness.files.reading import Damaged
from harness.fragments import Fragments


class Kept:
    """A whole folder of the store.

    Args:
        folder: it.
        about: what it says of itself.

    Raises:
        Damaged: its arrays are not those that were written.
    """

    def __init__(self, folder: Path, about: About):
        self.folder, self.about = folder, about
        self._values = read_array(folder, array_name(about.side), about)
        self._offsets = read_array(folder, OFFSETS, about) if about.side == "texts" else None
        if self._offsets is not None and (
            len(self._offsets) != about.items + 1 or self._offsets[-1] != len(self._values)
        ):
            raise Damaged(f"{OFFSETS} does not fit {array_name(about.side)}")
        self._places = {digest: place for place, digest in enumerate(digests_of(folder, about))}

    @property
    def name(self) -> str:
        """Tower, type and content, as the folders are called: `0123456789abcdef-float16/0123456789abcdef`."""
        return f"{self.folder.parent.name}/{self.folder.name}"

    def places(self, digests: list[bytes]) -> np.ndarray:
        """(n,) int64, where items lie.

        Raises:
            KeyError: one is not there.
        """
        return np.array([self._places[digest] for digest in digests], dtype=np.int64)

    def lengths(self, places: np.ndarray) -> torch.Tensor:
        """(n,) int64, fragments of some items."""
        if self._offsets is None:
            return torch.full((len(places),), self._values.shape[1])
        return torch.from_numpy(np.asarray(self._offsets[places + 1] - self._offsets[places]))

    def read(self, places: np.ndarray) -> Fragments:
        """The tower's outputs for some items, (n, F, C) in the type that they are kept in, on the CPU."""
        if self._offsets is None:
            values = torch.from_numpy(np.asarray(self._values[places]))
            return Fragments.unchecked(values, torch.ones(values.shape[:2], dtype=torch.bool), {})
        starts = np.asarray(self._offsets[places])
        lengths = np.asarray(self._offsets[places + 1]) - starts
        steps = np.arange(int(lengths.max(initial=1)))
        mask = steps < lengths[:, None]
        rows = np.where(mask, starts[:, None] + steps, 0)
        features = np.asarray(self._values[rows])
        features[~mask] = 0
        return Fragments.unchecked(torch.from_numpy(features), torch.from_numpy(mask), {})


class KeptSide:
    """One side of a split in the store; see `harness.datasets.base.StoredSide`.

    Args:
        kept: the folder.
        rows: (N,) int64, the place in it of each item of the split.
    """

    def __init__(self, kept: Kept, rows: np.ndarray):
        self.kept, self.rows = kept, rows

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, places: np.ndarray) -> Fragments:
        """See `Kept.read`."""
        return self.kept.read(places)

    def lengths(self, places: np.ndarray) -> torch.Tensor:
        """See `Kept.lengths`."""
        return self.kept.lengths(places)


def digests_of(folder: Path, about: About) -> list[bytes]:
    """The digests of a folder's items, in its order.

    Raises:
        Damaged: they cannot be read.
    """
    items = np.asarray(read_array(folder, ITEMS, about))
    if items.shape != (about.items, DIGEST_BYTES) or items.dtype != np.uint8:
        raise Damaged(f"{ITEMS} holds {items.dtype} {items.shape}, expected {about.items} x {DIGEST_BYTES} bytes")
    return [row.tobytes() for row in items]


def open_kept(folder: Path) -> Kept:
    """A folder of the store.

    Raises:
        Damaged: it is not whole.
    """
    return Kept(folder, read_about(folder))
