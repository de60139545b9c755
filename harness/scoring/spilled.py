"""A side that does not fit in memory, spilled to a temporary file batch by batch, as it was encoded.

The file has no name, so that it ends with the process, however that ends; `TMPDIR` names its folder. Reading maps one
batch at a time and copies what is asked for, so that the memory taken is that of what is read.

Shape letters: N items, U distinct ones, F fragments, D width.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO

import numpy as np
import torch
from torch import Tensor

from harness.errors import ItmError
from harness.fragments import Fragments
from harness.scoring.distinct import Distinct
from harness.scoring.memory import default_budget, free_memory
from harness.scoring.sides import SMALLEST_PART, Side, bytes_of

#: Each side may take this part of the free memory of its device, and the same while its batches are joined.
SHARE_OF_SIDE = 4
#: Tensors begin at multiples of this many bytes of the file.
ALIGNED = 64
_EXTRA = "extra "

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class FiledBatch:
    """Fragments of a batch in a file: the place, the type and the shape of each tensor."""

    file: IO[bytes]
    places: dict[str, tuple[int, torch.dtype, tuple[int, ...]]]

    @classmethod
    def write(cls, fragments: Fragments, file: IO[bytes]) -> FiledBatch:
        """Append a batch to a file.

        Raises:
            OSError: the disk is full.
        """
        tensors = {"features": fragments.features, "mask": fragments.mask, **_named(fragments)}
        places = {}
        for name, tensor in tensors.items():
            start = -(-file.seek(0, 2) // ALIGNED) * ALIGNED
            file.seek(start)
            file.write(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
            places[name] = start, tensor.dtype, tuple(tensor.shape)
        file.flush()
        return cls(file, places)

    def __len__(self) -> int:
        return self.places["mask"][2][0]

    @property
    def item_bytes(self) -> int:
        """Of an item, padding included."""
        return sum(_size(dtype, shape) for _, dtype, shape in self.places.values()) // len(self)

    def mapped(self) -> Fragments:
        """The batch, read from the file where it is touched."""
        tensors = {
            name: torch.from_numpy(
                np.memmap(
                    self.file, np.uint8, "c", offset=start, shape=(_size(dtype, shape),)
                )  # "c": torch warns of "r"
            )
            .view(dtype)
            .view(shape)
            for name, (start, dtype, shape) in self.places.items()
        }
        extras = {name.removeprefix(_EXTRA): tensor for name, tensor in tensors.items() if name.startswith(_EXTRA)}
        return Fragments.unchecked(tensors["features"], tensors["mask"], extras)


class SideInFile(Side):
    """Batches of distinct items in a file.

    Args:
        batches: U items in all, in the order in which they are kept.
        copy_of: (N,) int64, the kept item that each item equals.
    """

    def __init__(self, batches: Sequence[FiledBatch], copy_of: Tensor):
        self._batches = list(batches)
        self._starts = np.cumsum([0, *(len(batch) for batch in batches)])
        first = torch.full((int(self._starts[-1]),), len(copy_of))
        first.scatter_reduce_(0, copy_of, torch.arange(len(copy_of)), reduce="amin")
        self.found = Distinct(first, copy_of)

    def parts(self, budget: int) -> Iterator[slice]:
        """Parts of `SMALLEST_PART` items at least, counted as padded to the largest batch that they touch."""
        edges, widest = [0], 0
        for batch, begin, end in zip(self._batches, self._starts, self._starts[1:], strict=False):
            widest = max(widest, batch.item_bytes)
            if begin - edges[-1] >= max(SMALLEST_PART, budget // widest):
                edges.append(int(begin))
                widest = batch.item_bytes
            most = max(SMALLEST_PART, budget // widest)
            edges += range(edges[-1] + most, int(end), most)
        if self.kept - edges[-1] < SMALLEST_PART and len(edges) > 1:
            edges.pop()
        for first, last in zip(edges, [*edges[1:], self.kept], strict=True):
            yield slice(first, last)

    def read(self, part: slice) -> Fragments:
        return self.take(torch.arange(part.start, part.stop))

    def take(self, places: Tensor) -> Fragments:
        """Items of one batch are copied from it together; what is mapped of it is let go."""
        asked = places.numpy()
        number = np.searchsorted(self._starts, asked, side="right") - 1
        order = np.argsort(number, kind="stable")
        pieces = []
        for batch, rows in _runs(number[order]):
            inside = asked[order[rows]] - self._starts[batch]
            pieces.append(self._batches[batch].mapped()[_index(inside)])
        joined = _copied(pieces)
        if (np.diff(order) == 1).all():
            return joined
        return joined[torch.from_numpy(np.argsort(order))]

    @property
    def item_bytes(self) -> int:
        return max(batch.item_bytes for batch in self._batches)

    def items(self, part: slice) -> Fragments:
        """Some of the N items, in their own order."""
        return self.take(self.found.copy_of[part])


def in_memory(side: Fragments | SideInFile) -> Fragments:
    """Fragments as they are; of a side in a file as many of its first items as `default_budget` holds, with a line."""
    if isinstance(side, Fragments):
        return side
    count = max(1, min(len(side), default_budget(torch.device("cpu")) // side.item_bytes))
    logger.info(
        "costs are measured on the first %s of %s items of a side that does not fit in memory", f"{count:,}", f"{len(side):,}"
    )  # fmt: skip
    return side.items(slice(0, count))


class Keeping:
    """Collects the encoded batches of a side: on their device, then in main memory, then in a file.

    Args:
        what: the items, for messages: images or captions.
        limit: bytes that they may take in memory; None = a quarter of what is free on the device, and then of main memory.
    """

    def __init__(self, what: str, limit: int | None = None):
        self.what = what
        self._limit, self._given = limit, limit is not None
        self._fragments: list[Fragments] = []
        self._filed: list[FiledBatch] = []
        self._bytes = 0
        self._file: IO[bytes] | None = None

    def add(self, fragments: Fragments, share: float) -> None:
        """Keep a batch.

        Args:
            fragments: of new items.
            share: of all the side's fragments that have been encoded with this batch, 0..1; says what the file will take.

        Raises:
            ItmError: the items fit neither in memory nor on the disk of temporary files.
        """
        self._bytes += bytes_of(fragments)
        if self._limit is None:
            self._limit = _free(fragments.device) // SHARE_OF_SIDE
        self._fragments.append(fragments)
        if self._file is None and self._bytes > self._limit:
            if fragments.device.type == "cuda" and not self._given:
                self._limit = free_memory() // SHARE_OF_SIDE
                self._fragments = [batch.to("cpu") for batch in self._fragments]
            if self._bytes > self._limit or self._given:
                self._file = self._open(share)
        if self._file is not None:
            self._spill(self._file)
        elif self._fragments[0].device != fragments.device:
            self._fragments[-1] = fragments.to("cpu")

    def finish(self, copy_of: Tensor) -> Fragments | SideInFile:
        """All N items: fragments in their own order, or a side whose items are in the file.

        Args:
            copy_of: (N,) int64, the number of the kept item that each equals, in the order in which they were added.
        """
        if self._file is not None:
            return SideInFile(self._filed, copy_of)
        kept, self._fragments = Fragments.cat(self._fragments), []
        return kept if torch.equal(copy_of, torch.arange(len(kept))) else kept[copy_of.to(kept.device)]

    def _open(self, share: float) -> IO[bytes]:
        size, folder = int(self._bytes / max(share, 1e-9)), tempfile.gettempdir()
        free = shutil.disk_usage(folder).free
        if size > free:
            raise ItmError(
                f"the encoded {self.what} take about {_gib(size)}, more than the free memory allows, and {folder} has "
                f"{_gib(free)} left; free some space, or set TMPDIR to a folder on another disk"
            )
        return tempfile.TemporaryFile(prefix="itm-fragments-")

    def _spill(self, file: IO[bytes]) -> None:
        try:
            self._filed += [FiledBatch.write(batch, file) for batch in self._fragments]
        except OSError as error:
            raise ItmError(
                f"the encoded {self.what} do not fit in memory, and {tempfile.gettempdir()} cannot hold them "
                f"({error.strerror}); free some space, or set TMPDIR to a folder on another disk"
            ) from None
        self._fragments = []


def _named(fragments: Fragments) -> dict[str, Tensor]:
    return {_EXTRA + name: tensor for name, tensor in fragments.extras.items()}


def _size(dtype: torch.dtype, shape: Sequence[int]) -> int:
    return int(np.prod(shape)) * dtype.itemsize


def _runs(rising: np.ndarray) -> Iterator[tuple[int, slice]]:
    """Each value of a rising array with the slice that holds it."""
    values, starts = np.unique(rising, return_index=True)
    for value, start, stop in zip(values, starts, [*starts[1:], len(rising)], strict=True):
        yield int(value), slice(int(start), int(stop))


def _index(rows: np.ndarray) -> slice | Tensor:
    """Rows as a slice where they are a range: a view of the mapped batch, copied once when pieces are joined."""
    whole = rows[-1] - rows[0] + 1 == len(rows) and (np.diff(rows) == 1).all()
    return slice(int(rows[0]), int(rows[-1]) + 1) if whole else torch.from_numpy(rows)


def _copied(pieces: Sequence[Fragments]) -> Fragments:
    """Pieces of mapped batches in memory of their own."""
    if len(pieces) > 1:
        return Fragments.cat(pieces)
    (only,) = pieces
    extras = {name: extra.clone() for name, extra in only.extras.items()}
    return Fragments.unchecked(only.features.clone(), only.mask.clone(), extras)


def _free(device: torch.device) -> int:
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_memory()


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
