"""A dataset that keeps the contract, and doubles that break one of its rules each on purpose."""

import dataclasses

import numpy as np
from PIL import Image

from harness.datasets.base import SPLITS, Dataset, Split
from harness.datasets.images import ArrayImages


class Good(Dataset):
    """Random pictures with two region features each; two captions per image."""

    def __init__(self, config=None):
        super().__init__(config or self.Config())

    title = "good"
    sha256 = "0" * 64

    def arrays(self, name):
        random = np.random.default_rng(SPLITS.index(name))
        pixels = random.integers(0, 256, (8, 3, 20, 20), dtype=np.uint8)
        return pixels, random.random((8, 2, 5), dtype=np.float32), np.arange(8) % 2 + 1

    def images(self, name):
        return ArrayImages(*self.arrays(name))

    def open_split(self, name):
        ids = tuple(f"{name}-{number}" for number in range(8))
        return Split(
            name=name,
            images=self.images(name),
            image_ids=ids,
            captions=tuple(f"a picture called {image} by {who}" for image in ids for who in "ab"),
            caption_ids=tuple(f"{image}#{who}" for image in ids for who in "ab"),
            caption_image=np.repeat(np.arange(8), 2),
        )


BROKEN: dict[str, list[type[Dataset]]] = {}


def breaks(rule):
    """Registers a double that the rule must catch."""

    def register(cls):
        BROKEN.setdefault(rule, []).append(cls)
        return cls

    return register


@breaks("named")
class TitleOfTwoLines(Good):
    title = "two\nlines"


@breaks("named")
class HashOfNothing(Good):
    sha256 = ""


@breaks("splits")
class OrderOfItsOwn(Good):
    splits = ("test", "train")


@breaks("splits")
class NoSplit(Good):
    splits = ()


@breaks("splits")
class CallsEverySplitTrain(Good):
    def open_split(self, name):
        return dataclasses.replace(super().open_split(name), name="train")


@breaks("pairs")
class NumbersAsIds(Good):
    def open_split(self, name):
        base = 100 * SPLITS.index(name)
        return dataclasses.replace(super().open_split(name), image_ids=tuple(range(base, base + 8)))


@breaks("pairs")
class BlankCaption(Good):
    def open_split(self, name):
        split = super().open_split(name)
        return dataclasses.replace(split, captions=(" ", *split.captions[1:]))


@breaks("disjoint")
class TestImagesInTraining(Good):
    def open_split(self, name):
        return dataclasses.replace(super().open_split("train"), name=name)


@breaks("disjoint")
class TestContentsInTraining(Good):
    def image_digests(self, split):
        return tuple(bytes([number]) for number in range(8))


class Wrapped:
    """Images with something changed."""

    def __init__(self, images):
        self._images = images

    def __getattr__(self, name):
        return getattr(self._images, name)

    def __len__(self):
        return len(self._images)


class Wraps(Good):
    wrapper = Wrapped

    def images(self, name):
        return self.wrapper(super().images(name))


@breaks("images")
class FloatPixels(Wraps):
    class wrapper(Wrapped):
        def pixels(self, indices, size, resize="plain"):
            return self._images.pixels(indices, size) / np.float32(255)


@breaks("images")
class IgnoresTheSide(Wraps):
    class wrapper(Wrapped):
        def pixels(self, indices, size, resize="plain"):
            return self._images.pixels(indices, 20)


@breaks("images")
class GreyOriginals(Wraps):
    class wrapper(Wrapped):
        def original(self, row):
            return self._images.original(row).convert("L")


@breaks("images")
class SaysAnotherRegionWidth(Wraps):
    class wrapper(Wrapped):
        region_width = 6


@breaks("rows")
class BrightnessOfTheBatch(Wraps):
    class wrapper(Wrapped):
        def pixels(self, indices, size, resize="plain"):
            block = self._images.pixels(indices, size)
            return block // 2 + np.uint8(block.mean() / 4 + len(indices))


@breaks("rows")
class OrderOfTheFile(Wraps):
    class wrapper(Wrapped):
        def regions(self, indices):
            return self._images.regions(np.sort(indices))


@breaks("same_twice")
class NewNoiseEachTime(Good):
    def arrays(self, name):
        pixels, regions, counts = super().arrays(name)
        return pixels, regions + np.float32(np.random.default_rng().random()), counts


@breaks("same_twice")
class CaptionsInTheOrderOfASet(Good):
    opened = 0

    def open_split(self, name):
        CaptionsInTheOrderOfASet.opened += 1
        split = super().open_split(name)
        turned = np.roll(np.arange(16), self.opened)
        return dataclasses.replace(
            split,
            captions=tuple(split.captions[n] for n in turned),
            caption_ids=tuple(split.caption_ids[n] for n in turned),
            caption_image=split.caption_image[turned],
        )


@breaks("reading_keeps")
class HandsOutItsOwnArray(Wraps):
    class wrapper(Wrapped):
        kept: dict[int, np.ndarray] = {}  # noqa: RUF012

        def pixels(self, indices, size, resize="plain"):
            key = hash((size, tuple(indices)))
            if key not in self.kept:
                self.kept[key] = self._images.pixels(indices, size).copy()
            return self.kept[key]


class InAFolder(Good):
    """Its pictures are brightened by a number in a file of its root, which a test writes."""

    file = "brightness.txt"

    def arrays(self, name):
        pixels, regions, counts = super().arrays(name)
        with open(f"{self.root}/{self.file}") as file:
            return pixels // 2 + np.uint8(int(file.read())), regions, counts


@breaks("root")
class ReadsAboveItsRoot(InAFolder):
    file = "../brightness.txt"


@breaks("root")
class FollowsALink(InAFolder):
    file = "link.txt"


def picture() -> Image.Image:
    """One picture, for tests of layouts."""
    return Image.new("RGB", (8, 8), (10, 20, 30))
