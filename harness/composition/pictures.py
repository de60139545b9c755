"""The pictures of a suite: where they lie, which of them are missing or cannot be read, and their pixels."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from PIL import Image

from harness.composition.examples import Shown
from harness.datasets.files import within
from harness.datasets.photographs.decoding import DECODER
from harness.datasets.photographs.files import Form, Photographs
from harness.datasets.photographs.sources import ImageFiles, ImageSource
from harness.datasets.store import facts
from harness.datasets.table.parquet import Cell, ImageCells
from harness.description.names import Name, name_of
from harness.description.pictures import Picture, look
from harness.errors import InvalidDataset, counted
from harness.files.caches import cache_folder

logger = logging.getLogger(__name__)

#: Folders below the suite's that are looked into: COCO, Visual Genome and the like have a few, not thousands.
MOST_FOLDERS = 200
_DEPTH = 3
_ENDINGS = ("", ".jpg", ".png", ".jpeg")


class Pictures(Photographs):
    """Pictures, or parts of pictures, as pixels.

    Args:
        source: the bytes of each, equal where several are parts of one.
        boxes: the part of each; None = all of it.
    """

    def __init__(self, source: ImageSource, boxes: Sequence[tuple[int, int, int, int] | None]):
        super().__init__(source)
        self._boxes = tuple(boxes)

    def original(self, row: int) -> Image.Image:
        """One picture at the size that it has, cut to its box, RGB.

        Raises:
            InvalidDataset: it cannot be decoded, or the box lies outside of it.
        """
        whole, box = super().original(row), self._boxes[row]
        if box is None:
            return whole
        left, top, right, bottom = max(0, box[0]), max(0, box[1]), min(whole.width, box[2]), min(whole.height, box[3])
        if left >= right or top >= bottom:
            raise InvalidDataset(
                f"the box {box} lies outside of {self._source.labels[row]}, which has {whole.width} x {whole.height} pixels"
            )
        return whole.crop((left, top, right, bottom))

    def _file(self, form: Form) -> Path:
        if not any(self._boxes):
            return super()._file(form)
        size, resize = form
        key = facts.sha256_of(f"{DECODER} {' '.join(self.digests)} {self._boxes}".encode())[:16]
        return cache_folder() / "photographs" / f"{key}-{size}-{resize}-parts.npy"


@dataclass(frozen=True, eq=False)
class Place:
    """Where pictures of a suite were looked for.

    Args:
        root: the folder that holds all of them.
        shown: distinct pictures and parts.
        paths: of each file's name, below the root; files that are missing have none.
    """

    root: Path
    shown: tuple[Shown, ...]
    paths: dict[str, str]

    @cached_property
    def facts(self) -> list[Picture]:
        """What the file of each of `shown` is; remembered until a file changes."""
        cells = {one.file: row for row, one in enumerate(self.shown) if isinstance(one.file, Cell)}
        names = dict.fromkeys(self.paths[one.file] for one in self.shown if one.file in self.paths)
        files = dict(zip(names, look(ImageFiles(self.root, list(names)), self.root), strict=True))
        held = dict(zip(cells, look(ImageCells(self.root, list(cells)), self.root), strict=True)) if cells else {}
        return [self._of(one, files, held) for one in self.shown]

    def _of(self, one: Shown, files: dict[str, Picture], held: dict[Cell, Picture]) -> Picture:
        if isinstance(one.file, Cell):
            return held[one.file]
        if one.file not in self.paths:
            return Picture(problem=f"image {one.file} is missing", missing=True)
        found = files[self.paths[one.file]]
        if not found.problem and one.box is not None and _outside(one.box, found):
            return Picture(problem=f"the box {one.box} lies outside of {one.file}")
        return found

    @cached_property
    def names(self) -> list[Name]:
        """What the name of each says of its origin."""
        return [name_of(one.file.name if isinstance(one.file, Cell) else one.file) for one in self.shown]

    def images(self, rows: Iterable[int]) -> Pictures:
        """Some of the pictures, which must be there, as pixels.

        Raises:
            InvalidDataset: some are cells of a table and others files.
        """
        some = [self.shown[row] for row in rows]
        cells = [one.file for one in some if isinstance(one.file, Cell)]
        files = [self.paths[one.file] for one in some if isinstance(one.file, str)]
        if cells and files:
            raise InvalidDataset(
                f"{cells[0].file} holds some pictures and names files of others; it must do one or the other"
            )
        source: ImageSource = ImageCells(self.root, cells) if cells else ImageFiles(self.root, files)
        return Pictures(source, [one.box for one in some])


def place_of(root: Path, shown: Sequence[Shown], told_by: str) -> Place:
    """Find the pictures that a suite names, in the folder or in those below it.

    A name is looked for as a path below each folder, and then by its last part alone; where a name has no ending, as
    Winoground's, `.jpg` and `.png` are tried.

    Args:
        root: that no name and no link may leave.
        shown: distinct pictures.
        told_by: the suite, for messages.

    Raises:
        InvalidDataset: a name leaves the root.
    """
    names = dict.fromkeys(one.file for one in shown if isinstance(one.file, str))
    for name in names:
        within(root, name, told_by)
    folders, paths, doubled = _folders(root), {}, 0
    held = {folder: _files_of(root / folder) for folder in folders} if names else {}
    for name in names:
        found = _found(root, name, folders, held)
        doubled += len(found) > 1
        if found:
            paths[name] = found[0]
    if doubled:
        logger.info(
            "%s: %s lie in several folders below %s; the first one is taken", told_by, counted(doubled, "picture"), root
        )
    return Place(root, tuple(shown), paths)


def _found(root: Path, name: str, folders: Sequence[str], held: dict[str, frozenset[str]]) -> list[str]:
    """Paths below the root of the files that a name may mean: of those by its whole path, else of those by its last part."""
    head, _, last = name.strip("/").rpartition("/")
    if head:
        whole = [_joined(folder, name) for folder in folders if (root / folder / name).is_file()]
        if whole:
            return whole
    return [
        _joined(folder, last + ending) for ending in _ENDINGS for folder in folders if last + ending in held[folder]
    ]


def _joined(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _folders(root: Path) -> list[str]:
    """The root and the folders below it, nearest first."""
    found, level = [""], [""]
    for _ in range(_DEPTH):
        level = sorted(
            _joined(folder, entry.name)
            for folder in level
            for entry in _entries(root / folder)
            if entry.is_dir(follow_symlinks=True) and not entry.name.startswith(".")
        )
        found += level
        if len(found) > MOST_FOLDERS:
            logger.warning(
                "%s holds more than %d folders; pictures are looked for in the first of them", root, MOST_FOLDERS
            )
            return found[:MOST_FOLDERS]
    return found


def _files_of(folder: Path) -> frozenset[str]:
    return frozenset(entry.name for entry in _entries(folder))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _outside(box: tuple[int, int, int, int], picture: Picture) -> bool:
    left, top, right, bottom = box
    return max(0, left) >= min(picture.width, right) or max(0, top) >= min(picture.height, bottom)
