"""Karpathy's splits: `dataset_<name>.json` and a folder of images. Flickr8k, Flickr30K, COCO.

Protocol facts: COCO's `restval` is training data; its images lie in the subfolder `filepath`;
the field takes the first five captions of each image (a few COCO images have six or seven).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field, StrictStr

from harness.datasets.base import SPLITS, DatasetConfig
from harness.datasets.files import first_name, parse_json, read_bytes, require_inside, within
from harness.datasets.photographs.dataset import Entry, PhotographConfig, PhotographDataset
from harness.datasets.published import published_name
from harness.datasets.schema import checked
from harness.errors import InvalidDataset

_ANNOTATIONS = "dataset_*.json"


class KarpathyConfig(PhotographConfig):
    """Where the files are and how much of them is used."""

    images: str = Field("images", description="the folder of the images, below root")
    annotation: str | None = Field(None, description="the JSON, below root; null = the only dataset_*.json there")
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


class Karpathy(PhotographDataset):
    """Photographs with captions in Karpathy's JSON. `inputs` is pixels only; image ids are file names.

    Caption ids are COCO's annotation ids where the images have a `cocoid`, else `<file>#k`, k from 0, as in Flickr's own
    files and judgements.
    """

    Config: ClassVar[type[DatasetConfig]] = KarpathyConfig
    config: KarpathyConfig

    @classmethod
    def recognise(cls, root: Path) -> str | None:
        """The folder holds a `dataset_*.json`."""
        return first_name(root, _ANNOTATIONS)

    @property
    def title(self) -> str:
        """The JSON's own name of the dataset; COCO is mscoco, as in published tables."""
        return published_name(self._name)

    def read(self) -> dict[str, list[Entry]]:
        self.source = _annotation(self.root, self.config.annotation)
        annotation = checked(
            Annotation, parse_json(read_bytes(self.source), self.source), str(self.source), "Karpathy's schema"
        )
        self._name = str(annotation.dataset or self.source.stem.removeprefix("dataset_"))
        return _entries(annotation, self.source, self.root, self.config)


def _annotation(root: Path, given: str | None) -> Path:
    if given is not None:
        return require_inside(root, within(root, given, "dataset.annotation"))
    found = sorted(root.glob(_ANNOTATIONS))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise InvalidDataset(
            f"{root} must hold one dataset_*.json, found {names}; set dataset.annotation to the right one"
        )
    return require_inside(root, found[0])


def _entries(annotation: Annotation, path: Path, root: Path, config: KarpathyConfig) -> dict[str, list[Entry]]:
    """The images of each split in file order."""
    entries: dict[str, list[Entry]] = {split: [] for split in SPLITS}
    for index, image in enumerate(annotation.images):
        if image.split != "restval" or config.restval:
            split = "train" if image.split == "restval" else image.split
            entries[split].append(_entry(image, f"{path}: image {index}", root, config))
    return entries


def _entry(image: Photograph, where: str, root: Path, config: KarpathyConfig) -> Entry:
    name = image.filename
    file = "/".join(part for part in (config.images, image.filepath, name) if part)
    within(root, file, where)
    if not image.sentences:
        raise InvalidDataset(f"{where} ('{name}') has no caption; each image needs at least one")
    known = "cocoid" in image.model_fields_set
    return Entry(
        file,
        name,
        tuple(sentence.raw for sentence in image.sentences),
        tuple(
            str(sentence.sentid) if known and "sentid" in sentence.model_fields_set else f"{name}#{number}"
            for number, sentence in enumerate(image.sentences)
        ),
    )
