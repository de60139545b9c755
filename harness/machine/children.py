"""Child processes: they leave Ctrl-C to their parent, end with it, and are ended in time."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess

#: Seconds that a process has to leave what it does.
PATIENCE_SECONDS = 10.0


@contextmanager
def own_interrupts() -> Iterator[None]:
    """Processes that are started in this block never see a Ctrl-C of the terminal, which goes to all: their parent
    does, and asks them to stop."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_parent(exit_code: int) -> None:
    """Have this process, which `multiprocessing` started, end as soon as its parent has, however that ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent, exit_code), name="itm-parent", daemon=True).start()


def stop(processes: Sequence[BaseProcess], patience: float = PATIENCE_SECONDS) -> None:
    """Ask processes to end; kill those that do not in time."""
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + patience
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()


def _end_with(parent: BaseProcess, exit_code: int) -> None:
    parent.join()
    os._exit(exit_code)
