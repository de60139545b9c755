"""Where the bytes of photographs lie: a file for each, or a slice of an archive."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from harness.datasets.files import require_inside
from harness.datasets.photographs.decoding import read_image
from harness.datasets.store import facts
from harness.errors import InvalidDataset


class ImageSource(Protocol):
    """The encoded bytes of the images of a split, by their rows."""

    @property
    def labels(self) -> Sequence[Path]:
        """What messages call each image: its file, or its archive and its name in there."""
        ...

    def marks(self) -> list[facts.Signature]:
        """What distinguishes one content of each image from another without reading it; begins with its file's signature.

        Raises:
            InvalidDataset: a file is missing, is no regular file, or is a link that leaves the root.
        """
        ...

    def read(self, row: int) -> bytes:
        """The bytes of an image; called in several threads.

        Raises:
            InvalidDataset: they cannot be read.
        """
        ...


class ImageFiles:
    """Images that are files of their own.

    Args:
        root: the folder that no link may leave.
        names: paths below it, with forward slashes.
    """

    def __init__(self, root: Path, names: Sequence[str]):
        self._root = root
        self.labels: Sequence[Path] = [root / name for name in names]

    def marks(self) -> list[facts.Signature]:
        """One line for all files that are missing, and one for all that are no files; see `ImageSource`."""
        marks, missing, odd = [], [], []
        for path in self.labels:
            try:
                found = path.lstat()
                if stat.S_ISLNK(found.st_mode):
                    require_inside(self._root, path)
                    found = path.stat()
            except OSError:
                missing.append(path)
                continue
            marks.append(facts.signature_of(found))
            if not stat.S_ISREG(found.st_mode):
                odd.append(path)
        if missing:
            raise InvalidDataset(
                f"{len(missing)} of {len(self.labels)} images are missing (first: {missing[0]}); "
                "set dataset.images to the folder below dataset.root that holds them"
            )
        if odd:
            raise InvalidDataset(
                f"{len(odd)} of {len(self.labels)} images are no regular files (first: {odd[0]}); replace them with the "
                "photographs"
            )
        for folder in {path.parent for path in self.labels}:
            require_inside(self._root, folder)
        return marks

    def read(self, row: int) -> bytes:
        return read_image(self.labels[row])


@dataclass(frozen=True)
class Slice:
    """Bytes inside a file that are a file of their own: a member of an uncompressed archive.

    Args:
        archive: the file.
        name: of the member, distinct in the archive.
        offset, size: where its bytes lie.
    """

    archive: Path
    name: str
    offset: int
    size: int

    @property
    def label(self) -> Path:
        """The archive and the name as one path, for messages."""
        return self.archive / self.name

    def read(self, file: BinaryIO) -> bytes:
        """The bytes, from the opened archive.

        Raises:
            InvalidDataset: the archive ends before them.
        """
        file.seek(self.offset)
        content = file.read(self.size)
        if len(content) != self.size:
            raise InvalidDataset(f"{self.label} is cut off: {len(content):,} of {self.size:,} bytes are there")
        return content


class ImageSlices:
    """Images that are slices of archives.

    Args:
        root: the folder that no link may leave.
        slices: one per image.
    """

    def __init__(self, root: Path, slices: Sequence[Slice]):
        self._root, self._slices = root, slices
        self.labels: Sequence[Path] = [part.label for part in slices]

    def marks(self) -> list[facts.Signature]:
        archives = {part.archive for part in self._slices}
        signatures = {archive: facts.signature(require_inside(self._root, archive)) for archive in archives}
        return [[*signatures[part.archive], part.offset, part.size] for part in self._slices]

    def read(self, row: int) -> bytes:
        part = self._slices[row]
        try:
            with part.archive.open("rb") as file:
                return part.read(file)
        except OSError as error:
            raise InvalidDataset(f"image {part.label} cannot be read: {error.strerror or error}") from None
