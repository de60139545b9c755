"""Signals that end a process: the first one unwinds it in order, a repeated one ends it at once.

An interrupt is an exception that appears in the middle of whatever runs, and libraries lose some: code that was called
back by compiled code (pydantic's) turns it into another error, a bare `except` or a destructor drops it. So what was asked
is remembered. Loops ask for it between two pieces of work (`stop_if_asked`), whoever catches errors asks before it takes
one for a failure, and a process that has not ended long after it was asked is ended.
"""

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
#: Longest time for closing what is open: workers have 10 s, and SLURM cancels jobs in about as much.
LONGEST_FAREWELL_SECONDS = 40.0
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Interruptions:
    """What was asked of this process."""

    def __init__(self) -> None:
        self.received: int | None = None
        self._since = 0.0
        self._wake: int | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """The handler: raises `KeyboardInterrupt` once, so that everything that is open is closed."""
        now = time.monotonic()
        if self.received is None:
            self.received, self._since = number, now
            if self._wake is not None:
                with suppress(OSError):
                    os.write(self._wake, b"!")
            raise KeyboardInterrupt
        if now - self._since > SAME_WISH_SECONDS:
            os._exit(128 + number)

    @contextmanager
    def in_time(self, seconds: float) -> Iterator[None]:
        """End the process if this block goes on for so many seconds after a signal."""
        # A thread that waits on a pipe: in a handler no lock may be taken, so no thread started and no event set.
        read, self._wake = os.pipe()
        done = threading.Event()
        watch = threading.Thread(target=self._end, args=(read, seconds, done), name="itm-farewell", daemon=True)
        watch.start()
        try:
            yield
        finally:
            done.set()
            wake, self._wake = self._wake, None
            with suppress(BrokenPipeError):  # woken by a signal, it has closed its end
                os.write(wake, b".")  # not only closed: a forked child may hold the pipe as well
            os.close(wake)
            watch.join()

    @contextmanager
    def told(self) -> Iterator[None]:
        """Whatever error ends this block after a signal is the interrupt."""
        try:
            yield
        except Exception as error:
            if self.received is None:
                raise
            raise KeyboardInterrupt from error

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

    def _end(self, read: int, seconds: float, done: threading.Event) -> None:
        asked = os.read(read, 1)
        os.close(read)
        if asked and not done.wait(seconds):
            with suppress(OSError):
                os.write(2, b"itm: interrupted, and ended in the middle of its work; the same command continues\n")
            os._exit(128 + (self.received or signal.SIGINT))


#: What was asked of this process; that of a process which listens to nothing never asks.
_current = Interruptions()


def stop_if_asked() -> None:
    """Between two pieces of work: raise the interrupt that something has lost. Not for code that cleans up.

    Raises:
        KeyboardInterrupt: a signal has asked this process to end.
    """
    if _current.received is not None:
        raise KeyboardInterrupt


@contextmanager
def interruptions() -> Iterator[Interruptions]:
    """Listen to the signals that end a command, for the time of a block; only a main thread can."""
    signals = Interruptions()
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return
    previous = {number: signal.getsignal(number) for number in SIGNALS}
    listen(signals, [number for number in SIGNALS if previous[number] is not signal.SIG_IGN])  # as `nohup` asks for
    try:
        with signals.in_time(LONGEST_FAREWELL_SECONDS):
            yield signals
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        listen(Interruptions(), [])


def listen(signals: Interruptions, numbers: list[signal.Signals]) -> None:
    """Have some signals end this process from now on."""
    global _current
    _current = signals
    for number in numbers:
        signal.signal(number, signals)
