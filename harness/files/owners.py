"""Owners: which machine and process a file or a claim belongs to, and whether that process still lives."""

from __future__ import annotations

import functools
import hashlib
import os
import socket
from contextlib import suppress
from pathlib import Path


@functools.cache
def this_machine() -> str:
    """Six hexadecimal digits for the scope of process ids: the host, its boot, and the container's namespace."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:6]


def is_alive(pid: int) -> bool:
    """Whether a process of this machine runs; a zombie, whose parent has not looked yet, does not.

    >>> is_alive(os.getpid())
    True
    """
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return status.rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):
        return True
