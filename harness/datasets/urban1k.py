"""Urban1k: one long caption per photograph, `image/1.jpg` beside `caption/1.txt`. Test split only.

Of each caption file the first line is the caption, as in the authors' loader (Long-CLIP). Theirs lists the folder in the
file system's order; here images stand in the order of their numbers.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from harness.datasets.base import DatasetConfig
from harness.datasets.files import read_lines, require_inside
from harness.datasets.photographs.dataset import Entry, PhotographConfig, PhotographDataset
from harness.errors import InvalidDataset, counted

logger = logging.getLogger(__name__)

_IMAGES, _CAPTIONS = "image", "caption"


class Urban1kConfig(PhotographConfig):
    """Where the files are."""

    images: None = Field(None, description="unused: the images lie in image/")


class Urban1k(PhotographDataset):
    """Photographs with one long caption each in a text file of the same name. Test split only."""

    Config: ClassVar[type[DatasetConfig]] = Urban1kConfig

    @classmethod
    def recognise(cls, root: Path) -> str | None:
        """The folder holds image/, and caption/ with numbered text files."""
        if not (root / _IMAGES).is_dir() or not (root / _CAPTIONS).is_dir():
            return None
        names = (path.name for path in (root / _CAPTIONS).iterdir() if re.fullmatch(r"[0-9]+\.txt", path.name))
        first = min(names, key=in_numeric_order, default=None)
        return first and f"{_IMAGES}/ and {_CAPTIONS}/{first}"

    @property
    def title(self) -> str:
        return "urban1k"

    def read(self) -> dict[str, list[Entry]]:
        images, captions = (_by_stem(self.root, folder) for folder in (_IMAGES, _CAPTIONS))
        for here, there, what in ((images, captions, "caption"), (captions, images, "image")):
            alone = sorted(here.keys() - there.keys(), key=in_numeric_order)
            if alone:
                raise InvalidDataset(
                    f"{self.root}: {len(alone)} of {len(here):,} files have no {what} of the same name "
                    f"(first: {here[alone[0]]})"
                )
        entries, longer = [], 0
        for stem in sorted(images, key=in_numeric_order):
            lines, _ = read_lines(require_inside(self.root, self.root / captions[stem]))
            longer += any(lines[1:])
            entries.append(Entry(images[stem], stem, (lines[0] if lines else "",), (f"{stem}#0",)))
        if longer:
            logger.warning(
                "%s: %s with more than one line: the first line is the caption",
                self.root,
                counted(longer, "caption file"),
            )
        return {"test": entries}


def in_numeric_order(name: str) -> list[tuple[int, int, str]]:
    """A key that sorts names with numbers in them by the numbers.

    >>> sorted(["10", "9", "b2", "b10"], key=in_numeric_order)
    ['9', '10', 'b2', 'b10']
    """
    parts = re.split(r"([0-9]+)", name)
    return [(0, int(part), part) if part.isdigit() else (1, 0, part) for part in parts if part]


def _by_stem(root: Path, folder: str) -> dict[str, str]:
    """The files of a folder, as paths below the root, by their names without suffix."""
    if not (root / folder).is_dir():
        raise InvalidDataset(f"{root} has no folder {folder}/; Urban1k has {_IMAGES}/1.jpg and {_CAPTIONS}/1.txt")
    found: dict[str, str] = {}
    for path in sorted(require_inside(root, root / folder).iterdir()):
        if path.name.startswith("."):
            continue
        if path.stem in found:
            raise InvalidDataset(
                f"{root / folder} holds two files for '{path.stem}': {found[path.stem]} and {path.name}"
            )
        found[path.stem] = f"{folder}/{path.name}"
    return found
