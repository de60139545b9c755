"""Writing: a file appears whole or not at all, and what killed writers left behind is removed."""

from __future__ import annotations

import logging
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.errors import ResultsNotWritable, one_line
from harness.files.owners import is_alive, this_machine

logger = logging.getLogger(__name__)

#: `.record.json.c0ffee-123-89abcdef`: of a file, by a process of a machine, with what SQLite keeps beside a database.
#: Earlier versions did not name the machine.
_TEMPORARY = re.compile(
    r"\.(?P<file>.+)\.(?:(?P<machine>[0-9a-f]{6})-)?(?P<pid>\d+)-[0-9a-f]{3,8}(-journal|-wal|-shm)?"
)
#: Seconds after which the unfinished file of another machine's process counts as left behind.
FOREIGN_AGE = 24 * 3600.0


@contextmanager
def atomic_path(path: Path, *, tidy: bool = True) -> Iterator[Path]:
    """A path to write to that becomes `path` when the block succeeds, and disappears when it fails.

    Args:
        path: where the content shall be.
        tidy: remove unfinished files of the same name whose writers are dead; lists the folder. Whoever writes many files
            calls `remove_leftovers` once.

    Raises:
        ResultsNotWritable: the folder cannot be written, or the disk is full.
    """
    path = Path(path)
    temporary = temporary_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if tidy:
            remove_leftovers(path.parent, path.name)
        yield temporary
        os.replace(temporary, path)
    except Exception as error:
        # Libraries hide a full disk behind errors of their own ("unexpected pos 704", "10000 requested and 359 written").
        reason = getattr(error, "strerror", None) or _disk_problem(temporary)
        if reason or isinstance(error, OSError):
            raise ResultsNotWritable(f"cannot write {path}: {reason or error}") from None
        raise
    finally:
        with suppress(OSError):  # a complaint about the leftover must not hide the reason
            temporary.unlink()


def temporary_path(path: Path) -> Path:
    """A new name beside a file or folder for what is not finished; `remove_leftovers` knows it."""
    return path.with_name(f".{path.name}.{this_machine()}-{os.getpid()}-{uuid.uuid4().hex[:8]}")


def require_inside(path: Path, root: Path) -> None:
    """Refuse to write to a place that links lead out of a folder.

    Raises:
        ResultsNotWritable: `path` is not below `root`, which may itself be a link.
    """
    target = Path(path).resolve()
    if not target.is_relative_to(Path(root).resolve()):
        raise ResultsNotWritable(
            f"{path} is a link to {target}, outside {root}; nothing is written there: remove the link"
        )


def leftovers(folder: Path, name: str = "") -> list[Path]:
    """Unfinished files and folders in a folder (not below it): of `name`, or all. Those of living writers are included."""
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    matches = [match for match in map(_TEMPORARY.fullmatch, names) if match and name in ("", match["file"])]
    return [folder / match.string for match in matches]


def remove_leftovers(folder: Path, name: str = "", *, alone: bool = False) -> None:
    """Remove the unfinished files and folders of killed writers from a folder.

    Args:
        folder: where to look, not below it.
        name: only unfinished copies of this file; all if empty.
        alone: nobody else writes in the folder now (the caller has claimed it), so every unfinished file is a leftover.
    """
    for path in leftovers(folder, name):
        if alone or _is_abandoned(path):
            with suppress(OSError):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()


def set_aside(path: Path, reason: object) -> Path | None:
    """Rename a damaged file, or whatever stands in its place, to `<name>.damaged`, and log one line that says so.

    Returns:
        Where it is now; None if there is nothing to rename, or it could not be renamed.
    """
    if not os.path.lexists(path):
        return None
    aside = path.with_name(f"{path.name}.damaged")
    if os.path.lexists(aside):  # two damages of one file: both are kept
        aside = path.with_name(f"{path.name}.damaged-{uuid.uuid4().hex[:6]}")
    problem = one_line(reason, 300)
    try:
        os.replace(path, aside)
    except OSError as error:
        logger.warning("%s is damaged (%s) and cannot be renamed: %s", path, problem, error.strerror or error)
        return None
    logger.warning("%s is damaged and is kept as %s: %s", path, aside.name, problem)
    return aside


def _disk_problem(path: Path) -> str:
    """Why nothing more can be written to an unfinished file; empty if it can be."""
    try:
        with path.open("ab") as file:
            file.write(bytes(2**20))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _is_abandoned(path: Path) -> bool:
    match = _TEMPORARY.fullmatch(path.name)
    assert match is not None
    if match["machine"] == this_machine():
        return not is_alive(int(match["pid"]))
    try:
        return time.time() - path.stat().st_mtime > FOREIGN_AGE
    except OSError:
        return False
