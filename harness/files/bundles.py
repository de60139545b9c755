"""Files that belong together and lie in a folder, in a zip archive of it, or on the web, by their path in it.

Nothing is unpacked: a file is read by its path, up to a size, and no path leads out of the bundle.
"""

from __future__ import annotations

import io
import logging
import zipfile
import zlib
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, urljoin, urlsplit

from harness.errors import ResultsNotWritable
from harness.files.caches import cache_folder
from harness.files.download import fetch, is_address
from harness.files.hashing import sha256_bytes
from harness.files.names import is_safe_name
from harness.files.reading import Damaged, require_file
from harness.files.writing import atomic_path

#: Largest archive that is fetched, in bytes.
LARGEST_ARCHIVE = 2**29
logger = logging.getLogger(__name__)


class Bundle(Protocol):
    """Files by their path in a folder, an archive or below an address."""

    def read(self, path: str, largest: int, sha256: str = "") -> bytes:
        """The content of a file of at most `largest` bytes; `sha256` finds it in a cache, and is not checked here.

        Raises:
            Damaged: missing, larger, or a path that leaves the bundle.
            NotFetched: see `harness.files.download.fetch`.
        """
        ...

    def names(self) -> set[str] | None:
        """The paths of all files; None where that cannot be known."""
        ...


def is_inner_path(path: object) -> bool:
    """Whether a value is a relative path of plain names.

    >>> is_inner_path("ranks/scenes/i2t.csv"), is_inner_path("../x"), is_inner_path("/etc/passwd"), is_inner_path("a//b")
    (True, False, False, False)
    """
    return isinstance(path, str) and 0 < len(path) <= 300 and all(map(is_safe_name, path.split("/")))


def open_bundle(place: str, index: str) -> Bundle:
    """The bundle at a place.

    Args:
        place: a folder, a zip archive, their address, or the path or address of the index.
        index: name of the file that every such bundle has at its root.

    Raises:
        Damaged: an archive that is none, or one whose files lie elsewhere.
        NotFetched: see `harness.files.download.fetch`.
    """
    if is_address(place):
        if urlsplit(place).path.lower().endswith(".zip"):
            return _Archive(io.BytesIO(fetch(place, LARGEST_ARCHIVE)), index)
        return _Address(place, index)
    path = Path(place)
    if path.suffix.lower() == ".zip" and path.is_file():
        return _Archive(path, index)
    return _Folder(path.parent if path.name == index and not path.is_dir() else path)


class _Folder:
    def __init__(self, root: Path):
        self.root = root

    def read(self, path: str, largest: int, sha256: str = "") -> bytes:
        _require_inner(path)
        file = self.root / path
        if not file.resolve().is_relative_to(self.root.resolve()):
            raise Damaged("it is a link that leaves the folder")
        size = require_file(file).st_size
        _require_size(size, largest)
        try:
            return file.read_bytes()
        except OSError as error:
            raise Damaged(error.strerror or str(error)) from None

    def names(self) -> set[str] | None:
        return {file.relative_to(self.root).as_posix() for file in self.root.rglob("*") if not file.is_dir()}


class _Archive:
    """A zip of the files, or of one folder that holds them."""

    def __init__(self, file: Path | io.BytesIO, index: str):
        try:
            self.zip = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
            raise Damaged("it is no whole zip archive; fetch it again") from None
        members = [member.filename for member in self.zip.infolist() if not member.is_dir()]
        outside = next(
            (name for name in members if name.startswith("/") or ".." in name.split("/") or "\\" in name), None
        )
        if outside is not None:
            raise Damaged(f"the archive names a file outside itself, {outside!r:.80}")
        if len(set(members)) < len(members):
            raise Damaged("the archive holds a file twice")
        roots = [name.removesuffix(index) for name in members if name == index or name.endswith(f"/{index}")]
        self.prefix = min(roots, key=len, default="")
        if not roots or self.prefix.count("/") > 1:
            raise Damaged(f"the archive has no {index}, neither at its root nor in its one folder")
        self.members = {name.removeprefix(self.prefix) for name in members if name.startswith(self.prefix)}

    def read(self, path: str, largest: int, sha256: str = "") -> bytes:
        _require_inner(path)
        if path not in self.members:
            raise Damaged("the archive has no such file")
        try:
            with self.zip.open(self.prefix + path) as file:
                content = file.read(largest + 1)  # whatever size the archive states
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError) as error:
            raise Damaged(f"the archive is damaged there: {error!s:.80}") from None
        _require_size(len(content), largest)
        return content

    def names(self) -> set[str] | None:
        return set(self.members)


class _Address:
    """Files below an address; those whose hash is known are kept in the cache by it."""

    def __init__(self, address: str, index: str):
        parts = urlsplit(address)._replace(fragment="")
        if not parts.path.endswith(f"/{index}"):
            parts = parts._replace(path=f"{parts.path.rstrip('/')}/{index}")
        self.index, self.address = index, parts.geturl()

    def read(self, path: str, largest: int, sha256: str = "") -> bytes:
        _require_inner(path)
        kept = cache_folder() / "frozen" / sha256
        if sha256 and kept.is_file() and kept.stat().st_size <= largest:
            content = kept.read_bytes()
            if sha256_bytes(content) == sha256:
                return content
        content = fetch(self.address if path == self.index else urljoin(self.address, quote(path)), largest)
        if sha256 and sha256_bytes(content) == sha256:
            _keep(kept, content)
        return content

    def names(self) -> set[str] | None:
        return None


def _keep(path: Path, content: bytes) -> None:
    try:
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)
    except ResultsNotWritable as error:
        logger.warning("%s, so it is fetched again next time; set ITM_CACHE to a folder with room", error)


def _require_inner(path: str) -> None:
    if not is_inner_path(path):
        raise Damaged(f"{path!r:.80} is no path within it")


def _require_size(size: int, largest: int) -> None:
    if size > largest:
        raise Damaged(f"it has more than the {largest:,} bytes that are expected")
