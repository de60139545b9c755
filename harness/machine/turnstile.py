"""A turnstile: many work at once, and whoever has to be alone for a moment is let in next.

Whoever works is inside. Between two pieces of work it passes by (`pass_by`), and waits there while another process is
alone. The two locks are the operating system's and end with their owner, however that dies, so nothing is left over. They
work among the processes of one machine (of one container, where `/dev/shm` is its own) and of one user.

Nobody waits for ever: not for a process that stays inside, nor for one that was stopped while it was alone.
"""

from __future__ import annotations

import functools
import logging
import os
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.machine.interruptions import stop_if_asked

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

#: Longest wait for those inside to pass by: a step of a large training, a validation.
PATIENCE_SECONDS = 20.0
#: Longest wait for whoever is alone, or before it in the queue.
LONGEST_PAUSE_SECONDS = 120.0
POLL_SECONDS = 0.01

_on = True
#: Those that this process is inside of, and the seconds that it has waited at all of them.
_entered: list[Turnstile] = []
_waited = 0.0


def use(on: bool) -> None:
    """Whether this process waits while others are alone, and has others wait: the command line sets it."""
    global _on
    _on = on


def is_on() -> bool:
    """Whether it does."""
    return _on


def pass_by() -> None:
    """Between two pieces of work: wait while another process is alone. Two system calls where none is; none where this
    process is inside nothing.

    Raises:
        KeyboardInterrupt: a signal has asked this process to end.
    """
    stop_if_asked()
    for turnstile in _entered:
        turnstile.pass_by()


def working_time(clock: Callable[[], float] = time.perf_counter) -> float:
    """A clock that stands still while this process waits for another one to be alone, s."""
    return clock() - _waited


def shared_folder() -> Path:
    """Where the locks of this user lie on this machine: in memory where there is such a place, never on a shared disk.

    Raises:
        OSError: there is no such place, or what lies there is somebody else's.
    """
    memory = Path("/dev/shm")
    base = memory if os.access(memory, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())
    folder = base / f"itm-{os.getuid()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()  # anybody can make a folder of that name there before us
    if folder.is_symlink() or not folder.is_dir() or found.st_uid != os.getuid():
        raise PermissionError(f"{folder} is not a folder of this user")
    return folder


class Turnstile:
    """One process's way through a turnstile. Entering it again, inside, is counted.

    Whoever wants to be alone locks the door first, so that nobody comes in any more, and then waits until the room is
    empty. Those inside hold the room together; when they pass by a locked door they leave the room until it opens.

    Args:
        name: of the turnstile, the same in all processes; may serve as a file's name.
        folder: where its locks lie; None = `shared_folder`. Where there cannot be any, everybody passes at once.
        clock, sleep: seconds.
    """

    def __init__(
        self,
        name: str,
        folder: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ):
        self.name, self._folder, self._clock, self._sleep = name, folder, clock, sleep
        self._door, self._room = -1, -1
        self._depth, self._inside, self._alone, self._gave_up = 0, False, False, False
        _turnstiles.add(self)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Work in this block, and pass by now and then."""
        self._depth += 1
        try:
            if self._depth == 1:
                self._open()
                self._come_in()
                _entered.append(self)
            yield
        finally:
            self._depth -= 1
            if self._depth == 0:
                _entered[:] = [other for other in _entered if other is not self]
                self._close()

    def pass_by(self) -> None:
        """Wait while another process is alone, or waits to be."""
        if self._alone or not self._depth:
            return
        if self._inside and _locked(self._door, shared=True):
            _unlock(self._door)
            return
        self._inside = False
        _unlock(self._room)
        self._come_in()

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Be alone in this block, as far as the others pass by in time.

        Yields:
            Whether everybody is outside. If not, they were waited for in vain, and the block runs beside them.
        """
        if self._alone:
            yield True
            return
        if self._depth == 0:
            self._open()
        self._inside = False
        _unlock(self._room)  # another one that wants to be alone, and comes first, must not wait for this process
        try:
            empty = self._wait(self._shut, LONGEST_PAUSE_SECONDS) and self._wait(self._emptied, PATIENCE_SECONDS)
            if not empty:
                logger.debug("%s: not alone: others did not pass by in time", self.name)
            self._alone = True
            yield empty
        finally:
            self._alone = False
            _unlock(self._room)
            _unlock(self._door)
            if self._depth == 0:
                self._close()
            else:
                self._come_in()

    def _come_in(self) -> None:
        global _waited
        since = self._clock()
        self._inside = self._wait(self._admitted, 0.0 if self._gave_up else LONGEST_PAUSE_SECONDS)
        _waited += self._clock() - since
        if not self._inside and not self._gave_up:
            logger.warning(
                "another process has measured for more than %.0f s, or is stopped; this one goes on beside it (process %d)",
                LONGEST_PAUSE_SECONDS,
                os.getpid(),
            )
        self._gave_up = not self._inside

    def _admitted(self) -> bool:
        if not _locked(self._door, shared=True):
            return False
        admitted = _locked(self._room, shared=True)
        _unlock(self._door)
        return admitted

    def _shut(self) -> bool:
        return _locked(self._door, shared=False)

    def _emptied(self) -> bool:
        return _locked(self._room, shared=False)

    def _wait(self, entered: Callable[[], bool], longest: float) -> bool:
        end = self._clock() + longest
        while not entered():
            if self._clock() >= end:
                return False
            self._sleep(POLL_SECONDS)
        return True

    def _open(self) -> None:
        """Anew for each stay: what cleans temporary folders may have removed the files of the last one."""
        if fcntl is None:
            return
        try:
            folder = self._folder or shared_folder()
            self._door = os.open(folder / f"{self.name}.door", os.O_RDWR | os.O_CREAT, 0o600)
            self._room = os.open(folder / f"{self.name}.room", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            self._close()
            _warn_once(str(error))

    def _close(self) -> None:
        for descriptor in (self._room, self._door):
            if descriptor >= 0:
                os.close(descriptor)
        self._door, self._room, self._inside = -1, -1, False

    def _forget(self) -> None:
        """In a forked child, which would hold its parent's locks beyond the parent's end."""
        self._close()
        self._depth, self._alone = 0, False


@functools.cache
def _warn_once(reason: str) -> None:
    logger.warning("runs beside each other will not wait while one of them measures its cost: %s", reason)


_turnstiles: weakref.WeakSet[Turnstile] = weakref.WeakSet()


def _forget_all() -> None:
    _entered.clear()
    for turnstile in _turnstiles:
        turnstile._forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


def _locked(descriptor: int, shared: bool) -> bool:
    """Take a lock at once if it is free; a missing one always is, as is one on a disk that has no locks."""
    if descriptor < 0:
        return True
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _unlock(descriptor: int) -> None:
    if descriptor >= 0:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)
