"""Signals that end a command: the first one unwinds it in order, a repeated one ends it at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

#: Signals within this many seconds of the first one are the same wish to stop: a terminal and a wrapper both send one.
SAME_WISH_SECONDS = 1.0
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Interruptions:
    """What was asked of this process."""

    def __init__(self) -> None:
        self.received: int | None = None
        self._since = 0.0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """The handler: raises `KeyboardInterrupt` once, so that everything that is open is closed."""
        now = time.monotonic()
        if self.received is None:
            self.received, self._since = number, now
            raise KeyboardInterrupt
        if now - self._since > SAME_WISH_SECONDS:
            os._exit(128 + number)

    def leave(self) -> NoReturn:
        """End an interrupted process.

        After a signal without the interpreter's own farewell, which waits for the threads of libraries that may be in
        the middle of something long; files and claims are closed by then.
        """
        if self.received is None:  # raised by no signal of ours
            sys.exit(130)
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(128 + self.received)


@contextmanager
def interruptions() -> Iterator[Interruptions]:
    """Listen to the signals that end a command, for the time of a block; only a main thread can."""
    signals = Interruptions()
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return
    previous = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in previous.items():
        if handler is not signal.SIG_IGN:  # as `nohup` and background jobs ask for
            signal.signal(number, signals)
    try:
        yield signals
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
