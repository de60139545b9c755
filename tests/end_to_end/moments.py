"""Kills that strike where a test says: around a call of a function, or at a counted moment of a folder.

A moment is before the n-th time that Python opens, moves, makes or removes something.

Between two such moments nothing changes on the disk but the inside of a file that has no name yet, so they stand for all
moments, and the same number strikes at the same place whatever else the machine does.
"""

import atexit
import importlib
import os
import signal
import sys


def kill_at(moment: int, folder: str) -> None:
    """Kill this process (SIGKILL) at the n-th moment that concerns a folder; the count is printed if it never comes."""
    count = 0

    def hear(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        if event.startswith(("open", "os.", "shutil.", "sqlite3.")) and any(
            isinstance(argument, (str, bytes, os.PathLike)) and folder in os.fsdecode(argument)
            for argument in arguments
        ):
            count += 1
            if count == moment:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hear)
    atexit.register(lambda: print(f"moments: {count}", flush=True))


def kill_around(name: str, number: int, when: str) -> None:
    """Kill this process (SIGKILL) `before` or `after` the n-th call of a function or method, given by its dotted name."""
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        try:
            owner = importlib.import_module(".".join(parts[:length]))
            break
        except ImportError:
            continue
    for part in parts[length:-1]:
        owner = getattr(owner, part)
    known, calls = getattr(owner, parts[-1]), 0

    def counted(*arguments: object, **named: object) -> object:
        nonlocal calls
        calls += 1
        if calls == number and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        found = known(*arguments, **named)
        if calls == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    setattr(owner, parts[-1], counted)
