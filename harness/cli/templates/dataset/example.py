"""Dataset `example`: coloured squares, each with two captions that name the colour and the place.

Replace `_items` by what reads your files. Layouts of photographs in a folder extend
`harness.datasets.photographs.dataset.PhotographDataset`, which decodes, checks and hashes them.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from harness.datasets.base import SPLITS, Dataset, DatasetConfig, Split
from harness.datasets.images import ArrayImages
from harness.spec import sha256_json

COLOURS = {"red": (220, 40, 40), "green": (40, 180, 60), "blue": (40, 70, 220), "white": (240, 240, 240)}
PLACES = {"top left": (0, 0), "top right": (0, 1), "bottom left": (1, 0), "bottom right": (1, 1)}
#: Raise it when the same settings give other data than before: it is part of what the data are known by.
VERSION = 1


class ExampleConfig(DatasetConfig):
    """Options of `example`."""

    train_images: int = Field(48, ge=2)
    val_images: int = Field(12, ge=1)
    test_images: int = Field(12, ge=1)
    image_size: int = Field(32, ge=8, description="side of the pictures, pixels")


class Example(Dataset):
    """Generated squares, as pixels and as one region feature per quarter of the picture."""

    Config: ClassVar[type[DatasetConfig]] = ExampleConfig
    config: ExampleConfig

    @property
    def title(self) -> str:
        """The name in tables."""
        return "example"

    @property
    def sha256(self) -> str:
        """Of everything that decides the data: runs are known by it. Of files, hash their contents."""
        return sha256_json({"version": VERSION, **self.config.model_dump(mode="json")})

    def open_split(self, name: str) -> Split:
        """Images, captions, and which belong together."""
        pixels, texts = self._items(name)
        quarters = pixels.reshape(len(pixels), 3, 2, pixels.shape[2] // 2, 2, -1).mean(axis=(3, 5)) / 255
        regions = quarters.reshape(len(pixels), 3, 4).transpose(0, 2, 1).astype(np.float32)
        ids = tuple(f"{name}-{number:05d}" for number in range(len(pixels)))
        return Split(
            name=name,
            images=ArrayImages(pixels, regions, counts=np.full(len(pixels), 4)),
            image_ids=ids,
            captions=tuple(text for pair in texts for text in pair),
            caption_ids=tuple(f"{image}#{number}" for image in ids for number in range(2)),
            caption_image=np.repeat(np.arange(len(pixels)), 2),
        )

    def _items(self, name: str) -> tuple[np.ndarray, list[tuple[str, str]]]:
        """Pixels (I, 3, S, S) and two captions per image, from a random stream of the split's own."""
        count = getattr(self.config, f"{name}_images")
        random = np.random.default_rng([VERSION, SPLITS.index(name)])
        half = self.config.image_size // 2
        pixels = random.integers(0, 60, (count, 3, 2 * half, 2 * half), dtype=np.uint8)
        texts = []
        for picture in pixels:
            colour = list(COLOURS)[random.integers(len(COLOURS))]
            place = list(PLACES)[random.integers(len(PLACES))]
            row, column = (half * side for side in PLACES[place])
            picture[:, row : row + half, column : column + half] = np.array(COLOURS[colour], np.uint8)[:, None, None]
            texts.append((f"a {colour} square", f"a {colour} square at the {place}"))
        return pixels, texts
