"""Claims: who works on what in a results folder, across processes and machines.

A claim is a lock of the operating system on an empty file in `.locks/`, so it ends with its owner, however that dies.
The disk must have locks that reach all machines: a local disk, NFS (not mounted with `nolock` or `local_lock`), Lustre
mounted with `flock`, GPFS, CephFS. On a disk without locks there is one warning, and two commands at once may do the
same work twice; files are written whole in any case.
"""

from __future__ import annotations

import errno
import functools
import logging
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from harness.errors import ResultsNotWritable
from harness.files.names import safe_name

logger = logging.getLogger(__name__)

FOLDER = ".locks"
POLL_SECONDS = 0.1
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP}


@contextmanager
def claim(root: Path, name: str, wait: float = math.inf) -> Iterator[bool]:
    """Claim a name below a folder for the duration of a block. Claims are not reentrant.

    Args:
        root: folder that the name belongs to, such as a results folder; made if it is missing.
        name: what is claimed, such as `run 0123456789abcdef`.
        wait: longest time to wait for another owner, in seconds; 0 = do not wait.

    Yields:
        Whether this block holds the claim; False if another owner still has it.

    Raises:
        ResultsNotWritable: the folder cannot be written.
    """
    path = _file(root, name)
    lock = FileLock(path, thread_local=False, fallback_to_soft=False)
    held = _acquire(lock, path, wait)
    try:
        yield held
    finally:
        if lock.is_locked:
            # Unlinked while locked: whoever opened the file before sees that it has no name any more and opens anew.
            with suppress(OSError):
                path.unlink()
            lock.release()
            with suppress(OSError):  # not empty
                path.parent.rmdir()


def is_claimed(root: Path, name: str) -> bool:
    """Whether somebody holds a claim now; nothing is written where nobody ever did."""
    if not _file(root, name).is_file():
        return False
    with claim(root, name, wait=0) as free:
        return not free


def remove_free(root: Path) -> None:
    """Remove the files of claims that killed owners left behind."""
    for path in (Path(root) / FOLDER).glob("*.lock"):
        with suppress(ResultsNotWritable), claim(root, path.name.removesuffix(".lock"), wait=0):
            pass  # freeing it removes its file


def _file(root: Path, name: str) -> Path:
    return Path(root) / FOLDER / f"{safe_name(name)}.lock"


def _acquire(lock: FileLock, path: Path, wait: float) -> bool:
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=-1 if math.isinf(wait) else wait, poll_interval=POLL_SECONDS)
        except Timeout:
            return False
        except (FileNotFoundError, FileExistsError) as error:
            if os.path.lexists(path.parent) and not path.parent.is_dir():
                raise ResultsNotWritable(f"cannot lock {path}: {path.parent} is not a folder") from error
            continue  # the last owner removed the folder while this one made it or opened the file
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise ResultsNotWritable(f"cannot lock {path}: {error.strerror or error}") from None
            _warn_once(path.parent.parent)
        return True


@functools.cache
def _warn_once(folder: Path) -> None:
    logger.warning(
        "the disk of %s has no locks: two commands at once on this folder may do the same work twice (process %d)",
        folder,
        os.getpid(),
    )
