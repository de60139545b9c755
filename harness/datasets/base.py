"""The base of every dataset: splits of images and captions whose relevance is stated, never inferred."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import numpy as np
from PIL import Image

from harness.errors import InvalidDataset
from harness.spec import PartConfig

if TYPE_CHECKING:
    from torch import Tensor

    from harness.fragments import Fragments

SPLITS = ("train", "val", "test")
#: How a photograph becomes a square: resized with its aspect ratio lost, or its shorter side resized and the middle cropped.
Resize = Literal["plain", "crop"]


class DatasetConfig(PartConfig):
    """Base of every dataset's configuration: immutable, unknown keys refused."""


class Images(Protocol):
    """The images of a split, in every form that the dataset has."""

    inputs: frozenset[Literal["pixels", "regions"]]
    region_width: int  #: D of the region features; 0 where there are none

    def __len__(self) -> int: ...

    def pixels(self, indices: Sequence[int] | np.ndarray, size: int, resize: Resize = "plain") -> np.ndarray:
        """(n, 3, size, size) uint8, RGB."""
        ...

    def original(self, row: int) -> Image.Image:
        """One image at the size that it has, RGB; called in several threads."""
        ...

    def regions(self, indices: Sequence[int] | np.ndarray) -> Fragments:
        """Raw region features (n, R, region_width), float32."""
        ...


class StoredSide(Protocol):
    """What a frozen tower made of one side of a split, kept on disk; see `harness.features`.

    Attributes:
        rows: (N,) int64, the place of each item of the split among the distinct ones that are kept.
    """

    rows: np.ndarray

    def read(self, places: np.ndarray) -> Fragments:
        """The tower's outputs (n, F, C) of the distinct items at `places`."""
        ...

    def lengths(self, places: np.ndarray) -> Tensor:
        """(n,) int64, the number of fragments of the distinct items at `places`."""
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
        stored_images, stored_texts: what the frozen towers of the scorer that reads this split made of it, which then
            takes the place of pixels and tokens; None = nothing is stored.

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
    stored_images: StoredSide | None = None
    stored_texts: StoredSide | None = None

    def __post_init__(self) -> None:
        problem = self._count_problem() or self._pairing_problem() or self._relevance_problem() or self._id_problem()
        if problem:
            raise InvalidDataset(f"split '{self.name}': {problem}")

    def _count_problem(self) -> str:
        images, captions = len(self.image_ids), len(self.captions)
        if not images or not captions:
            return f"it is empty: {images} images and {captions} captions; check the split's name"
        if len(self.images) != images:
            return f"{len(self.images)} images but {images} image ids"
        if not captions == len(self.caption_ids) == len(self.caption_image):
            return (
                f"{captions} captions, {len(self.caption_ids)} caption ids and {len(self.caption_image)} "
                "caption-to-image entries; all three must agree"
            )
        return ""

    def _pairing_problem(self) -> str:
        images, owner = len(self.image_ids), self.caption_image
        outside = np.flatnonzero((owner < 0) | (owner >= images))
        if len(outside):
            first = int(outside[0])
            return (
                f"{len(outside)} captions belong to no image (first: caption '{self.caption_ids[first]}' names image row "
                f"{int(owner[first])} of {images})"
            )
        bare = np.flatnonzero(np.bincount(owner, minlength=images) == 0)
        return f"{len(bare)} images have no caption (first: '{self.image_ids[int(bare[0])]}')" if len(bare) else ""

    def _relevance_problem(self) -> str:
        shape = (len(self.image_ids), len(self.captions))
        if self.relevance is None:
            return ""
        if self.relevance.dtype != np.bool_ or self.relevance.shape != shape:
            came = f"{self.relevance.dtype} of shape {self.relevance.shape}"
            return f"relevance must be bool of shape (I, T) = {shape}, got {came}"
        denied = np.flatnonzero(~self.relevance[self.caption_image, np.arange(shape[1])])
        if not len(denied):
            return ""
        image = self.image_ids[int(self.caption_image[denied[0]])]
        return f"caption '{self.caption_ids[int(denied[0])]}' is not relevant to its own image '{image}'"

    def _id_problem(self) -> str:
        for kind, ids in (("image", self.image_ids), ("caption", self.caption_ids)):
            if len(set(ids)) < len(ids):
                return f"{len(ids) - len(set(ids))} {kind} ids appear more than once"
        return ""


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
        self._splits: dict[str, Split] = {}

    @classmethod
    def recognise(cls, root: Path) -> str | None:
        """What shows that a folder has this layout, such as `dataset_flickr8k.json`; None where nothing does.

        Cheap: it looks at names and the first bytes of files only, and never fails.

        Args:
            root: an existing folder.
        """
        return None

    @property
    def title(self) -> str:
        """The name that tables and published figures use (flickr30k, mscoco, scenes)."""
        raise NotImplementedError

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that exist, in the order of `SPLITS`; benchmarks often come with `test` alone."""
        return SPLITS

    @property
    def sha256(self) -> str:
        """SHA-256 of everything that decides the data, so that a record can be traced to it."""
        raise NotImplementedError

    def split(self, name: str) -> Split:
        """The split `train`, `val` or `test`, opened once.

        Raises:
            InvalidDataset: it does not exist, is empty, or its files are missing or contradict each other.
        """
        if name not in self.splits:
            has = ", ".join(self.splits) or "none"
            raise InvalidDataset(f"dataset {self.title} has no {name} split; it has {has}{self.sought(name)}")
        if name not in self._splits:
            self._splits[name] = self.open_split(name)
        return self._splits[name]

    def open_split(self, name: str) -> Split:
        """Read a split; `split` keeps it."""
        raise NotImplementedError

    def sought(self, split: str) -> str:
        """What to add to the message about a split that does not exist: the files that would make it."""
        return ""

    @property
    def training_captions(self) -> tuple[str, ...] | None:
        """The captions in which words are counted; None where there is no train split."""
        return self.split("train").captions if "train" in self.splits else None

    def image_digests(self, split: str) -> tuple[bytes, ...] | None:
        """Digest of the content of each image of a split, equal for equal images; None where images are generated."""
        return None

    def check(self) -> None:
        """Refuse data that would fail a run later: images that cannot be decoded, splits that do not fit each other.

        Raises:
            InvalidDataset: which file has which problem.
        """
