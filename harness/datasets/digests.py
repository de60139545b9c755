"""What was once found out about a file's content, remembered in the cache folder until the file changes.

A file is taken for unchanged while its resolved path, length, times of change (content and inode), inode and device are
the same. The time of the inode's change cannot be set back, so a file that is overwritten in place under its old date is
read again too.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from harness.datasets.cache import cache_folder
from harness.errors import InvalidDataset

log = logging.getLogger(__name__)
T = TypeVar("T")

Signature = list[int]
#: A file that changed less than this before it was read may change again under the same time: it is not remembered.
SETTLED_SECONDS = 2.0
REPORT_SECONDS = 10.0
_BLOCK = 256


def signature(path: Path) -> Signature:
    """What tells one content of a file from another without reading it.

    Raises:
        InvalidDataset: missing, or no regular file.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise InvalidDataset(f"cannot read {path}: {error.strerror or error}") from None
    if not stat.S_ISREG(found.st_mode):
        raise InvalidDataset(f"{path} is not a regular file; replace it with one")
    return signature_of(found)


def signature_of(found: os.stat_result) -> Signature:
    """As `signature`, of a file that was looked at already."""
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev]


def settled(mark: Signature) -> bool:
    """Whether a file is old enough that a later change must show in its signature."""
    return time.time() - max(mark[1], mark[2]) / 1e9 > SETTLED_SECONDS


def sha256_of(content: bytes) -> str:
    """Hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def remembered(
    kind: str, paths: Sequence[Path], marks: Sequence[Signature], find: Callable[[Path], list[str]], what: str
) -> list[list[str]]:
    """What `find` says of each file, asked only where the file changed since it was last asked.

    Args:
        kind: of the finding, with its version: part of the name of the file that remembers.
        paths: the files.
        marks: their signatures.
        find: texts about one file; called in several threads.
        what: the work, for the line that says how far it is ("reading images").

    Returns:
        The texts of each file.
    """
    folders: dict[str, list[int]] = {}
    for index, path in enumerate(paths):
        folders.setdefault(os.path.realpath(path.parent), []).append(index)
    known = {folder: _recall(_file(kind, folder)) for folder in folders}
    found: dict[int, list[str]] = {}
    for folder, rows in folders.items():
        for index in rows:
            entry = known[folder].get(paths[index].name)
            if isinstance(entry, list) and entry[: len(marks[index])] == marks[index]:
                found[index] = entry[len(marks[index]) :]
    missing = [index for index in range(len(paths)) if index not in found]
    for block in reported(_asked(paths, missing, find), len(missing), what):
        found.update(block)
    for folder, rows in folders.items():
        new = {paths[i].name: [*marks[i], *found[i]] for i in set(rows).intersection(missing) if settled(marks[i])}
        if new:
            _remember(_file(kind, folder), known[folder] | new)
    return [found[index] for index in range(len(paths))]


def _asked(
    paths: Sequence[Path], rows: Sequence[int], find: Callable[[Path], list[str]]
) -> Iterator[dict[int, list[str]]]:
    """What `find` says of some files, a block of them at a time."""
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        for start in range(0, len(rows), _BLOCK):
            block = rows[start : start + _BLOCK]
            yield dict(zip(block, pool.map(lambda row: find(paths[row]), block), strict=True))


def remembered_arrays(
    kind: str, path: Path, mark: Signature, find: Callable[[], dict[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """The arrays that `find` makes of one file, made only where the file changed."""
    place = cache_folder() / "digests" / f"{kind}-{sha256_of(os.path.realpath(path).encode())[:20]}.npz"
    try:
        with np.load(place, allow_pickle=False) as kept:
            if str(kept["signature"]) == str(mark):
                return {name: kept[name] for name in kept.files}
    except FileNotFoundError:
        pass
    except Exception as error:  # a damaged archive raises many kinds
        log.warning("cache %s is damaged and will be made again: %s", place, " ".join(str(error).split()))
    arrays = find()
    if settled(mark):
        kept_arrays: dict[str, Any] = {"signature": np.array(str(mark)), **arrays}
        _write(place, lambda file: np.savez(file, **kept_arrays))
    return arrays


def reported(blocks: Iterable[T], total: int, what: str) -> Iterator[T]:
    """The same blocks (of a length); says how far it is every ten seconds, and what it took where that was long."""
    started = said = time.perf_counter()
    done = 0
    for block in blocks:
        yield block
        done += len(block)  # type: ignore[arg-type]
        now = time.perf_counter()
        if now - said > REPORT_SECONDS and done < total:
            said = now
            log.info("%s: %d of %d, %.0f s left", what, done, total, (now - started) / done * (total - done))
    if time.perf_counter() - started > REPORT_SECONDS:
        log.info("%s: %d in %.0f s; remembered until a file changes", what, done, time.perf_counter() - started)


def _file(kind: str, folder: str) -> Path:
    return cache_folder() / "digests" / f"{kind}-{sha256_of(folder.encode())[:20]}.json"


def _recall(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_bytes())
        return values if isinstance(values, dict) else {}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        log.warning("cache %s is damaged and will be made again: %s", path, " ".join(str(error).split()))
        return {}


def _remember(path: Path, values: dict[str, Any]) -> None:
    _write(path, lambda file: file.write(json.dumps(values).encode()))


def _write(path: Path, fill: Callable[[Any], object]) -> None:
    """A file that appears whole or not at all; a cache that cannot be written costs time only, so that is but told."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            fill(file)
        os.replace(partial, path)
    except OSError as error:
        log.warning(
            "cannot write the cache %s (%s), so files are read again next time; set ITM_CACHE to a folder with room",
            path,
            error.strerror or error,
        )
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
