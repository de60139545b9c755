"""How many CPUs this process may use, and which share of them it leaves to the workers beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Share:
    """A process's share of the CPUs. A worker's is set when it starts; nothing here reads the environment.

    Args:
        workers: of its command, itself included, on this machine or others.
        cpus: that it fills; None = all that it may use.
    """

    workers: int = 1
    cpus: int | None = None


_share = Share()


def share() -> Share:
    """The share of this process."""
    return _share


def use_share(mine: Share) -> None:
    """Set the share of this process."""
    global _share
    _share = mine


def own_cpus() -> int:
    """CPUs that this process fills: its share of those that it may use."""
    return min(usable_cpus(), _share.cpus or usable_cpus())


def usable_cpus() -> int:
    """CPUs that this process may use: those that it is bound to, as far as the quota of its container allows; at least 1.

    `os.cpu_count` counts those of the whole machine.

    >>> 1 <= usable_cpus() <= os.cpu_count()
    True
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([bound, *map(int, quotas())]))


def quotas(own: Path = Path("/proc/self/cgroup"), root: Path = _CGROUPS) -> Iterator[float]:
    """CPUs that each control group above this process allows it, where Linux limits them.

    Args:
        own: tells the groups of a process, `0::/group` (version 2) or `4:cpu,cpuacct:/group` (version 1) a line.
        root: folder that the groups are shown in.
    """
    try:
        lines = own.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        version_2 = number == "0" and not controllers
        if (not version_2 and "cpu" not in controllers.split(",")) or ".." in path.split("/"):
            continue  # another controller, or a group that this process cannot see
        base = root if version_2 else root / controllers if (root / controllers).is_dir() else root / "cpu"
        group = base / path.strip("/")
        # A container sees its own group at the root, whatever path the line gives.
        for folder in dict.fromkeys((group, *group.parents)):
            if folder.is_relative_to(base) and (allowed := _allowed(folder, version_2)) is not None:
                yield allowed


def _allowed(group: Path, version_2: bool) -> float | None:
    """CPUs that one group allows; None = all."""
    try:
        if version_2:
            quota, period = (group / "cpu.max").read_text(encoding="ascii").split()
        else:
            quota, period = (
                (group / f"cpu.cfs_{name}_us").read_text(encoding="ascii").strip() for name in ("quota", "period")
            )
        return None if quota in ("max", "-1") else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None
