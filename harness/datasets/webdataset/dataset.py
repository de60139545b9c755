"""The dataset of numbered tar archives: `test/nshards.txt`, `test/0.tar`, ... as CLIP_benchmark's `wds_*` are published.

A folder per split, most often `test` alone. Photographs are decoded from their place in the archive; nothing is unpacked.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from harness.datasets.base import DatasetConfig
from harness.datasets.files import read_lines, require_inside
from harness.datasets.photographs.dataset import Entry, PhotographDataset, TitledConfig
from harness.datasets.photographs.sources import ImageSlices, ImageSource, Slice
from harness.datasets.published import published_name
from harness.datasets.webdataset.samples import SHARDS, samples_of
from harness.errors import InvalidDataset

#: What a split's folder may be called.
FOLDERS = {"train": ("train",), "val": ("val", "valid", "validation", "dev"), "test": ("test",)}
_TYPE = "dataset_type.txt"
_RETRIEVAL = "retrieval"


class WebdatasetConfig(TitledConfig):
    """Where the archives are and how much of them is used."""

    images: None = Field(None, description="unused: the images lie in the archives")


class Webdataset(PhotographDataset):
    """Photographs and captions in numbered tar archives, as CLIP_benchmark publishes them; often a test split alone.

    Image ids are `<folder>/<key>`, since keys begin anew in every split; caption ids `<folder>/<key>#k`, k from 0.
    """

    Config: ClassVar[type[DatasetConfig]] = WebdatasetConfig
    config: WebdatasetConfig

    @classmethod
    def recognise(cls, root: Path) -> str | None:
        """The folder of a split holds `nshards.txt`."""
        folders = _folders(root).values()
        return min((f"{name}/{SHARDS}" for names in folders for name in names), default=None)

    @property
    def title(self) -> str:
        """As configured, else the folder's name without `wds_`; `mscoco_captions` is mscoco."""
        name = self.root.resolve().name.lower().removeprefix("wds_")
        return self.config.title or published_name(name.removesuffix("_captions"))

    def read(self) -> dict[str, list[Entry]]:
        self._slices: dict[str, Slice] = {}
        _require_retrieval(self.root)
        entries: dict[str, list[Entry]] = {}
        for split, names in _folders(self.root).items():
            if len(names) > 1:
                raise InvalidDataset(
                    f"{self.root} has several folders for split '{split}': {', '.join(names)}; keep one"
                )
            samples = samples_of(self.root / names[0], self.root)
            entries[split] = [
                self._entry(sample.image, f"{names[0]}/{sample.key}", sample.captions) for sample in samples
            ]
        if not entries:
            raise InvalidDataset(f"{self.root} has no folder of a split with {SHARDS}, such as test/{SHARDS}")
        return entries

    def image_source(self, entries: Sequence[Entry]) -> ImageSource:
        """Slices of the archives."""
        return ImageSlices(self.root, [self._slices[entry.file] for entry in entries])

    def _entry(self, image: Slice, image_id: str, captions: tuple[str, ...]) -> Entry:
        file = str(image.label.relative_to(self.root))
        self._slices[file] = image
        return Entry(file, image_id, captions, tuple(f"{image_id}#{number}" for number in range(len(captions))))


def _folders(root: Path) -> dict[str, list[str]]:
    """The folders of each split that has any."""
    found = {split: [name for name in names if (root / name / SHARDS).is_file()] for split, names in FOLDERS.items()}
    return {split: names for split, names in found.items() if names}


def _require_retrieval(root: Path) -> None:
    """Refuse archives of another task, whose samples have a class instead of captions."""
    path = root / _TYPE
    if path.exists():
        kind = " ".join(read_lines(require_inside(root, path))[0])
        if kind != _RETRIEVAL:
            raise InvalidDataset(f"{path} says '{kind:.60}'; only archives of captions ({_RETRIEVAL}) are read")
