"""Compute threads: those of torch and of the libraries for linear algebra."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits


@contextmanager
def compute_threads(count: int) -> Iterator[None]:
    """Use `count` threads in torch and in NumPy's linear algebra, whatever OMP_NUM_THREADS says.

    The number of threads decides the last bits of a run's numbers.
    """
    before = torch.get_num_threads()
    try:
        with threadpool_limits(limits=count):
            torch.set_num_threads(count)
            yield
    finally:
        torch.set_num_threads(before)
