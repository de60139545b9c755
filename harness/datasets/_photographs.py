"""Photographs in files: decoded once to a cached array, or on demand where a split is too large to cache."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

from harness.datasets._cache import cache_folder, load_array, write_array
from harness.datasets._images import NoRegions, to_pixels
from harness.errors import InvalidDataset, InvalidSpec

log = logging.getLogger(__name__)

_BLOCK = 256  # images decoded between two writes
_REPORT_SECONDS = 10.0


class Photographs(NoRegions):
    """The photographs of a split, as pixels.

    The first request for a size decodes the whole split, in parallel, to `<cache>/photographs/<key>-<size>.npy`; the
    key covers each file's name, length and time of change, so a changed file is decoded anew.
    Where that array would exceed `$ITM_CACHE_GIB` (default 8) or the disk, every request decodes its own images.

    Args:
        root: the dataset's folder.
        names: the images' paths below it, with forward slashes.

    Raises:
        InvalidDataset: an image is missing.
    """

    def __init__(self, root: Path, names: Sequence[str]):
        self.inputs: frozenset[Literal["pixels", "regions"]] = frozenset(("pixels",))
        self._paths = [root / name for name in names]
        stats = _stats(self._paths)
        self.bytes: tuple[int, ...] = tuple(stat.st_size for stat in stats)
        identity = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in zip(names, stats, strict=True)]
        self._key = hashlib.sha256(repr(identity).encode()).hexdigest()[:16]
        self._decoded: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self._paths)

    def pixels(self, indices: Sequence[int] | np.ndarray, size: int) -> np.ndarray:
        """(n, 3, size, size) uint8, RGB, plainly resized (bicubic).

        Raises:
            InvalidDataset: an image is missing, truncated or no image; the message names the file.
        """
        rows = np.asarray(indices, dtype=np.int64)
        if size not in self._decoded and self._cacheable(size):
            self._decoded[size] = self._cached(size)
        if size in self._decoded:
            return np.asarray(self._decoded[size][rows])
        with ThreadPoolExecutor(_workers()) as pool:
            return np.stack(list(pool.map(lambda row: decode(self._paths[row], size), rows)))

    def _cacheable(self, size: int) -> bool:
        needed = len(self) * 3 * size * size
        if self._file(size).is_file():
            return True
        return needed <= _cache_limit() and needed < 0.9 * _free_bytes(cache_folder())

    def _file(self, size: int) -> Path:
        return cache_folder() / "photographs" / f"{self._key}-{size}.npy"

    def _cached(self, size: int) -> np.ndarray:
        shape = (len(self), 3, size, size)
        array = load_array(self._file(size), shape, np.uint8)
        if array is None:
            array = write_array(self._file(size), shape, np.uint8, _reported(self._blocks(size), len(self), size))
        return array

    def _blocks(self, size: int) -> Iterator[np.ndarray]:
        with ThreadPoolExecutor(_workers()) as pool:  # Pillow decodes and resizes without the interpreter's lock
            for start in range(0, len(self), _BLOCK):
                paths = self._paths[start : start + _BLOCK]
                yield np.stack(list(pool.map(lambda path: decode(path, size), paths)))


def decode(path: Path, size: int) -> np.ndarray:
    """(3, size, size) uint8: an image file, RGB, plainly resized.

    Raises:
        InvalidDataset: missing, truncated, no image, or implausibly large.
    """
    try:
        with Image.open(path) as image:
            return to_pixels(image, size)
    except FileNotFoundError:
        raise InvalidDataset(f"image {path} is missing") from None
    except UnidentifiedImageError:
        raise InvalidDataset(f"image {path} is not an image that Pillow can read, or is truncated") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # SyntaxError: a broken PNG
        raise InvalidDataset(f"image {path} cannot be decoded: {error}; replace the file") from None


def _stats(paths: Sequence[Path]) -> list[os.stat_result]:
    """Of every file; one line for all that are missing."""
    stats, missing = [], []
    for path in paths:
        try:
            stats.append(path.stat())
        except OSError:
            missing.append(path)
    if missing:
        raise InvalidDataset(
            f"{len(missing)} of {len(paths)} images are missing (first: {missing[0]}); "
            "set dataset.images to the folder below dataset.root that holds them"
        )
    return stats


def _reported(blocks: Iterable[np.ndarray], total: int, size: int) -> Iterator[np.ndarray]:
    """The same blocks; says how far it is every ten seconds, and how long it took."""
    started = reported = time.perf_counter()
    done = 0
    for block in blocks:
        yield block
        done += len(block)
        now = time.perf_counter()
        if now - reported > _REPORT_SECONDS and done < total:
            reported = now
            left = (now - started) / done * (total - done)
            log.info("decoding images to %d px: %d of %d, %.0f s left", size, done, total, left)
    log.info("decoded %d images to %d px in %.1f s", total, size, time.perf_counter() - started)


def _workers() -> int:
    return min(16, os.cpu_count() or 1)


def _cache_limit() -> float:
    text = os.environ.get("ITM_CACHE_GIB") or "8"
    try:
        return float(text) * 2**30
    except ValueError:
        raise InvalidSpec(f"ITM_CACHE_GIB must be a number of GiB, got '{text}'") from None


def _free_bytes(folder: Path) -> int:
    """Free bytes of the disk on which a folder lies or would lie."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free
