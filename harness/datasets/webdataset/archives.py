"""Tar archives read in place: where each member's bytes lie. Nothing is extracted, and what is not a plain file is refused."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from harness.datasets.files import within
from harness.datasets.photographs.sources import Slice
from harness.datasets.store.facts import signature
from harness.errors import InvalidDataset, one_line

_BLOCK = tarfile.BLOCKSIZE
_KINDS = (
    ("issym", "a symbolic link"),
    ("islnk", "a hard link"),
    ("isdev", "a device or a pipe"),
    ("issparse", "a sparse file"),
)


def members_of(archive: Path) -> list[Slice]:
    """The files of an uncompressed tar archive, in its order; folders are passed over.

    Raises:
        InvalidDataset: no tar archive, cut off, several archives in one file, or a member that is a link, a device or a
            sparse file, that leaves the archive, or whose name occurs twice.
    """
    signature(archive)  # before it is opened: a FIFO would block
    try:
        with tarfile.open(archive, "r:") as tar:
            found = list(_files(archive, tar))
            _require_end(archive, tar)
    except InvalidDataset:
        raise
    except (tarfile.TarError, OSError, ValueError, OverflowError) as error:
        raise InvalidDataset(
            f"{archive} cannot be read as an uncompressed tar archive: {one_line(error)}; download it again"
        ) from None
    return found


def _files(archive: Path, tar: tarfile.TarFile) -> Iterator[Slice]:
    seen: set[str] = set()
    position = -1
    for info in tar:
        if info.size < 0 or info.offset <= position:  # a header that would be read for ever
            raise InvalidDataset(f"{archive}: member {info.name!r:.80} claims an impossible place; download it again")
        position = info.offset
        if info.isdir():
            continue
        kind = next((text for test, text in _KINDS if getattr(info, test)()), "")
        if kind or not info.isreg():
            raise InvalidDataset(
                f"{archive}: member {info.name!r:.80} is {kind or 'no regular file'}; only plain files are read"
            )
        within(archive, info.name, f"{archive}: a member")
        name = str(PurePosixPath(info.name))
        if name in seen:
            raise InvalidDataset(f"{archive} holds member {name!r:.80} twice; keep the right one")
        seen.add(name)
        yield Slice(archive, name, info.offset_data, info.size)


def _require_end(archive: Path, tar: tarfile.TarFile) -> None:
    """Refuse an archive that stops before its closing block of zeros, or goes on after it.

    `tarfile` takes a damaged header, and the end of a file that was cut off between two members, for the end of the archive.
    """
    with archive.open("rb") as file:
        file.seek(tar.offset)
        closing = file.read(_BLOCK)
        if len(closing) < _BLOCK or any(closing):
            problem = "is damaged" if len(closing) == _BLOCK else "is cut off"
            raise InvalidDataset(f"{archive} {problem} at byte {tar.offset:,}; download it again")
        while rest := file.read(2**20):
            if any(rest):
                raise InvalidDataset(
                    f"{archive} goes on after its end, as if archives had been joined; give each a file of its own"
                )
