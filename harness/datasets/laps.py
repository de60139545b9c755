"""The layout of LAPS, AVSE, D2S-VSE, PCME++ and VSE-infinity on grids: `<split>_caps.txt`, `<split>_ids.txt`, `id_mapping.json`.

An id stands once per image (train) or once per caption (dev, test); `id_mapping.json` gives the image file of each id. In
Flickr30K the ids are positions in a sorted list, in COCO they are COCO's own; the image ids here are the file names, so
that every picture can be found. The images lie in a folder of their own: below the captions, or beside them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from harness.datasets.base import SPLITS, DatasetConfig
from harness.datasets.files import (
    first_name,
    parse_json,
    read_bytes,
    read_lines,
    refuse_printed_bytes,
    require_inside,
    within,
)
from harness.datasets.photographs.dataset import Entry, PhotographDataset, TitledConfig, entry_of
from harness.datasets.photographs.places import Place, find_place
from harness.datasets.published import published_name
from harness.errors import InvalidDataset, counted

logger = logging.getLogger(__name__)

_MAPPING = "id_mapping.json"
PUBLISHED = 5  #: captions per image of Flickr30K and COCO in this layout
_INSIDE = ("images", "flickr30k-images", "coco-images", "")
_BESIDE = ("flickr30k-images", "coco-images")


class LapsConfig(TitledConfig):
    """Where the files are and how much of them is used."""

    annotations: str | None = Field(
        None, min_length=1, description="the folder of id_mapping.json, below root; null = root or its only such folder"
    )
    images: str | None = Field(
        None,
        description="the folder of the images, below root; null = images, flickr30k-images or coco-images there, or the "
        "latter two beside it",
    )
    test_name: str | None = Field(
        None, pattern=r"^\w+$", description="prefix of the test files; null = test, or testall where only that exists"
    )


class Laps(PhotographDataset):
    """Photographs with captions and ids in lines, as LAPS, AVSE, D2S-VSE, PCME++ and VSE-infinity keep them.

    Image ids are file names, caption ids `<file>#k`, k from 0.
    """

    Config: ClassVar[type[DatasetConfig]] = LapsConfig
    config: LapsConfig

    @classmethod
    def recognise(cls, root: Path) -> str | None:
        """The folder, or folders in it, hold `id_mapping.json` and `<split>_ids.txt` (there, or in `precomp/`)."""
        found = [folder for folder in _mapping_folders(root) if first_name(_captions_of(folder), "*_ids.txt")]
        return ", ".join(str((folder / _MAPPING).relative_to(root)) for folder in found) or None

    @property
    def title(self) -> str:
        """As configured, else by the folder of the captions: f30k is flickr30k, coco is mscoco."""
        return self.config.title or published_name(self._folder.resolve().name)

    def read(self) -> dict[str, list[Entry]]:
        self._folder = _annotations(self.root, self.config.annotations)
        self.source = captions = require_inside(self.root, _captions_of(self._folder))
        mapping = _mapping(require_inside(self.root, self._folder / _MAPPING))
        read = {
            split: _split(captions, prefix, mapping)
            for split in SPLITS
            if (prefix := self._prefix(captions, split)) is not None
        }
        place = self._place([file for images in read.values() for file, _ in images])
        self.images_root = place.root
        return {split: [entry_of(place.path(file), texts) for file, texts in images] for split, images in read.items()}

    def _prefix(self, folder: Path, split: str) -> str | None:
        """Of a split's files: None where it has none. A line says what was taken where two could be meant."""
        if split == "train":
            return _first_of(folder, ("train",))
        if split == "val":
            found = [prefix for prefix in ("val", "dev") if _first_of(folder, (prefix,))]
            if len(found) > 1:
                logger.warning("%s holds val_* and dev_*; val_* is taken", folder)
            return found[0] if found else None
        if self.config.test_name is not None:
            if _first_of(folder, (self.config.test_name,)) is None:
                raise InvalidDataset(f"{folder} holds no {self.config.test_name}_caps.txt; correct dataset.test_name")
            return self.config.test_name
        taken = _first_of(folder, ("test", "testall"))
        if taken == "test" and _first_of(folder, ("testall",)):
            logger.info("%s: test_* is taken; dataset.test_name=testall takes testall_*", folder)
        elif taken == "testall":
            logger.info("%s: testall_* is the test split", folder)
        return taken

    def _place(self, files: Sequence[str]) -> Place:
        """Where the images lie: below the root, or beside it as in LAPS's own tree, `data/f30k` and `data/flickr30k-images`."""
        told = str(self._folder / _MAPPING)
        usual = [*_INSIDE]
        if self._folder != self.root:
            usual += [f"{self._folder.relative_to(self.root).as_posix()}/{name}".rstrip("/") for name in _INSIDE]
        elif self.config.images is None:
            above = Path(os.path.abspath(self.root)).parent
            inside = (Place(self.root, name, False, told) for name in usual)
            beside = [Place(above, name, False, told) for name in _BESIDE]
            place = next((place for place in (*inside, *beside) if place.holds(files)), None)
            if place in beside:
                logger.info("%s: the images are those of %s", self.root, above / place.folder)
                return place
        return find_place(self.root, self.config.images, usual, files, told)


def _mapping_folders(root: Path) -> list[Path]:
    """The folder itself where it holds a mapping, else those in it that do."""
    if (root / _MAPPING).is_file():
        return [root]
    return sorted(path.parent for path in root.glob(f"*/{_MAPPING}") if path.is_file())


def _captions_of(folder: Path) -> Path:
    """The folder of the lines: VSE-infinity and PCME++ keep them in `precomp/` below the mapping."""
    return folder if first_name(folder, "*_ids.txt") or not (folder / "precomp").is_dir() else folder / "precomp"


def _annotations(root: Path, given: str | None) -> Path:
    if given is not None:
        return require_inside(root, within(root, given, "dataset.annotations"))
    found = _mapping_folders(root)
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise InvalidDataset(
            f"{root} must hold one {_MAPPING}, or one folder with it, found {names}; set dataset.annotations to the folder"
        )
    return require_inside(root, found[0])


def _first_of(folder: Path, prefixes: Sequence[str]) -> str | None:
    return next((prefix for prefix in prefixes if (folder / f"{prefix}_caps.txt").is_file()), None)


def _mapping(path: Path) -> dict[str, str]:
    mapping = parse_json(read_bytes(path), path)
    wrong = next((key for key, name in mapping.items() if not isinstance(name, str) or not name), None)
    if wrong is not None:
        raise InvalidDataset(f"{path}: id '{wrong}' must map to the name of an image file, got {mapping[wrong]!r:.60}")
    return mapping


def _split(folder: Path, prefix: str, mapping: Mapping[str, str]) -> list[tuple[str, list[str]]]:
    """The image file of each image of a split, and its captions, in the order of the files."""
    captions_file, ids_file = (require_inside(folder, folder / f"{prefix}_{kind}.txt") for kind in ("caps", "ids"))
    captions, hint = read_lines(captions_file)
    refuse_printed_bytes(captions, captions_file)
    ids = [_key(line, mapping) for line in read_lines(ids_file)[0]]
    unknown = [number for number, key in enumerate(ids, 1) if key not in mapping]
    if unknown:
        raise InvalidDataset(
            f"{ids_file}: {len(unknown)} ids are not in {_MAPPING} (line {unknown[0]}: '{ids[unknown[0] - 1]:.40}'); take the "
            "mapping that belongs to these captions"
        )
    told = f"{captions_file} has {counted(len(captions), 'caption')}{hint} and {ids_file} {counted(len(ids), 'id')}"
    owners = _owners(ids, len(captions), told, ids_file)
    images: dict[str, list[str]] = {}
    for key, caption in zip(owners, captions, strict=True):
        images.setdefault(key, []).append(caption)
    return [(mapping[key], texts) for key, texts in images.items()]


def _key(line: str, mapping: Mapping[str, str]) -> str:
    """The key of an id: as it stands, or as the authors' loaders read it, a whole number without leading zeros."""
    return line if line in mapping or not (line.isascii() and line.isdigit()) else line.lstrip("0") or "0"


def _owners(ids: Sequence[str], captions: int, told: str, path: Path) -> list[str]:
    """The id of each caption.

    As many ids as captions name the owner of each, line by line. A fifth as many are images with five captions each. Anything
    else would be a guess.
    """
    repeated = len(ids) == captions
    if not captions or not (repeated or len(ids) * PUBLISHED == captions):
        raise InvalidDataset(
            f"{told}; expected {PUBLISHED} captions per id, or one id per caption, which names its image whatever their number"
        )
    starts = [number for number, key in enumerate(ids) if not number or key != ids[number - 1]]
    first: dict[str, int] = {}
    for number in starts if repeated else range(len(ids)):
        if first.setdefault(ids[number], number) != number:
            raise InvalidDataset(
                f"{path}: id '{ids[number]}' stands in line {first[ids[number]] + 1} and again in line {number + 1}; the "
                "captions of an image must follow each other, and no image may stand twice"
            )
    return list(ids) if repeated else [key for key in ids for _ in range(PUBLISHED)]
