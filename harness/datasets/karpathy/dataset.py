"""Karpathy's splits: `dataset_<name>.json` and a folder of images. Flickr8k, Flickr30K, COCO.

Protocol facts: COCO's `restval` is training data; its images lie in the subfolder `filepath`;
the field takes the first five captions of each image (a few COCO images have six or seven).
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, Field, StrictStr, ValidationError

from harness.datasets.base import SPLITS, Dataset, DatasetConfig, Split
from harness.datasets.files import FolderConfig, dataset_root, parse_json, read_bytes, require_inside, within
from harness.datasets.karpathy.decoding import DECODER
from harness.datasets.karpathy.photographs import Photographs
from harness.errors import InvalidDataset

logger = logging.getLogger(__name__)

#: The JSON's `dataset` -> the name that tables and published figures use.
_TITLES = {"coco": "mscoco"}


class KarpathyConfig(FolderConfig):
    """Where the files are and how much of them is used."""

    annotation: str | None = Field(None, description="the JSON, below root; null = the only dataset_*.json there")
    images: str = Field("images", description="the folder of the images, below root")
    captions_per_image: int | None = Field(5, ge=1, description="captions taken per image, the first ones; null = all")
    restval: bool = Field(True, description="take COCO's restval images as training data, as the field does")


class Sentence(BaseModel):
    """A caption in the JSON."""

    raw: StrictStr
    sentid: Any = None


class Photograph(BaseModel):
    """An image in the JSON."""

    filename: StrictStr
    filepath: StrictStr | None = None
    split: Literal["train", "restval", "val", "test"]
    sentences: list[Sentence]
    cocoid: Any = None


class Annotation(BaseModel):
    """The parts of the JSON that are read."""

    dataset: Any = None
    images: list[Photograph]


@dataclass(frozen=True)
class Entry:
    """One image: its file below the root, its name, and its captions with their ids."""

    file: str
    name: str
    captions: tuple[str, ...]
    caption_ids: tuple[str, ...]


class Karpathy(Dataset):
    """Photographs with captions in Karpathy's JSON. `inputs` is pixels only; image ids are file names.

    Caption ids are COCO's annotation ids where the images have a `cocoid`, else `<file>#k`, k from 0, as in Flickr's own
    files and judgements.
    """

    Config: ClassVar[type[DatasetConfig]] = KarpathyConfig
    config: KarpathyConfig

    def __init__(self, config: KarpathyConfig):
        super().__init__(config)
        self._root = dataset_root(config.root)
        self._annotation = _annotation(self._root, config.annotation)
        annotation = _parsed(self._annotation)
        self._name = str(annotation.dataset or self._annotation.stem.removeprefix("dataset_"))
        self._entries = _entries(annotation, self._annotation, self._root, config)

    @property
    def title(self) -> str:
        """The JSON's own name of the dataset; COCO is mscoco, as in published tables."""
        return _TITLES.get(self._name, self._name)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of every image's content and name, the captions with their ids in order, and the decoder's version.

        Raises:
            InvalidDataset: an image is missing.
        """
        digest = hashlib.sha256(f"decoder {DECODER}\n".encode())
        for split in SPLITS:
            texts = [(entry.name, entry.captions, entry.caption_ids) for entry in self._entries[split]]
            digest.update(json.dumps([split, texts, self._photographs[split].digests]).encode())
        return digest.hexdigest()

    def image_digests(self, split: str) -> tuple[bytes, ...]:
        """SHA-256 of each image's file."""
        return tuple(bytes.fromhex(sha256) for sha256 in self._photographs[split].digests)

    def check(self) -> None:
        """Refuse images of any split that cannot be decoded; each file is tried once, and again when it changes.

        Raises:
            InvalidDataset: names the first and their number.
        """
        for photographs in self._photographs.values():
            photographs.check()

    def open_split(self, name: str) -> Split:
        entries = self._entries[name]
        if not entries:
            raise InvalidDataset(f"{self._annotation}: split '{name}' is empty; no image has that split")
        blank = sum(not caption for entry in entries for caption in entry.captions)
        if blank:  # kept, so that counts stay those of the published split
            logger.warning("%s: %d captions of split '%s' are blank", self._annotation, blank, name)
        return Split(
            name=name,
            images=self._photographs[name],
            image_ids=tuple(entry.name for entry in entries),
            captions=tuple(caption for entry in entries for caption in entry.captions),
            caption_ids=tuple(caption_id for entry in entries for caption_id in entry.caption_ids),
            caption_image=np.repeat(np.arange(len(entries)), [len(entry.captions) for entry in entries]),
        )

    @cached_property
    def _photographs(self) -> dict[str, Photographs]:
        return {split: Photographs(self._root, [entry.file for entry in self._entries[split]]) for split in SPLITS}


def _annotation(root: Path, given: str | None) -> Path:
    if given is not None:
        return require_inside(root, within(root, given, "dataset.annotation"))
    found = sorted(root.glob("dataset_*.json"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise InvalidDataset(
            f"{root} must hold one dataset_*.json, found {names}; set dataset.annotation to the right one"
        )
    return require_inside(root, found[0])


def _parsed(path: Path) -> Annotation:
    try:
        return Annotation.model_validate(parse_json(read_bytes(path), path))
    except ValidationError as error:
        first = error.errors()[0]
        problem = (
            " is missing" if first["type"] == "missing" else f": {first['msg'].lower()}, got {first['input']!r:.60}"
        )
        raise InvalidDataset(f"{path}: {_place(first['loc'])}{problem}; expected Karpathy's schema") from None


def _place(location: Sequence[str | int]) -> str:
    """`images, 4, sentences, 2, raw` -> `image 4: sentence 2: field 'raw'`."""
    rest = iter(location)
    names = [(str(name), next(rest, None)) for name in rest]
    return ": ".join(f"field '{n}'" if index is None else f"{n.removesuffix('s')} {index}" for n, index in names)


def _entries(annotation: Annotation, path: Path, root: Path, config: KarpathyConfig) -> dict[str, list[Entry]]:
    """The images of each split in file order."""
    entries: dict[str, list[Entry]] = {split: [] for split in SPLITS}
    for index, image in enumerate(annotation.images):
        split = "train" if image.split == "restval" else image.split
        limit = config.limit(split)
        if (image.split == "restval" and not config.restval) or (limit is not None and len(entries[split]) >= limit):
            continue
        entries[split].append(_entry(image, f"{path}: image {index}", root, config))
    return entries


def _entry(image: Photograph, where: str, root: Path, config: KarpathyConfig) -> Entry:
    name = image.filename
    file = "/".join(part for part in (config.images, image.filepath, name) if part)
    within(root, file, where)
    sentences = image.sentences[: config.captions_per_image]
    if not sentences:
        raise InvalidDataset(f"{where} ('{name}') has no caption; each image needs at least one")
    known = "cocoid" in image.model_fields_set
    return Entry(
        file,
        name,
        tuple(" ".join(sentence.raw.split()) for sentence in sentences),
        tuple(
            str(sentence.sentid) if known and "sentid" in sentence.model_fields_set else f"{name}#{number}"
            for number, sentence in enumerate(sentences)
        ),
    )
