"""Facts about files, remembered in the cache folder until the file changes.

A file is taken for unchanged while its resolved path, length, times of change (content and inode), inode and device are
the same. The time of the inode's change cannot be set back, so a file that is overwritten in place under its old date is
read again too.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from harness.datasets.store.turns import turn, version
from harness.errors import InvalidDataset, ResultsNotWritable
from harness.files.caches import cache_folder
from harness.files.reading import Damaged, parse_json, read_arrays
from harness.files.writing import atomic_path
from harness.machine.cpus import own_cpus

logger = logging.getLogger(__name__)
T = TypeVar("T")

Signature = list[int]
#: A file that changed less than this before it was read may change again under the same time: it is not remembered.
SETTLED_SECONDS = 2.0
REPORT_SECONDS = 10.0
_BLOCK = 256


def signature(path: Path) -> Signature:
    """What distinguishes one content of a file from another without reading it.

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
    """As `signature`, of a file whose status is known."""
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev]


def sha256_of(content: bytes) -> str:
    """Hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def remembered(
    kind: str, paths: Sequence[Path], marks: Sequence[Signature], find: Callable[[Path], list[str]], what: str
) -> list[list[str]]:
    """What `find` says of each file; it is asked again only where the file changed.

    Args:
        kind: of the finding, with its version: part of the name of the file that remembers.
        paths: the files.
        marks: their signatures.
        find: texts about one file; called in several threads.
        what: the work, for the progress line ("reading images").

    Returns:
        The texts of each file.
    """
    places = {folder: _place(kind, folder, "json") for folder in {path.parent for path in paths}}
    seen = {place: version(place) for place in places.values()}
    known = {place: _recall(place) for place in seen}
    found = _remembered(paths, marks, places, known)
    if len(found) < len(paths):
        with turn(min(seen), what):  # one of them: whoever asks of the same folders has the same first one
            changed = {place: _recall(place) for place in seen if version(place) != seen[place]}
            if changed:
                known |= changed
                found = _remembered(paths, marks, places, known)
            missing = [index for index in range(len(paths)) if index not in found]
            for block in reported(_asked(paths, missing, find), len(missing), what):
                found.update(block)
            fresh: dict[Path, dict[str, Any]] = {}
            for index in filter(lambda index: _settled(marks[index]), missing):
                path = paths[index]
                fresh.setdefault(places[path.parent], {})[path.name] = [*marks[index], *found[index]]
            for place, new in fresh.items():
                content = json.dumps(known[place] | new)
                _write(place, functools.partial(Path.write_text, data=content))
    return [found[index] for index in range(len(paths))]


def _remembered(
    paths: Sequence[Path],
    marks: Sequence[Signature],
    places: Mapping[Path, Path],
    known: Mapping[Path, Mapping[str, Any]],
) -> dict[int, list[str]]:
    """What is known of files that did not change since, by their index."""
    found: dict[int, list[str]] = {}
    for index, path in enumerate(paths):
        entry = known[places[path.parent]].get(path.name)
        if isinstance(entry, list) and entry[: len(marks[index])] == marks[index]:
            found[index] = entry[len(marks[index]) :]
    return found


def remembered_arrays(
    kind: str, path: Path, mark: Signature, find: Callable[[], dict[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """The arrays that `find` makes of one file; it is asked again only where the file changed."""
    place = _place(kind, path, "npz")
    seen, kept = version(place), _kept(place, mark)
    if kept is not None:
        return kept
    with turn(place, f"reading {path.name}"):
        kept = _kept(place, mark) if version(place) != seen else None
        if kept is not None:
            return kept
        arrays = find()
        if _settled(mark):
            _write(place, lambda partial: _save(partial, {"signature": np.array(mark), **arrays}))
    return arrays


def _kept(place: Path, mark: Signature) -> dict[str, np.ndarray] | None:
    """The arrays that are remembered, if they are of the file as it is."""
    if not place.exists():
        return None
    try:
        kept = read_arrays(place)
        return kept if kept.pop("signature").tolist() == mark else None
    except (Damaged, KeyError) as error:
        logger.warning("cache %s is damaged and will be made again: %s", place, error)
        return None


def reported(blocks: Iterable[T], total: int, what: str) -> Iterator[T]:
    """The same blocks; logs the progress every ten seconds, and the total time of a long job."""
    started = said = time.perf_counter()
    done = 0
    for block in blocks:
        yield block
        done += len(block)  # type: ignore[arg-type]
        now = time.perf_counter()
        if now - said > REPORT_SECONDS and done < total:
            said = now
            logger.info("%s: %d of %d, %.0f s left", what, done, total, (now - started) / done * (total - done))
    if time.perf_counter() - started > REPORT_SECONDS:
        logger.info("%s: %d in %.0f s; remembered until a file changes", what, done, time.perf_counter() - started)


def _settled(mark: Signature) -> bool:
    """Whether a file is old enough that a later change must show in its signature."""
    return time.time() - max(mark[1], mark[2]) / 1e9 > SETTLED_SECONDS


def _asked(
    paths: Sequence[Path], rows: Sequence[int], find: Callable[[Path], list[str]]
) -> Iterator[dict[int, list[str]]]:
    with ThreadPoolExecutor(min(16, own_cpus())) as pool:
        for start in range(0, len(rows), _BLOCK):
            block = rows[start : start + _BLOCK]
            yield dict(zip(block, pool.map(lambda row: find(paths[row]), block), strict=True))


def _place(kind: str, path: Path, suffix: str) -> Path:
    return cache_folder() / "digests" / f"{kind}-{sha256_of(os.path.realpath(path).encode())[:20]}.{suffix}"


def _recall(path: Path) -> dict[str, Any]:
    try:
        values = parse_json(path.read_bytes())
        return values if isinstance(values, dict) else {}
    except FileNotFoundError:
        return {}
    except (OSError, Damaged) as error:
        logger.warning("cache %s is damaged and will be made again: %s", path, error)
        return {}


def _save(path: Path, arrays: dict[str, Any]) -> None:
    with path.open("wb") as file:  # a path would be given the suffix .npz
        np.savez(file, **arrays)


def _write(path: Path, fill: Callable[[Path], object]) -> None:
    """A file that appears whole or not at all. A failure is only logged: without a cache, work takes longer."""
    try:
        with atomic_path(path) as partial:
            fill(partial)
    except ResultsNotWritable as error:
        logger.warning(
            "%s, so files are read again next time; set ITM_CACHE to a folder with room",
            str(error).replace("cannot write", "cannot write the cache", 1),
        )
