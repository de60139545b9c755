"""Karpathy's splits: `dataset_<name>.json` and a folder of images. Flickr8k, Flickr30K, COCO.

Protocol facts: COCO's `restval` is training data; its images lie in the subfolder `filepath`;
the field takes the first five captions of each image (a few COCO images have six or seven).
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from harness.datasets.base import SPLITS, Dataset, DatasetConfig, Split
from harness.datasets.files import FolderConfig, dataset_root, parse_json, read_bytes, require_inside, within
from harness.datasets.karpathy.decoding import DECODER
from harness.datasets.karpathy.photographs import Photographs
from harness.errors import InvalidDataset

log = logging.getLogger(__name__)

#: The JSON's `split` -> ours.
_SPLIT_OF = {"train": "train", "restval": "train", "val": "val", "test": "test"}
#: The JSON's `dataset` -> the name that tables and published figures use.
_TITLES = {"coco": "mscoco"}


class KarpathyConfig(FolderConfig):
    """Where the files are and how much of them is used."""

    annotation: str | None = Field(None, description="the JSON, below root; null = the only dataset_*.json there")
    images: str = Field("images", description="the folder of the images, below root")
    captions_per_image: int | None = Field(5, ge=1, description="the first so many captions of each image; null = all")
    restval: bool = Field(True, description="take COCO's restval images as training data, as the field does")


@dataclass(frozen=True)
class Entry:
    """One image of the JSON: its file below the root, its name, and its captions with their ids."""

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
        values = parse_json(read_bytes(self._annotation), self._annotation)
        self._name = str(values.get("dataset") or self._annotation.stem.removeprefix("dataset_"))
        self._entries = _entries(values, self._annotation, self._root, config)

    @property
    def title(self) -> str:
        """The JSON's own name of the dataset; COCO is mscoco, as in published tables."""
        return _TITLES.get(self._name, self._name)

    @cached_property
    def sha256(self) -> str:
        """Of every image's content and name, of the captions with their ids in order, and of how images are decoded.

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
            log.warning("%s: %d captions of split '%s' are blank", self._annotation, blank, name)
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


def _entries(values: dict[str, Any], path: Path, root: Path, config: KarpathyConfig) -> dict[str, list[Entry]]:
    """The images of each split in file order, checked."""
    entries: dict[str, list[Entry]] = {split: [] for split in SPLITS}
    for index, image in enumerate(_field(values, "images", list, f"{path}")):
        where = f"{path}: image {index}"
        if not isinstance(image, dict):
            raise InvalidDataset(f"{where} must be a JSON object, got {type(image).__name__}")
        split = _field(image, "split", str, where)
        if split not in _SPLIT_OF:
            raise InvalidDataset(f"{where}: split '{split}' is none of {', '.join(_SPLIT_OF)}")
        chosen = entries[_SPLIT_OF[split]]
        limit = config.limit(_SPLIT_OF[split])
        if (split == "restval" and not config.restval) or (limit is not None and len(chosen) >= limit):
            continue
        chosen.append(_entry(image, where, root, config))
    return entries


def _entry(image: dict[str, Any], where: str, root: Path, config: KarpathyConfig) -> Entry:
    name = _field(image, "filename", str, where)
    folder = image.get("filepath") or ""
    if not isinstance(folder, str):
        raise InvalidDataset(f"{where}: 'filepath' must be a str, got {type(folder).__name__}")
    file = "/".join(part for part in (config.images, folder, name) if part)
    within(root, file, where)
    sentences = _field(image, "sentences", list, where)[: config.captions_per_image]
    if not sentences:
        raise InvalidDataset(f"{where} ('{name}') has no caption; each image needs at least one")
    captions, ids = [], []
    for number, sentence in enumerate(sentences):
        if not isinstance(sentence, dict):
            raise InvalidDataset(f"{where}: sentence {number} must be a JSON object, got {type(sentence).__name__}")
        captions.append(" ".join(_field(sentence, "raw", str, f"{where}: sentence {number}").split()))
        ids.append(str(sentence["sentid"]) if "cocoid" in image and "sentid" in sentence else f"{name}#{number}")
    return Entry(file, name, tuple(captions), tuple(ids))


def _field(values: dict[str, Any], key: str, kind: type, where: str) -> Any:
    """A field that must be there and of a type."""
    if key not in values:
        raise InvalidDataset(f"{where}: field '{key}' is missing; expected Karpathy's schema")
    if not isinstance(values[key], kind):
        raise InvalidDataset(f"{where}: field '{key}' must be a {kind.__name__}, got {type(values[key]).__name__}")
    return values[key]
