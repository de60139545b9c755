"""The JSON lists of BLIP, ALBEF and LAVIS: `flickr30k_test.json`, `coco_karpathy_train.json`, and a folder of images.

A row is an image with a list of captions (val, test), or one caption of an image (train); either is read in every split.
COCO's files list all six or seven captions that some images have, where the field takes the first five.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from harness.datasets.base import DatasetConfig
from harness.datasets.files import head, parse_json_list, read_bytes, require_inside, within
from harness.datasets.photographs.dataset import Entry, PhotographDataset, TitledConfig, entry_of
from harness.datasets.photographs.places import find_place
from harness.datasets.published import published_name
from harness.errors import InvalidDataset

_NAME = re.compile(r"(?:(?P<prefix>.+)_)?(?P<split>train|val|test)\.json")
_ROWS = re.compile(rb"\s*\[\s*\{")
_FOLDERS = ("", "annotations", "annotation")
_IMAGES = ("", "images", "flickr30k", "coco/images")


class BlipConfig(TitledConfig):
    """Where the files are and how much of them is used."""

    annotations: str | None = Field(
        None,
        min_length=1,
        description="the folder of the JSON files, below root; null = root, annotations or annotation",
    )
    prefix: str | None = Field(
        None, description="what stands before _train.json: flickr30k, coco_karpathy; null = the only one there"
    )


class Blip(PhotographDataset):
    """Photographs with captions in the JSON lists of BLIP, ALBEF and LAVIS.

    Image ids are file names, caption ids `<file>#k`, k from 0.
    """

    Config: ClassVar[type[DatasetConfig]] = BlipConfig
    config: BlipConfig

    @classmethod
    def recognise(cls, root: Path) -> str | None:
        """A `<prefix>_<split>.json` there, or in `annotations/`, that begins with rows of images and captions."""
        files = [path for paths in _files(_folder(root, None)).values() for path in paths.values()]
        return str(min(files).relative_to(root)) if files else None

    @property
    def title(self) -> str:
        """As configured, else by the files: flickr30k_test.json is flickr30k, coco_karpathy_test.json is mscoco."""
        return self.config.title or published_name(self._prefix or self.root.resolve().name)

    def read(self) -> dict[str, list[Entry]]:
        self.source = _folder(self.root, self.config.annotations)
        self._prefix, files = _chosen(_files(self.source), self.config.prefix, self.source)
        read = {split: _images(require_inside(self.root, path)) for split, path in files.items()}
        names = [image.file for images in read.values() for image in images]
        told = ", ".join(path.name for path in files.values())
        place = find_place(self.root, self.config.images, _IMAGES, names, told)
        return {
            split: [entry_of(place.path(image.file), image.captions) for image in images]
            for split, images in read.items()
        }


@dataclass
class Image:
    """What the rows of a file say of one image.

    Args:
        file: below the folder of the images.
        row: the first one that names it.
        image_id: what that row calls it; None where it does not.
        listed: whether one row holds all its captions.
        captions: in the order of the file.
    """

    file: str
    row: int
    image_id: Any
    listed: bool
    captions: list[str] = field(default_factory=list)


def _folder(root: Path, given: str | None) -> Path:
    """The folder of the JSON files; the root where none of the usual ones holds any."""
    if given is not None:
        return require_inside(root, within(root, given, "dataset.annotations"))
    return next((root / name for name in _FOLDERS if _files(root / name)), root)


def _files(folder: Path) -> dict[str, dict[str, Path]]:
    """Prefix -> split -> file, of the prefixes of which a file begins with rows of images and captions."""
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.glob("*.json")):
        if name := _NAME.fullmatch(path.name):
            found.setdefault(name["prefix"] or "", {})[name["split"]] = path
    return {
        prefix: files
        for prefix, files in found.items()
        if any(_holds_rows(head(path, 65_536)) for path in files.values())
    }


def _holds_rows(start: bytes) -> bool:
    return bool(_ROWS.match(start)) and b'"image"' in start and b'"caption"' in start


def _chosen(found: Mapping[str, dict[str, Path]], prefix: str | None, folder: Path) -> tuple[str, dict[str, Path]]:
    """The prefix of the dataset that is meant, and its files by split."""
    known = ", ".join(sorted(found)) or "none"
    if prefix is None and len(found) != 1:
        raise InvalidDataset(
            f"{folder} must hold the <prefix>_<split>.json of one dataset, lists of rows with image and caption; found "
            f"{known}; set dataset.prefix to one of them, or dataset.annotations to their folder"
        )
    chosen = next(iter(found)) if prefix is None else prefix
    if chosen not in found:
        raise InvalidDataset(f"{folder} holds no {chosen}_<split>.json with rows of image and caption; found {known}")
    return chosen, found[chosen]


def _images(path: Path) -> list[Image]:
    """The images of a file in the order in which they first appear."""
    images: dict[str, Image] = {}
    owners: dict[Any, str] = {}
    for number, image in enumerate(_rows(path)):
        known = images.setdefault(image.file, image)
        if known is not image:
            _check_again(known, image, f"{path}: row {number}")
            known.captions += image.captions
        if image.image_id is not None and owners.setdefault(image.image_id, image.file) != image.file:
            raise InvalidDataset(
                f"{path}: row {number} gives image_id {image.image_id!r:.40} to '{image.file}', an earlier row to "
                f"'{owners[image.image_id]}'"
            )
    if not images:
        raise InvalidDataset(f"{path} is an empty list; expected rows with image and caption")
    return list(images.values())


def _check_again(known: Image, image: Image, where: str) -> None:
    """Refuse a second row of an image that does not go with the first."""
    if known.listed or image.listed:
        raise InvalidDataset(
            f"{where} lists captions of '{image.file}', which row {known.row} has already; an image stands once with all its "
            "captions, or once per caption"
        )
    if known.image_id != image.image_id:
        raise InvalidDataset(
            f"{where} gives '{image.file}' the image_id {image.image_id!r:.40}, row {known.row} gives it {known.image_id!r:.40}"
        )


def _rows(path: Path) -> Iterator[Image]:
    for number, row in enumerate(parse_json_list(read_bytes(path), path)):
        where = f"{path}: row {number}"
        if not isinstance(row, dict):
            raise InvalidDataset(f"{where} must be an object with image and caption, got {row!r:.60}")
        file, caption, image_id = row.get("image"), row.get("caption"), row.get("image_id")
        if not isinstance(file, str) or not file:
            raise InvalidDataset(f"{where}: 'image' must be the path of an image, got {file!r:.60}")
        if not isinstance(image_id, str | int | None):
            raise InvalidDataset(f"{where}: 'image_id' must be a text or a number, got {image_id!r:.60}")
        yield Image(file, number, image_id, isinstance(caption, list), _captions(caption, f"{where} ('{file:.60}')"))


def _captions(caption: object, where: str) -> list[str]:
    texts: Sequence[object] = caption if isinstance(caption, list) else [caption]
    if not texts:
        raise InvalidDataset(f"{where} has no caption; each image needs at least one")
    wrong = next((text for text in texts if not isinstance(text, str)), None)
    if wrong is not None or None in texts:
        raise InvalidDataset(f"{where}: 'caption' must be a text or a list of texts, got {wrong!r:.60}")
    return [str(text) for text in texts]
