"""How much memory a computation may take on this machine, in bytes, and where a matrix lies that takes more."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import ItmError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

#: A larger block is no faster than one of this size.
LARGEST_DEFAULT = 2 * 1024**3
SHARE = 4
#: A matrix of at most this many bytes, or of this share of the free memory, stays in main memory.
SMALL_MATRIX, SHARE_OF_MATRIX = 2**26, 2


def default_budget(device: torch.device) -> int:
    """A quarter of the free memory of `device`, at most 2 GiB (of main memory) or all of that quarter (of a GPU)."""
    if device.type == "cuda":
        import torch  # here, not above: main memory is measured without it, and a device comes from it

        free, _ = torch.cuda.mem_get_info(device)
        return free // SHARE
    return min(LARGEST_DEFAULT, free_memory() // SHARE)


def fits(rows: int, columns: int) -> bool:
    """Whether a float32 matrix may stay in main memory: it is small, or takes at most half of what is free.

    >>> fits(1000, 5000)
    True
    """
    size = 4 * rows * columns
    return size <= SMALL_MATRIX or size <= free_memory() // SHARE_OF_MATRIX


def empty_matrix(rows: int, columns: int, device: torch.device) -> Tensor:
    """A float32 matrix (rows, columns) without content, in memory or, where that is too small, in a file.

    A matrix in main memory may take half of what is free. A larger one lies in a temporary file that is mapped into
    memory: it is written and read in blocks, and evaluation, ranks and stored scores are the same. The file has no
    name, so that it ends with the process, however that ends; `TMPDIR` names the folder, which should be on a disk.

    Raises:
        ItmError: neither memory nor the folder has room.
    """
    import torch  # here, not above: see `default_budget`

    if device.type != "cpu" or fits(rows, columns):
        return torch.empty(rows, columns, device=device)
    return torch.from_numpy(_mapped(rows, columns))


def empty_array(rows: int, columns: int) -> np.ndarray:
    """As `empty_matrix`, for NumPy."""
    return np.empty((rows, columns), np.float32) if fits(rows, columns) else _mapped(rows, columns)


def _mapped(rows: int, columns: int) -> np.ndarray:
    size = 4 * rows * columns
    try:
        with tempfile.TemporaryFile(prefix="itm-scores-") as file:
            if hasattr(os, "posix_fallocate"):  # else a full disk would kill the process at a write
                os.posix_fallocate(file.fileno(), 0, size)
            return np.memmap(file, np.float32, "r+", shape=(rows, columns))
    except OSError as error:
        raise ItmError(
            f"the scores of {rows:,} x {columns:,} pairs take {size / 2**30:.1f} GiB, which is more than half of the free "
            f"memory, and {tempfile.gettempdir()} cannot hold them ({error.strerror}); free some space, or set TMPDIR to "
            "a folder on another disk"
        ) from None


def free_memory() -> int:
    """Main memory that can be taken without swapping: the system's, or what a container's limit leaves."""
    system = _system_free()
    limit = _read_int("/sys/fs/cgroup/memory.max")
    used = _read_int("/sys/fs/cgroup/memory.current")
    if limit is None or used is None:
        return system
    return max(0, min(system, limit - used))


def _system_free() -> int:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 4 * LARGEST_DEFAULT  # not Linux: assume a desktop's memory


def _read_int(path: str) -> int | None:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):  # no such controller, or "max": no limit
        return None
