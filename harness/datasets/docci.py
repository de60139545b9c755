"""DOCCI: long descriptions of photographs, `docci_descriptions.jsonlines` beside `images/`."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import BaseModel, Field, StrictStr

from harness.datasets.base import DatasetConfig
from harness.datasets.files import first_name, require_inside
from harness.datasets.photographs.dataset import Entry, PhotographConfig, PhotographDataset
from harness.datasets.photographs.places import find_place
from harness.datasets.schema import checked_lines
from harness.errors import InvalidDataset

logger = logging.getLogger(__name__)

_DESCRIPTIONS = "docci_descriptions.json*l*"
_IMAGES = ("images", "", "docci_images")


class DocciConfig(PhotographConfig):
    """Where the files are and which of DOCCI's four splits are used."""

    test_name: Literal["test", "qual_test"] = Field("test", description="DOCCI's split that is the test split")


class Description(BaseModel):
    """The parts of a line that are read."""

    example_id: StrictStr
    split: Literal["train", "test", "qual_dev", "qual_test"]
    image_file: StrictStr
    description: StrictStr


class Docci(PhotographDataset):
    """DOCCI's photographs with one long description each; `qual_dev` is the validation split."""

    Config: ClassVar[type[DatasetConfig]] = DocciConfig
    config: DocciConfig

    @classmethod
    def recognise(cls, root: Path) -> str | None:
        """The folder holds `docci_descriptions.jsonlines`."""
        return first_name(root, _DESCRIPTIONS)

    @property
    def title(self) -> str:
        return "docci"

    def read(self) -> dict[str, list[Entry]]:
        name = first_name(self.root, _DESCRIPTIONS)
        if name is None:
            raise InvalidDataset(f"{self.root} has no docci_descriptions.jsonlines; put DOCCI's file there")
        self.source = require_inside(self.root, self.root / name)
        taken = {"train": "train", "qual_dev": "val", self.config.test_name: "test"}
        items = [item for _, item in checked_lines(Description, self.source, "DOCCI's schema")]
        _report(self.source, taken, Counter(item.split for item in items))
        files = [item.image_file for item in items]
        place = find_place(self.root, self.config.images, _IMAGES, files, str(self.source))
        entries: dict[str, list[Entry]] = {split: [] for split in taken.values()}
        for item in items:
            if item.split in taken:
                own = (item.description,)
                entry = Entry(place.path(item.image_file), item.example_id, own, (f"{item.example_id}#0",))
                entries[taken[item.split]].append(entry)
        return entries


def _report(source: Path, taken: dict[str, str], counts: Counter[str]) -> None:
    """One line on what became of DOCCI's splits."""
    used = ", ".join(name if name == split else f"{name} as {split}" for name, split in taken.items() if counts[name])
    left = ", ".join(f"{name} ({count:,})" for name, count in counts.items() if name not in taken)
    logger.info("%s: taken %s%s", source, used or "nothing", f"; left out {left}" if left else "")
