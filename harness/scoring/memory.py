"""How much memory a computation may take on this machine, in bytes."""

from __future__ import annotations

from pathlib import Path

import torch

#: A larger block is no faster than one of this size.
LARGEST_DEFAULT = 2 * 1024**3
SHARE = 4


def default_budget(device: torch.device) -> int:
    """A quarter of the free memory of `device`, at most 2 GiB (of main memory) or all of that quarter (of a GPU)."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free // SHARE
    return min(LARGEST_DEFAULT, free_memory() // SHARE)


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
