"""Photographs: decoded once to a cached array, or on demand where a split is too large to cache."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image

from harness.datasets.base import Resize
from harness.datasets.images import to_pixels
from harness.datasets.parallel import each
from harness.datasets.photographs.decoding import DECODER, decode_bytes, problem_of
from harness.datasets.photographs.sources import ImageSource
from harness.datasets.store import facts
from harness.datasets.store.arrays import free_bytes, load_array, write_array
from harness.datasets.store.turns import turn, version
from harness.errors import InvalidDataset, InvalidSpec
from harness.files.caches import cache_folder
from harness.machine.cpus import own_cpus

if TYPE_CHECKING:
    from harness.fragments import Fragments

_BLOCK = 256  # images decoded between two writes
Form = tuple[int, Resize]  #: side of the pixels, and how a photograph gets it


class Photographs:
    """The photographs of a split, as pixels.

    The first request for a size decodes the whole split, in parallel, to `<cache>/photographs/<key>-<size>.npy`, while
    other processes that want it wait; the key covers each file's content, so a changed file is decoded anew.
    Where that array would exceed `$ITM_CACHE_GIB` (default 8) or the disk, every request decodes its own images.

    Args:
        source: where their bytes lie.

    Raises:
        InvalidDataset: as `ImageSource.marks`.
    """

    inputs: frozenset[Literal["pixels", "regions"]] = frozenset(("pixels",))
    region_width = 0

    def __init__(self, source: ImageSource):
        self._source = source
        self._marks = source.marks()
        self._decoded: dict[Form, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self._source.labels)

    @cached_property
    def _facts(self) -> list[list[str]]:
        """SHA-256 of each file, and why it cannot be decoded ("" = it can). Each file is read once."""
        labels = self._source.labels
        rows = {label: row for row, label in enumerate(labels)}

        def find(label: Path) -> list[str]:
            content = self._source.read(rows[label])
            return [facts.sha256_of(content), problem_of(content, label)]

        return facts.remembered(f"photographs-{DECODER}", labels, self._marks, find, "reading images")

    @property
    def digests(self) -> tuple[str, ...]:
        """SHA-256 of each file."""
        return tuple(sha256 for sha256, _ in self._facts)

    def check(self) -> None:
        """Refuse images that cannot be decoded.

        Raises:
            InvalidDataset: one line with their number and what is wrong with the first.
        """
        problems = [problem for _, problem in self._facts if problem]
        if problems:
            more = f" ({len(problems)} of {len(self)} images of this split cannot be read)" if len(self) > 1 else ""
            raise InvalidDataset(f"{problems[0]}{more}")

    def regions(self, indices: Sequence[int] | np.ndarray) -> Fragments:
        raise InvalidDataset(
            "this dataset has pixels but no region features; choose an image backbone that takes pixels (patches, "
            "open_clip), or region features in SCAN's layout (dataset precomp)"
        )

    def pixels(self, indices: Sequence[int] | np.ndarray, size: int, resize: Resize = "plain") -> np.ndarray:
        """(n, 3, size, size) uint8, RGB, resized bicubically; see `to_pixels`.

        Raises:
            InvalidDataset: an image is missing, truncated or no image; the message names the file.
        """
        rows, form = np.asarray(indices, dtype=np.int64), (size, resize)
        if form not in self._decoded and self._cacheable(form):
            self._decoded[form] = self._cached(form)
        if form in self._decoded:
            return np.asarray(self._decoded[form][rows])
        return self._decode_rows(rows, form)

    def original(self, row: int) -> Image.Image:
        """One photograph at its own size, RGB, decoded now."""
        return decode_bytes(self._source.read(row), self._source.labels[row])

    def decodes(self, size: int, resize: Resize = "plain") -> bool:
        """Whether `pixels` of this form decodes images in every call, because their array has no room in the cache."""
        return (size, resize) not in self._decoded and not self._cacheable((size, resize))

    def pixels_once(self, indices: Sequence[int] | np.ndarray, size: int, resize: Resize = "plain") -> np.ndarray:
        """As `pixels`, for a pass that needs each image once: nothing is written to the cache for it."""
        form = (size, resize)
        if form in self._decoded or self._file(form).is_file():
            return self.pixels(indices, size, resize)
        return self._decode_rows(np.asarray(indices, dtype=np.int64), form)

    def _decode_rows(self, rows: np.ndarray, form: Form) -> np.ndarray:
        return np.stack(each(lambda row: to_pixels(self.original(row), *form), rows))

    def _cacheable(self, form: Form) -> bool:
        needed = len(self) * 3 * form[0] ** 2
        if self._file(form).is_file():
            return True
        return needed <= _cache_limit() and needed < 0.9 * free_bytes(cache_folder())

    def _file(self, form: Form) -> Path:
        key = facts.sha256_of(f"{DECODER} {' '.join(self.digests)}".encode())[:16]
        size, resize = form
        return cache_folder() / "photographs" / f"{key}-{size}{'' if resize == 'plain' else f'-{resize}'}.npy"

    def _cached(self, form: Form) -> np.ndarray:
        size = form[0]
        path, shape = self._file(form), (len(self), 3, size, size)
        seen, array = version(path), load_array(path, shape, np.uint8)
        if array is not None:
            return array
        what = f"decoding images to {size} px"
        with turn(path, what):
            if version(path) != seen:  # another process made it meanwhile
                array = load_array(path, shape, np.uint8)
            if array is None:
                array = write_array(path, shape, np.uint8, facts.reported(self._blocks(form), len(self), what))
        return array

    def _blocks(self, form: Form) -> Iterator[np.ndarray]:
        with ThreadPoolExecutor(_workers()) as pool:  # Pillow decodes and resizes without the interpreter's lock
            for start in range(0, len(self), _BLOCK):
                rows = range(start, min(start + _BLOCK, len(self)))
                yield np.stack(list(pool.map(lambda row: to_pixels(self.original(row), *form), rows)))


def _workers() -> int:
    return min(16, own_cpus())


def _cache_limit() -> float:
    """Bytes."""
    text = os.environ.get("ITM_CACHE_GIB") or "8"
    try:
        return float(text) * 2**30
    except ValueError:
        raise InvalidSpec(f"ITM_CACHE_GIB must be a number of GiB, got '{text}'") from None
