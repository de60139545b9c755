"""Compute threads: how many a run uses decides the last bits of its numbers, so a run says how many and gets as many."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits


@contextmanager
def compute_threads(count: int) -> Iterator[None]:
    """So many threads for torch and for NumPy's linear algebra; what was set before is restored afterwards.

    Args:
        count: at least 1; the environment (OMP_NUM_THREADS) does not matter meanwhile.
    """
    before = torch.get_num_threads()
    try:
        with threadpool_limits(limits=count):
            torch.set_num_threads(count)
            yield
    finally:
        torch.set_num_threads(before)
