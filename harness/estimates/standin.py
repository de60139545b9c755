"""Random data of a dataset's shape, to time a model on before the dataset is here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from PIL import Image

from harness.backbones.words.vocabulary import END, PAD, START, UNKNOWN, Vocabulary
from harness.datasets.base import Images, Resize, Split
from harness.fragments import Fragments

#: Words that a vocabulary of the training captions of Flickr30K or COCO has, about.
VOCABULARY_SIZE = 10_000
FEWEST_WORDS = 4
#: Width and height of most photographs of Flickr30K.
PHOTOGRAPH = (500, 375)


class RandomImages:
    """Images of noise: pixels of any size, and region features where the dataset has some.

    Args:
        count: number of images.
        regions: per image.
        width: of a region's features; 0 = no region features.
        seed: of the noise.
    """

    def __init__(self, count: int, regions: int = 36, width: int = 0, seed: int = 0):
        self.inputs: frozenset[Literal["pixels", "regions"]] = frozenset(("regions",) if width else ("pixels",))
        self.region_width = width
        self._count, self._regions, self._seed = count, regions, seed

    def __len__(self) -> int:
        return self._count

    def pixels(self, indices: Sequence[int] | np.ndarray, size: int, resize: Resize = "plain") -> np.ndarray:
        """(n, 3, size, size) uint8."""
        return self._random(indices).integers(0, 256, (len(indices), 3, size, size), dtype=np.uint8)

    def original(self, row: int) -> Image.Image:
        """One image of the usual size of a photograph, `PHOTOGRAPH`."""
        width, height = PHOTOGRAPH
        return Image.fromarray(self._random([row]).integers(0, 256, (height, width, 3), dtype=np.uint8))

    def regions(self, indices: Sequence[int] | np.ndarray) -> Fragments:
        """Region features (n, R, D), float32."""
        shape = (len(indices), self._regions, self.region_width)
        features = torch.from_numpy(self._random(indices).random(shape, dtype=np.float32))
        return Fragments(features, torch.ones(shape[:2], dtype=torch.bool))

    def _random(self, indices: Sequence[int] | np.ndarray) -> np.random.Generator:
        return np.random.default_rng([self._seed, *np.asarray(indices, dtype=np.int64).tolist()])


class FirstImages:
    """The first images of others: reading them is part of what is timed."""

    def __init__(self, images: Images, count: int):
        self._images, self._count = images, count
        self.inputs, self.region_width = images.inputs, images.region_width

    def __len__(self) -> int:
        return self._count

    def pixels(self, indices: Sequence[int] | np.ndarray, size: int, resize: Resize = "plain") -> np.ndarray:
        return self._images.pixels(indices, size, resize)

    def original(self, row: int) -> Image.Image:
        return self._images.original(row)

    def regions(self, indices: Sequence[int] | np.ndarray) -> Fragments:
        return self._images.regions(indices)


def first_pairs(split: Split, count: int) -> Split:
    """A split's first images, each with its first caption: a batch of them repeats no image, as one of the whole split
    hardly does."""
    count = min(count, len(split.image_ids))
    first = np.unique(split.caption_image, return_index=True)[1][:count]
    return Split(
        name=split.name,
        images=FirstImages(split.images, count),
        image_ids=split.image_ids[:count],
        captions=tuple(split.captions[row] for row in first),
        caption_ids=tuple(split.caption_ids[row] for row in first),
        caption_image=np.arange(count),
    )


def random_pairs(images: int, words: tuple[float, float, int], *, region_width: int = 0, seed: int = 0) -> Split:
    """Random images with a random caption each.

    Args:
        images: I.
        words: mean and standard deviation of the words of a caption, and the longest caption.
        region_width: of region features; 0 = the images are pixels.
        seed: decides the values.
    """
    return Split(
        name="train",
        images=RandomImages(images, width=region_width, seed=seed),
        image_ids=tuple(f"i{number}" for number in range(images)),
        captions=random_captions(images, words, seed),
        caption_ids=tuple(f"c{number}" for number in range(images)),
        caption_image=np.arange(images),
    )


def random_captions(count: int, words: tuple[float, float, int], seed: int = 0) -> tuple[str, ...]:
    """Captions of random words, whose lengths have a log-normal distribution, cut at the longest.

    >>> lengths = [len(caption.split()) for caption in random_captions(2000, (12.0, 4.0, 40))]
    >>> 11 < sum(lengths) / 2000 < 13, max(lengths) <= 40
    (True, True)
    """
    mean, deviation, longest = words
    spread = np.log(1 + (deviation / mean) ** 2)
    random = np.random.default_rng(seed)
    lengths = random.lognormal(np.log(mean) - spread / 2, np.sqrt(spread), count).round().astype(int)
    lengths = lengths.clip(FEWEST_WORDS, longest)
    drawn = random.zipf(1.3, int(lengths.sum())) % VOCABULARY_SIZE
    ends = lengths.cumsum()
    return tuple(" ".join(f"w{word}" for word in drawn[end - n : end]) for n, end in zip(lengths, ends, strict=True))


def random_vocabulary() -> Vocabulary:
    """A vocabulary of the words of `random_captions`."""
    return Vocabulary((PAD, START, END, UNKNOWN, *(f"w{number}" for number in range(VOCABULARY_SIZE))))
