"""Kills that strike at a counted moment: before the n-th time that Python opens, moves, makes or removes something.

Between two such moments nothing changes on the disk but the inside of a file that has no name yet, so they stand for all
moments, and the same number strikes at the same place whatever else the machine does.
"""

import atexit
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
