"""The base of every layout of photographs: a layout says which image has which captions, and the rest happens here."""

from __future__ import annotations

import hashlib
import json
import logging
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import ClassVar

import numpy as np
from pydantic import Field

from harness.datasets.base import SPLITS, Dataset, DatasetConfig, Split
from harness.datasets.files import FolderConfig, dataset_root
from harness.datasets.photographs.decoding import DECODER
from harness.datasets.photographs.files import Photographs
from harness.datasets.photographs.sources import ImageFiles, ImageSource
from harness.datasets.photographs.texts import one_line_each
from harness.datasets.published import warn_of_size
from harness.errors import counted

logger = logging.getLogger(__name__)


class PhotographConfig(FolderConfig):
    """Where the photographs lie and how many captions of each are used."""

    images: str | None = Field(None, description="the folder of the images, below root; null = where the layout has it")
    captions_per_image: int | None = Field(5, ge=1, description="captions taken per image, the first ones; null = all")


class TitledConfig(PhotographConfig):
    """Of a layout whose files do not name the dataset."""

    title: str | None = Field(
        None, min_length=1, description="the dataset's name in tables; null = from the names of its folder and files"
    )


@dataclass(frozen=True)
class Entry:
    """One image.

    Args:
        file: its path below the dataset's `images_root`, with forward slashes; checked with `within` by whoever read it.
        image_id: distinct in its split.
        captions: at least one.
        caption_ids: as many, distinct in the split.
    """

    file: str
    image_id: str
    captions: tuple[str, ...]
    caption_ids: tuple[str, ...]


def entry_of(path: str, captions: Sequence[str]) -> Entry:
    """An image that is known by its file name, and its captions as `<file>#k`, k from 0, as Flickr's own files number them.

    >>> entry_of("images/1.jpg", ["a dog", "a red dog"])
    Entry(file='images/1.jpg', image_id='1.jpg', captions=('a dog', 'a red dog'), caption_ids=('1.jpg#0', '1.jpg#1'))
    """
    name = path.rpartition("/")[2]
    return Entry(path, name, tuple(captions), tuple(f"{name}#{number}" for number in range(len(captions))))


class PhotographDataset(Dataset):
    """Photographs with captions. `inputs` is pixels only.

    A layout implements `read` and `title`. It keeps the captions that it reads in full and as they are; their white space
    is normalised here, and `captions_per_image` and the limits of the splits are applied.
    """

    Config: ClassVar[type[DatasetConfig]] = PhotographConfig
    config: PhotographConfig

    def __init__(self, config: PhotographConfig):
        super().__init__(config)
        self.root = dataset_root(config.root)
        #: For `read` to narrow: the file that decides the splits, for messages, and the folder that holds every image.
        self.source = self.images_root = self.root
        self._entries = {name: self._used(name, entries) for name, entries in self._tidied(self.read()).items()}

    @abstractmethod
    def read(self) -> Mapping[str, Sequence[Entry]]:
        """The images of each split that exists, in the order of the files, with all their captions as the files hold them.

        Raises:
            InvalidDataset: files missing, unreadable, or contradicting each other.
        """

    def image_source(self, entries: Sequence[Entry]) -> ImageSource:
        """Where the bytes of some images lie; a layout whose images lie in an archive overrides it."""
        return ImageFiles(self.images_root, [entry.file for entry in entries])

    def entries(self, split: str) -> Sequence[Entry]:
        """The images of a split as they are used; none of their files is opened, and some may be missing."""
        return self._entries.get(split, ())

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits with images."""
        return tuple(name for name in SPLITS if self._entries.get(name))

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of every image's content and id, the captions with their ids in order, and the decoder's version.

        Raises:
            InvalidDataset: an image is missing.
        """
        digest = hashlib.sha256(f"decoder {DECODER}\n".encode())
        for split in SPLITS:
            texts = [(entry.image_id, entry.captions, entry.caption_ids) for entry in self._entries.get(split, ())]
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
        blank = sum(not caption for entry in entries for caption in entry.captions)
        if blank:  # kept, so that counts stay those of the published split
            logger.warning("%s: %d captions of split '%s' are blank", self.source, blank, name)
        split = Split(
            name=name,
            images=self._photographs[name],
            image_ids=tuple(entry.image_id for entry in entries),
            captions=tuple(caption for entry in entries for caption in entry.captions),
            caption_ids=tuple(caption_id for entry in entries for caption_id in entry.caption_ids),
            caption_image=np.repeat(np.arange(len(entries)), [len(entry.captions) for entry in entries]),
        )
        logger.info(
            "%s %s: %s, %s", self.title, name, counted(len(entries), "image"), counted(len(split.captions), "caption")
        )
        if self.config.limit(name) is None:
            warn_of_size(self.title, name, len(entries))
        return split

    @cached_property
    def _photographs(self) -> dict[str, Photographs]:
        return {split: Photographs(self.image_source(self._entries.get(split, ()))) for split in SPLITS}

    def _tidied(self, read: Mapping[str, Sequence[Entry]]) -> dict[str, list[Entry]]:
        """The entries with their captions on one line each; a line says how many captions that changed."""
        captions = [caption for entries in read.values() for entry in entries for caption in entry.captions]
        texts = iter(one_line_each(captions, str(self.source)))
        return {
            split: [replace(entry, captions=tuple(islice(texts, len(entry.captions)))) for entry in entries]
            for split, entries in read.items()
        }

    def _used(self, split: str, entries: Sequence[Entry]) -> list[Entry]:
        """The first images and the first captions of each, as configured; a line says how many captions are left out."""
        most = self.config.captions_per_image
        used = list(entries[: self.config.limit(split)])
        beyond = sum(max(0, len(entry.captions) - most) for entry in used) if most else 0
        if not beyond:
            return used
        logger.info(
            "%s: %s of split '%s' beyond the first %d of their image left out; captions_per_image=null takes all",
            self.source,
            counted(beyond, "caption"),
            split,
            most,
        )
        return [Entry(e.file, e.image_id, e.captions[:most], e.caption_ids[:most]) for e in used]
