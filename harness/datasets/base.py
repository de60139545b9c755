"""What every dataset is: splits of images and captions, with the relevance between them stated, never inferred."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

from harness.errors import InvalidDataset
from harness.fragments import Fragments
from harness.spec import PartConfig


class DatasetConfig(PartConfig):
    """Base of every dataset's configuration: immutable, unknown keys refused."""


class Images(Protocol):
    """The images of a split in whatever forms the dataset has."""

    inputs: frozenset[Literal["pixels", "regions"]]
    region_width: int  #: D of the region features; 0 where there are none

    def __len__(self) -> int: ...

    def pixels(self, indices: Sequence[int] | np.ndarray, size: int) -> np.ndarray:
        """(n, 3, size, size) uint8, RGB."""
        ...

    def regions(self, indices: Sequence[int] | np.ndarray) -> Fragments:
        """Raw region features (n, R, region_width), float32."""
        ...


@dataclass(frozen=True, eq=False)
class Split:
    """One split: I images, T captions.

    Args:
        name: train, val or test.
        images: the images.
        image_ids: I distinct ids.
        captions: T texts.
        caption_ids: T distinct ids.
        caption_image: (T,) int64, the image row of each caption.
        relevance: (I, T) bool, the exact many-to-many relevance where it is known; None = caption_image alone.

    Raises:
        InvalidDataset: empty, counts that disagree, a caption of no image, an image without captions, repeated ids, or a
            relevance of the wrong shape or type, or that denies a caption its own image.
    """

    name: str
    images: Images
    image_ids: tuple[str, ...]
    captions: tuple[str, ...]
    caption_ids: tuple[str, ...]
    caption_image: np.ndarray
    relevance: np.ndarray | None = None

    def __post_init__(self) -> None:
        count_images, count_captions = len(self.image_ids), len(self.captions)
        if not count_images or not count_captions:
            raise InvalidDataset(
                f"split '{self.name}' is empty: {count_images} images and {count_captions} captions; "
                "check the split's name"
            )
        if len(self.images) != count_images:
            raise InvalidDataset(f"split '{self.name}': {len(self.images)} images but {count_images} image ids")
        if len(self.caption_ids) != count_captions or len(self.caption_image) != count_captions:
            raise InvalidDataset(
                f"split '{self.name}': {count_captions} captions, {len(self.caption_ids)} caption ids and "
                f"{len(self.caption_image)} caption-to-image entries; all three must agree"
            )
        outside = (self.caption_image < 0) | (self.caption_image >= count_images)
        if outside.any():
            first = int(np.flatnonzero(outside)[0])
            raise InvalidDataset(
                f"split '{self.name}': {int(outside.sum())} captions belong to no image (first: caption "
                f"'{self.caption_ids[first]}' names image row {int(self.caption_image[first])} of {count_images})"
            )
        without = np.bincount(self.caption_image, minlength=count_images) == 0
        if without.any():
            raise InvalidDataset(
                f"split '{self.name}': {int(without.sum())} images have no caption "
                f"(first: '{self.image_ids[int(np.flatnonzero(without)[0])]}')"
            )
        self._check_relevance()
        for kind, ids in (("image", self.image_ids), ("caption", self.caption_ids)):
            if len(set(ids)) < len(ids):
                raise InvalidDataset(
                    f"split '{self.name}': {len(ids) - len(set(ids))} {kind} ids appear more than once"
                )

    def _check_relevance(self) -> None:
        if self.relevance is None:
            return
        shape = (len(self.image_ids), len(self.captions))
        if self.relevance.dtype != np.bool_ or self.relevance.shape != shape:
            raise InvalidDataset(
                f"split '{self.name}': relevance must be bool of shape (I, T) = {shape}, "
                f"got {self.relevance.dtype} of shape {self.relevance.shape}"
            )
        own = self.relevance[self.caption_image, np.arange(shape[1])]
        if not own.all():
            first = int(np.argmin(own))
            raise InvalidDataset(
                f"split '{self.name}': caption '{self.caption_ids[first]}' is not relevant to its own image "
                f"'{self.image_ids[int(self.caption_image[first])]}'"
            )


class Dataset:
    """A named collection of splits. Opening one reads no pixels.

    Args:
        config: the dataset's settings.

    Raises:
        InvalidDataset: files missing, unreadable, or contradicting each other.
    """

    Config: ClassVar[type[DatasetConfig]] = DatasetConfig
    config: Any
    vocabulary_path: Path | None = None  #: a vocabulary that comes with the data; None = count the training captions

    def __init__(self, config: Any):
        self.config = config

    @property
    def title(self) -> str:
        """The name that tables and published figures use (flickr30k, mscoco, scenes)."""
        raise NotImplementedError

    @property
    def sha256(self) -> str:
        """Of everything that decides the data, so that a record can be traced to it."""
        raise NotImplementedError

    def split(self, name: str) -> Split:
        """The split `train`, `val` or `test`.

        Raises:
            InvalidDataset: it does not exist or is empty.
        """
        raise NotImplementedError

    def image_digests(self, split: str) -> tuple[bytes, ...] | None:
        """Of the content of each image of a split, equal for equal images; None where images are generated."""
        return None

    def check(self) -> None:
        """Refuse data that would fail a run later: images that cannot be decoded, splits that do not fit each other.

        Raises:
            InvalidDataset: saying what is wrong with which file.
        """
