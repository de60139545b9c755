"""Arrays in the cache folder: slow to make and quick to map, written atomically and checked when read."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from harness.errors import InvalidDataset, ResultsNotWritable
from harness.files.writing import atomic_path, set_aside

logger = logging.getLogger(__name__)


def free_bytes(folder: Path) -> int:
    """Free bytes of the disk on which a folder lies or would lie."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def load_array(path: Path, shape: tuple[int, ...], dtype: type[np.generic]) -> np.ndarray | None:
    """A cached array, memory-mapped read-only; None where it is missing, damaged, or of another shape or dtype."""
    if not os.path.lexists(path):
        return None
    if not path.is_file():
        set_aside(path, "it is no file")
        return None
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        problem = f"it holds {array.dtype} {array.shape}, not {dtype} {shape}"
        if array.shape == shape and array.dtype == dtype:
            return array
    except (OSError, ValueError, EOFError) as error:  # ValueError: the file is shorter than its header says
        problem = str(error)
    logger.warning("cache %s is damaged and will be made again: %s", path, problem)
    return None


def write_array(
    path: Path, shape: tuple[int, ...], dtype: type[np.generic], blocks: Iterable[np.ndarray]
) -> np.ndarray:
    """Write blocks of rows to a `.npy` file and map it.

    Blocks are written one after the other, so the array never has to fit in memory, and a full disk is an error here
    instead of a crash on a mapped page. The file appears whole or not at all; of two writers the last one wins.

    Args:
        path: the file.
        shape: of the whole array.
        dtype: of the whole array.
        blocks: arrays (n, *shape[1:]) whose lengths sum to shape[0].

    Raises:
        InvalidDataset: the folder cannot be written or the disk is full.
    """
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    rows = 0
    try:
        with atomic_path(path) as partial, partial.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for block in blocks:
                file.write(np.ascontiguousarray(block, dtype=dtype).data)
                rows += len(block)
            assert rows == shape[0], f"{rows} rows written, {shape[0]} announced"
    except ResultsNotWritable as error:
        raise InvalidDataset(
            f"{str(error).replace('cannot write', 'cannot write the cache', 1)}; "
            "set ITM_CACHE to a folder with room that you may write"
        ) from None
    return np.load(path, mmap_mode="r", allow_pickle=False)
