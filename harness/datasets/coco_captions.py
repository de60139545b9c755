"""COCO's own caption files: `captions_val2017.json`, and CLIP_benchmark's `coco_test_karpathy.json` of the same shape.

`images` lists the photographs, `annotations` one caption each. COCO publishes no captions of its test images, so its
validation file is the test split unless the settings say otherwise. Caption ids are COCO's annotation ids.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, Field, StrictInt, StrictStr

from harness.datasets.base import SPLITS, DatasetConfig
from harness.datasets.files import parse_json, read_bytes, require_inside, within
from harness.datasets.photographs.dataset import Entry, PhotographConfig, PhotographDataset
from harness.datasets.photographs.places import find_place
from harness.datasets.schema import checked
from harness.errors import InvalidDataset, counted

logger = logging.getLogger(__name__)

_NAME = re.compile(r"coco_(?P<split>train|val|test)_karpathy\.json|captions_(?P<part>train|val)(?P<year>\d{4})\.json")
_FOLDERS = ("", "annotations")
_IMAGES = ("images", "", "coco-images", "coco/images")
#: Images of a validation file that Karpathy's splits train on (train and restval), of how many. Counted in both lists.
_TRAINED_ON = {"val2017": (3_799, 5_000), "val2014": (30_504, 40_504)}


class CocoCaptionsConfig(PhotographConfig):
    """Which file is which split, and how much of it is used."""

    train: str | None = Field(
        None, description="the JSON of the split, below root; null = captions_train*.json, if any"
    )
    val: str | None = Field(
        None, description="the JSON of the split, below root; null = none, or coco_val_karpathy.json"
    )
    test: str | None = Field(None, description="the JSON of the split, below root; null = captions_val*.json")


class Image(BaseModel):
    """A photograph in the JSON."""

    id: StrictInt | StrictStr
    file_name: StrictStr


class Caption(BaseModel):
    """A caption in the JSON."""

    id: StrictInt | StrictStr
    image_id: StrictInt | StrictStr
    caption: StrictStr


class Annotation(BaseModel):
    """The parts of the JSON that are read."""

    images: list[Image]
    annotations: list[Caption]


class CocoCaptions(PhotographDataset):
    """Photographs with captions in COCO's own JSON. Image ids are file names, caption ids COCO's annotation ids."""

    Config: ClassVar[type[DatasetConfig]] = CocoCaptionsConfig
    config: CocoCaptionsConfig

    @classmethod
    def recognise(cls, root: Path) -> str | None:
        """The folder, or `annotations/` in it, holds a `captions_*.json` or `coco_*_karpathy.json`."""
        return min((str(path.relative_to(root)) for path in _files(root)), default=None)

    @property
    def title(self) -> str:
        """`mscoco` for Karpathy's splits; else `coco-` and the file of the test split, whose images are others."""
        return self._title

    def read(self) -> dict[str, list[Entry]]:
        given = {split: getattr(self.config, split) for split in SPLITS}
        files = _chosen(self.root, given)
        years = [year for year in map(_year, files.values()) if year]
        self._title = f"coco-{years[-1]}" if years else "mscoco"
        if "test" in files:
            self.source = files["test"]
            _warn_of_training_images(files["test"])
        return {split: _read(path, self.root, self.config.images) for split, path in files.items()}


def _read(path: Path, root: Path, folder: str | None) -> list[Entry]:
    """The images of a file, in its order; a line says how many have no captions."""
    annotation = checked(Annotation, parse_json(read_bytes(path), path), str(path), "COCO's schema")
    images = {image.id: _with_folder(image.file_name, path) for image in annotation.images}
    captions = _captions(annotation, images, path)
    bare = [file for key, file in images.items() if key not in captions]
    if bare:
        logger.warning("%s: %s without captions left out (first: %s)", path, counted(len(bare), "image"), bare[0])
    kept = {key: file for key, file in images.items() if key in captions}
    place = find_place(root, folder, _IMAGES, list(kept.values()), str(path))
    return [
        Entry(place.path(file), file.rpartition("/")[2], tuple(captions[key].values()), tuple(captions[key]))
        for key, file in kept.items()
    ]


def _captions(annotation: Annotation, images: Mapping[Any, str], path: Path) -> dict[Any, dict[str, str]]:
    """The captions of each image by their ids, in the order of the file."""
    if len(images) < len(annotation.images):
        raise InvalidDataset(f"{path}: {len(annotation.images) - len(images)} image ids stand more than once")
    captions: dict[Any, dict[str, str]] = {}
    for number, caption in enumerate(annotation.annotations):
        if caption.image_id not in images:
            raise InvalidDataset(f"{path}: annotation {number} is of image {caption.image_id}, which 'images' lacks")
        own = captions.setdefault(caption.image_id, {})
        if str(caption.id) in own:
            raise InvalidDataset(f"{path}: annotation id {caption.id} stands twice")
        own[str(caption.id)] = caption.caption
    if not captions:
        raise InvalidDataset(f"{path} holds no captions; take captions_*.json, not instances_*.json")
    return captions


def _with_folder(name: str, path: Path) -> str:
    """An image's file with COCO's folder in front, such as `val2017`, where its name or that of the JSON says which.

    >>> _with_folder("COCO_val2014_000000000042.jpg", Path("coco_test_karpathy.json"))
    'val2014/COCO_val2014_000000000042.jpg'
    >>> _with_folder("000000000139.jpg", Path("captions_val2017.json"))
    'val2017/000000000139.jpg'
    """
    told = re.match(r"COCO_((?:train|val)\d{4})_", name) or re.search(r"_((?:train|val)\d{4})\.json$", path.name)
    return f"{told[1]}/{name}" if told and "/" not in name else name


def _files(root: Path) -> list[Path]:
    """COCO's caption files in a folder and in its `annotations/`."""
    found = (path for name in _FOLDERS for path in sorted((root / name).glob("*.json")))
    return [path for path in found if _NAME.fullmatch(path.name)]


def _chosen(root: Path, given: Mapping[str, str | None]) -> dict[str, Path]:
    """The file of each split: as configured, else by its name; a line says which validation file is the test split."""
    told = {split: within(root, name, f"dataset.{split}") for split, name in given.items() if name is not None}
    fit: dict[str, list[Path]] = {split: [] for split in SPLITS}
    for path in _files(root):
        name = _NAME.fullmatch(path.name)
        if name and path not in told.values():
            fit[name["split"] or {"train": "train", "val": "test"}[name["part"]]].append(path)
    for split, paths in fit.items():
        if split not in told and len(paths) > 1:
            names = ", ".join(path.name for path in paths)
            raise InvalidDataset(
                f"{root} has several files for split '{split}': {names}; set dataset.{split} to one of them"
            )
    files = {split: told.get(split) or next(iter(fit[split]), None) for split in SPLITS}
    found = {split: require_inside(root, path) for split, path in files.items() if path is not None}
    if not found:
        raise InvalidDataset(f"{root} has no captions_*.json or coco_*_karpathy.json, there or in annotations/")
    if "test" in found and "test" not in told and _year(found["test"]):
        logger.info("%s is the test split: COCO publishes no captions of its test images", found["test"])
    return found


def _year(path: Path) -> str:
    """`val2017` of `captions_val2017.json`; "" of any other file."""
    name = _NAME.fullmatch(path.name)
    return f"{name['part']}{name['year']}" if name and name["year"] else ""


def _warn_of_training_images(path: Path) -> None:
    trained, images = _TRAINED_ON.get(_year(path), (0, 0))
    if trained:
        logger.warning(
            "%s: %s of the %s images of COCO's %s are training images of Karpathy's splits; a model that was trained on "
            "those has seen them",
            path,
            f"{trained:,}",
            f"{images:,}",
            _year(path),
        )
