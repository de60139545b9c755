"""How a run computes: its threads, the memory it frees, and its place among the other processes of the machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch

from harness.machine.allocation import freed_memory_kept
from harness.machine.threads import compute_threads
from harness.measure.quiet import working


@contextmanager
def computing(threads: int, device: torch.device | str) -> Iterator[None]:
    """Compute in this block as every run does, so that numbers and timings agree wherever they are taken.

    Args:
        threads: compute threads on a CPU, part of a run's settings.
        device: what is computed on. On a CPU, memory that is freed is kept meanwhile; on each device, measurements of other
            processes are waited for, see `harness.measure.quiet`.
    """
    keeps = freed_memory_kept() if torch.device(device).type == "cpu" else nullcontext()
    with compute_threads(threads), working(device), keeps:
        yield
