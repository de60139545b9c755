"""Mapped arrays on their way to another process: their file is told, and mapped again there; no value is copied."""

from __future__ import annotations

import mmap
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np


def send_by_name() -> None:
    """From now on this process sends arrays that are mapped read-only by the name of their file.

    Without it a process that is started anew is sent all values of them: gigabytes of features.
    """
    ForkingPickler.register(np.memmap, _reduced)


def _reduced(array: np.memmap) -> tuple[Any, ...]:
    base: Any = array
    while base is not None and not isinstance(base, mmap.mmap):
        base = getattr(base, "base", None) if not isinstance(base, memoryview) else base.obj
    if base is None or array.mode != "r" or not array.flags.c_contiguous or not array.size:
        return np.array, (np.asarray(array),)
    begin = np.frombuffer(base, np.uint8).ctypes.data
    # A map begins at a multiple of the granularity; a view of it keeps the offset of the whole array.
    offset = array.offset - array.offset % mmap.ALLOCATIONGRANULARITY + array.ctypes.data - begin
    return _mapped, (str(array.filename), array.dtype, offset, array.shape)


def _mapped(path: str, dtype: np.dtype, offset: int, shape: tuple[int, ...]) -> np.memmap:
    return np.memmap(path, dtype, "r", offset, shape)
