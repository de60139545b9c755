"""How long the runs of a plan take in several workers of this machine, and whether their memory fits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from harness.executors.base import Seat
from harness.machine.cpus import usable_cpus
from harness.records.plan import PlanDocument, SideBySide
from harness.runs.pace import time_to_finish
from harness.scoring.memory import free_memory


@dataclass(frozen=True)
class Room:
    """Where the workers of a command would run.

    Args:
        workers: side by side.
        asked: whether the user said how many.
        devices: among which they are shared out.
        free_bytes: of memory, on each of the devices; None = not known.
        busy: how many times as long a worker takes because it shares its CPUs with the others; 1 = it has its own.
    """

    workers: int
    asked: bool = False
    devices: int = 1
    free_bytes: int | None = None
    busy: float = 1.0


def room_of(seats: Sequence[Seat], asked: bool) -> Room:
    """The room that the seats of this machine have."""
    devices = sorted({seat.device for seat in seats})
    if torch.device(devices[0]).type == "cuda":
        free = min(torch.cuda.mem_get_info(device)[0] for device in devices)
        return Room(len(seats), asked, len(devices), free)
    busy = max(1.0, sum(seat.threads for seat in seats) / usable_cpus())
    return Room(len(seats), asked, 1, free_memory(), busy)


def side_by_side(document: PlanDocument, room: Room) -> SideBySide | None:
    """The runs to do in the workers of a room; None where one run follows the other, or their time is not known.

    The runs are taken in the order of the plan by whoever is free. The memory is that of the largest runs, since any of
    them may meet.
    """
    workers = min(room.workers, document.to_run())
    if workers < 2 or not document.device or document.unmeasured:
        return None
    estimates = {entry.key: entry.estimate for entry in document.entries if entry.estimate}
    cells = [cell.entry for cell in document.cells if cell.state in ("missing", "failed")]
    runs = [estimates[entry] for entry in cells for _ in range(document.runs)]
    stores = sum(store.seconds for store in document.stores)
    seconds = time_to_finish([0.0] * workers, [room.busy * run.seconds for run in runs])
    sizes = sorted((run.memory_bytes for run in runs if run.memory_bytes), reverse=True)
    known = len(sizes) == len(runs)
    together = sum(sizes[: math.ceil(workers / room.devices)])
    return SideBySide(
        workers=workers,
        asked=room.asked,
        devices=room.devices,
        seconds=stores + seconds,
        bytes=together if known else None,
        free_bytes=room.free_bytes,
        fitting=room.devices * fitting(sizes, room.free_bytes) if known and room.free_bytes is not None else None,
    )


def fitting(sizes: Sequence[int], free: int) -> int:
    """How many of the largest fit into memory at once.

    >>> fitting([5, 4, 1], free=9), fitting([5, 4, 1], free=4)
    (2, 0)
    """
    count = 0
    for size in sorted(sizes, reverse=True):
        free -= size
        if free < 0:
            break
        count += 1
    return count
