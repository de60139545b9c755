"""What pages show of a dataset's split: its captions, thumbnails of its images, and what else is known of both.

`<results>/site/exhibits/<dataset>-<split>-<first 8 digits of data_sha256>/` holds `exhibits.json` and the pictures, so that
pages can be made again where the data are not.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Self

import numpy as np
from pydantic import Field, model_validator

from harness.files.names import safe_name
from harness.files.writing import atomic_path
from harness.records.documents import read_document
from harness.spec import Spec

SCHEMA_VERSION = 1
FILE = "exhibits.json"
REMEDY = "delete the folder to have it made again"
#: Correct pairs that one source may list.
MOST_PAIRS = 500_000
#: Images of which pages list all queries and have all pictures; of a larger split, images in the sample that they list.
MOST_IMAGES, SAMPLE = 2_000, 500

Row = Annotated[int, Field(ge=0, strict=True)]
Key = Annotated[int, Field(ge=0)]  # of a JSON object, where every key is a text


class KnownPairs(Spec):
    """Pairs that one source calls correct and that are not the dataset's own."""

    pairs: tuple[tuple[Row, Row], ...] = Field((), max_length=MOST_PAIRS, description="image row, caption row")


class Exhibits(Spec):
    """What is shown of one split. I images, T captions.

    >>> shown = Exhibits(dataset="pets", split="test", data_sha256="0" * 64, image_ids=("a",), captions=("a cat",),
    ...     caption_ids=("a#0",), caption_image=(0,), pictures={0: "0.jpg"})
    >>> shown.folder_name, shown.pictures[0]
    ('pets-test-00000000', '0.jpg')
    """

    schema_version: int = SCHEMA_VERSION
    dataset: str
    split: str
    data_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    image_ids: tuple[str, ...] = Field(min_length=1, description="I ids, by row")
    captions: tuple[str, ...] = Field(min_length=1, description="T texts, by row")
    caption_ids: tuple[str, ...] = Field(description="T ids")
    caption_image: tuple[Row, ...] = Field(description="(T,) image row of each caption")
    pictures: dict[Key, str] = Field(default_factory=dict, description="image row -> file beside exhibits.json")
    unlabelled: dict[str, KnownPairs] = Field(
        default_factory=dict, description="by source: pairs that are correct and not the dataset's own"
    )
    pictureless: bool = Field(False, description="there is no picture of any image")
    unreadable: tuple[Row, ...] = Field((), description="image rows whose picture could not be decoded")
    clutter: dict[Key, Row] = Field(default_factory=dict, description="image row -> number of objects in the picture")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        images, texts = len(self.image_ids), len(self.captions)
        if not texts == len(self.caption_ids) == len(self.caption_image):
            raise ValueError(
                f"{texts} captions, {len(self.caption_ids)} caption_ids and {len(self.caption_image)} caption_image; all "
                "three must agree"
            )
        rows = [*self.caption_image, *self.pictures, *self.unreadable, *self.clutter]
        pairs = [pair for known in self.unlabelled.values() for pair in known.pairs]
        for name, found, count in (
            ("image", max([*rows, *(image for image, _ in pairs)], default=0), images),
            ("caption", max((caption for _, caption in pairs), default=0), texts),
        ):
            if found >= count:
                raise ValueError(f"{name} row {found} of {count}")
        wrong = next((file for row, file in self.pictures.items() if file != picture_name(row)), None)
        if wrong is not None:
            raise ValueError(f"picture {wrong!r:.60}; the picture of image row n is n.jpg")
        return self

    @property
    def folder_name(self) -> str:
        """The name of its folder below `site/exhibits`."""
        return folder_name(self.dataset, self.split, self.data_sha256)


def listed_images(images: int) -> np.ndarray:
    """The rows of the images that pages list with their captions: all, or a sample that is always the same.

    >>> listed_images(3).tolist(), len(listed_images(5_000))
    ([0, 1, 2], 500)
    """
    if images <= MOST_IMAGES:
        return np.arange(images)
    return np.sort(np.random.default_rng(0).choice(images, SAMPLE, replace=False))


def picture_name(row: int) -> str:
    """The file of an image's thumbnail.

    >>> picture_name(12)
    '12.jpg'
    """
    return f"{row}.jpg"


def folder_name(dataset: str, split: str, data_sha256: str) -> str:
    """The folder of a split's exhibits, one plain name whatever the dataset is called.

    >>> folder_name("flickr8k", "test", "bfb0ee17" + "0" * 56)
    'flickr8k-test-bfb0ee17'
    """
    return safe_name(f"{dataset}-{split}-{data_sha256[:8]}")


def exhibits_folder(results: Path, dataset: str, split: str, data_sha256: str) -> Path:
    """Where the exhibits of a split lie below a results folder, whether they exist or not."""
    return Path(results) / "site" / "exhibits" / folder_name(dataset, split, data_sha256)


def write_exhibits(folder: Path, exhibits: Exhibits) -> None:
    """Write `exhibits.json`, whole or not at all; its pictures should lie there already.

    Raises:
        ResultsNotWritable: the folder cannot be written.
    """
    text = json.dumps(exhibits.model_dump(mode="json"), ensure_ascii=False, separators=(",", ":"))
    with atomic_path(folder / FILE) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_exhibits(folder: Path) -> Exhibits | None:
    """The exhibits in a folder; None where there are none. Pictures that are no longer there are left out.

    Raises:
        InvalidRecord: the file is damaged, of another version, or contradicts itself.
    """
    if not os.path.lexists(folder / FILE):
        return None
    found = read_document(folder / FILE, Exhibits, SCHEMA_VERSION, REMEDY)
    return found.model_copy(update={"pictures": pictures_in(folder, found.pictures)})


def pictures_in(folder: Path, pictures: Mapping[int, str] | Sequence[int]) -> dict[int, str]:
    """Of some image rows, those whose picture lies in a folder: a plain file, not a link out of it."""
    try:
        with os.scandir(folder) as entries:
            there = {entry.name for entry in entries if entry.is_file(follow_symlinks=False)}
    except OSError:
        return {}
    return {row: picture_name(row) for row in pictures if picture_name(row) in there}
