"""Work on single images, in as many threads as the process may use."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from harness.machine.cpus import usable_cpus

T = TypeVar("T")
R = TypeVar("R")


def each(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """What `work` makes of each item, in their order.

    It takes as many threads as torch computes with, which wait meanwhile: a run then keeps to its `threads`, and a loader
    process, where torch has one, to one core. Where nothing has loaded torch, nothing is trained: all cores serve. Pillow
    decodes and resizes without the interpreter's lock.

    >>> each(abs, [-1, 2])
    [1, 2]
    """
    torch = sys.modules.get("torch")
    threads = torch.get_num_threads() if torch else usable_cpus()
    if threads == 1:
        return list(map(work, items))
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, items))
