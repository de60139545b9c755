"""How a run computes: its threads, the memory it frees, and its place among the other processes of the machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from harness.machine.threads import compute_threads
from harness.measure.quiet import working


@contextmanager
def computing(threads: int, device: torch.device | str) -> Iterator[None]:
    """Compute in this block as every run does, so that numbers and timings agree wherever they are taken.

    Args:
        threads: compute threads on a CPU, part of a run's settings.
        device: what is computed on; measurements of other processes on it are waited for, see `harness.measure.quiet`.
    """
    with compute_threads(threads), working(device):
        yield
