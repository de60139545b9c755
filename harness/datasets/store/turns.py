"""Turns: of several processes that want a file of the cache one makes it, and the others wait for it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from harness.errors import ResultsNotWritable
from harness.files.locks import claim

logger = logging.getLogger(__name__)


@contextmanager
def turn(path: Path, what: str) -> Iterator[None]:
    """Hold the right to make a file; whoever gets it looks first whether the file was made meanwhile, see `version`.

    Where the folder cannot be written, nobody waits: whoever writes says what is wrong.

    Args:
        path: the file.
        what: the work, for the line that says that another process does it ("reading images").
    """
    with ExitStack() as stack:
        with suppress(ResultsNotWritable):
            if not stack.enter_context(claim(path.parent, path.name, wait=0)):
                logger.info("another process is %s; waiting for it", what)
                stack.enter_context(claim(path.parent, path.name))
        yield


def version(path: Path) -> tuple[int, int] | None:
    """What tells a file from the one that was there before; None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
