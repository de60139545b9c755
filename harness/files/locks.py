"""Claims: who works on what in a results folder, across processes and machines.

A claim is a lock of the operating system on an empty file in `.locks/`, so it ends with its owner, however that dies.
The disk must have locks that reach all machines: a local disk, NFS (not mounted with `nolock` or `local_lock`), Lustre
mounted with `flock`, GPFS, CephFS. On a disk without locks there is one warning, and two commands at once may do the
same work twice; files are written whole in any case.
"""

from __future__ import annotations

import errno
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
_warned: set[Path] = set()


@contextmanager
def claim(root: Path, name: str, wait: float = math.inf) -> Iterator[bool]:
    """Claim a name below a folder for the time of a block.

    A claim is not reentrant: the block must not claim the same name again.

    Args:
        root: folder that the name belongs to, such as a results folder; made if it is missing.
        name: what is claimed, such as `run 0123456789abcdef`.
        wait: longest time to wait for another owner, in seconds; 0 = do not wait.

    Yields:
        Whether the name is claimed by this block; False if another owner still has it.

    Raises:
        ResultsNotWritable: the folder cannot be written.
    """
    path = Path(root) / FOLDER / f"{safe_name(name)}.lock"
    lock = FileLock(path, thread_local=False, fallback_to_soft=False)
    held = _acquire(lock, path, wait)
    try:
        yield held
    finally:
        if lock.is_locked:
            # While the lock is held: whoever opened the file before sees that it has no name any more and opens anew.
            with suppress(OSError):
                path.unlink()
            lock.release()
            with suppress(OSError):  # not empty
                path.parent.rmdir()


def is_claimed(root: Path, name: str) -> bool:
    """Whether somebody has claimed a name at this moment; nothing is written where nobody ever did."""
    if not (Path(root) / FOLDER / f"{safe_name(name)}.lock").is_file():
        return False
    with claim(root, name, wait=0) as free:
        return not free


def remove_free(root: Path) -> None:
    """Remove what the claims of killed owners left behind: files of claims that nobody holds."""
    for path in (Path(root) / FOLDER).glob("*.lock"):
        with suppress(ResultsNotWritable), claim(root, path.name.removesuffix(".lock"), wait=0):
            pass  # freeing it removes its file


def _acquire(lock: FileLock, path: Path, wait: float) -> bool:
    timeout = -1 if math.isinf(wait) else wait
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=timeout, poll_interval=POLL_SECONDS)
        except Timeout:
            return False
        except (FileNotFoundError, FileExistsError) as error:
            if os.path.lexists(path.parent) and not path.parent.is_dir():
                raise ResultsNotWritable(f"cannot lock {path}: {path.parent} is not a folder") from error
            continue  # the last owner took the folder away while this one made it or opened the file
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise ResultsNotWritable(f"cannot lock {path}: {error.strerror or error}") from None
            _warn_once(path.parent)
        return True


def _warn_once(folder: Path) -> None:
    if folder not in _warned:
        _warned.add(folder)
        logger.warning(
            "the disk of %s has no locks: two commands at once on this folder may do the same work twice (process %d)",
            folder.parent,
            os.getpid(),
        )
