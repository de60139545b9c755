"""A split as it is described: its captions, and its images as files, pixels or region features.

Files are looked at one by one, so a missing or broken one is a finding here, where opening the split would refuse it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from harness.datasets.base import Dataset, Images
from harness.datasets.photographs.dataset import PhotographDataset
from harness.datasets.photographs.sources import ImageSource
from harness.description.captions import Texts
from harness.description.hashes import Prints
from harness.description.names import Known, Name, name_of
from harness.description.pictures import Picture, look, prints_of, read_thumbnail, thumbnail

_HASHED, _SHOWN = 64, 160  # pixels at which images without files are hashed and shown
_BLOCK = 256


@dataclass(frozen=True, eq=False)
class View:
    """One split of a dataset.

    Args:
        name: of the split.
        image_ids: I ids.
        texts: its captions.
        names: I names of origin, a file's or an id's.
        source: the bytes of I images, of which some may be missing; None where there are no files.
        images: pixels or features; None where the source is looked at instead.
        digests: I digests of the images' content; None where they are generated, or come from the files.
        root: the folder that no image file may leave.
        quick: nothing is decoded and no content hashed.
    """

    name: str
    image_ids: Sequence[str]
    texts: Texts
    names: Sequence[Name]
    source: ImageSource | None = None
    images: Images | None = None
    digests: Sequence[bytes] | None = None
    root: Path | None = None
    quick: bool = False

    def __len__(self) -> int:
        return len(self.image_ids)

    @cached_property
    def pictures(self) -> list[Picture] | None:
        """What each file is, None where there are no files."""
        if self.source is None or self.root is None:
            return None
        return look(self.source, self.root, quick=self.quick)

    @cached_property
    def prints(self) -> Prints | None:
        """Fingerprints of the images; None where there are no pixels, or none may be decoded."""
        if self.quick:
            return None
        if self.pictures is not None:
            return prints_of(self.pictures)
        if self.images is None or "pixels" not in self.images.inputs:
            return None
        blocks = (range(start, min(start + _BLOCK, len(self))) for start in range(0, len(self), _BLOCK))
        return Prints.of([image for rows in blocks for image in _pixels(self.images, rows, _HASHED)])

    @cached_property
    def keys(self) -> list[object] | None:
        """A key per image, equal for equal content; an image that cannot be read has its own. None = not known."""
        if self.digests is not None:
            return list(self.digests)
        if self.pictures is None or self.quick:
            return None
        return [picture.sha256 or (self.name, row) for row, picture in enumerate(self.pictures)]

    @cached_property
    def known(self) -> Known:
        """The names, ready to be asked for."""
        return Known.of(self.names)

    def thumbnails(self, rows: Sequence[int]) -> dict[int, bytes]:
        """Small JPEGs of some images; those that cannot be shown are left out."""
        if self.source is not None and self.pictures is not None:
            found = {row: read_thumbnail(self.source, row) for row in rows if not self.pictures[row].problem}
        elif self.images is not None and "pixels" in self.images.inputs:
            shown = zip(rows, _pixels(self.images, rows, _SHOWN), strict=True)
            found = {row: thumbnail(image) for row, image in shown}
        else:
            found = {}
        return {row: content for row, content in found.items() if content is not None}


def views(dataset: Dataset, *, quick: bool = False) -> list[View]:
    """The splits that exist.

    Args:
        dataset: opened.
        quick: look at captions, names and headers of files only.

    Raises:
        InvalidDataset: a split that exists cannot be opened.
    """
    return [view_of(dataset, name, quick) for name in dataset.splits]


def view_of(dataset: Dataset, name: str, quick: bool = False) -> View:
    """One split that exists; arguments and errors as `views`."""
    if isinstance(dataset, PhotographDataset):
        entries = dataset.entries(name)
        captions = [caption for entry in entries for caption in entry.captions]
        owner = np.repeat(np.arange(len(entries)), [len(entry.captions) for entry in entries])
        return View(
            name,
            [entry.image_id for entry in entries],
            Texts(captions, owner, len(entries)),
            [name_of(entry.file) for entry in entries],
            source=dataset.image_source(entries),
            root=dataset.images_root,
            quick=quick,
        )
    split = dataset.split(name)
    return View(
        name,
        split.image_ids,
        Texts(split.captions, split.caption_image, len(split.image_ids), relevance=split.relevance),
        [name_of(image_id) for image_id in split.image_ids],
        images=split.images,
        digests=None if quick and "pixels" in split.images.inputs else dataset.image_digests(name),
        quick=quick,
    )


def _pixels(images: Images, rows: Sequence[int], size: int) -> list[Image.Image]:
    return [Image.fromarray(np.moveaxis(pixels, 0, -1)) for pixels in images.pixels(list(rows), size)]
