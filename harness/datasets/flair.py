"""Single sentences of long descriptions, as FLAIR publishes them: `{"annotations": [{"image_id", "image", "caption"}]}`.

One row per sentence, many rows per image: DOCCI, IIW, DCI and Urban1k in FLAIR's form. Test split only.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, Field, StrictInt, StrictStr

from harness.datasets.base import DatasetConfig
from harness.datasets.files import head, parse_json, read_bytes, require_inside, within
from harness.datasets.photographs.dataset import Entry, PhotographDataset, TitledConfig
from harness.datasets.photographs.places import find_place
from harness.datasets.schema import checked
from harness.errors import InvalidDataset

_ANNOTATIONS = "annotations.json"
_IMAGES = ("", "images", "image")


class FlairConfig(TitledConfig):
    """Where the files are and how many sentences of each image are used."""

    annotation: str = Field(_ANNOTATIONS, description="the JSON, below root")
    captions_per_image: int | None = Field(None, ge=1, description="sentences taken per image, the first; null = all")


class Row(BaseModel):
    """One sentence."""

    image_id: StrictStr | StrictInt
    image: StrictStr
    caption: StrictStr


class Annotations(BaseModel):
    """The parts of the JSON that are read."""

    annotations: list[Row]


class Flair(PhotographDataset):
    """Photographs with a varying number of sentences each, one row per sentence. Test split only."""

    Config: ClassVar[type[DatasetConfig]] = FlairConfig
    config: FlairConfig

    @classmethod
    def recognise(cls, root: Path) -> str | None:
        """The folder holds an `annotations.json` that begins as FLAIR's do."""
        start = b"".join(head(root / _ANNOTATIONS, 64).split())
        return _ANNOTATIONS if start.startswith((b'{"annotations":[{"image', b'{"annotations":[{"caption')) else None

    @property
    def title(self) -> str:
        """As configured, else the folder's name."""
        return self.config.title or self.root.resolve().name.lower()

    def read(self) -> dict[str, list[Entry]]:
        self.source = require_inside(self.root, within(self.root, self.config.annotation, "dataset.annotation"))
        content = parse_json(read_bytes(self.source), self.source)
        rows = checked(Annotations, content, str(self.source), "FLAIR's schema").annotations
        images: dict[str, str] = {}
        captions: dict[str, list[str]] = {}
        for number, row in enumerate(rows):
            where, key = f"{self.source}: annotation {number}", str(row.image_id)
            if images.setdefault(key, row.image) != row.image:
                raise InvalidDataset(f"{where}: image {key} is {row.image}, but was {images[key]} before")
            captions.setdefault(key, []).append(row.caption)
        place = find_place(self.root, self.config.images, _IMAGES, list(images.values()), str(self.source))
        return {"test": [_entry(place.path(file), key, captions[key]) for key, file in images.items()]}


def _entry(file: str, key: str, captions: list[str]) -> Entry:
    return Entry(file, key, tuple(captions), tuple(f"{key}#{number}" for number in range(len(captions))))
