"""The rules of datasets: what a reader of splits relies on. Each rule opens the dataset anew.

Shape letters: I images, T captions, S side in pixels.
"""

from __future__ import annotations

import itertools
import os
import re
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import harness
from harness.conformance import expect
from harness.datasets.base import SPLITS, Dataset, Images, Split
from harness.files.caches import cache_folder
from harness.fragments import Fragments

#: Sides in pixels that images are asked for, and how many images of a split are read.
SIDES, READ = (16, 24), 6


@dataclass(frozen=True)
class Subject:
    """The dataset that `make` opens, under examination.

    Args:
        make: opens it.
        options: that it is opened with, as plain values.
    """

    make: Callable[[], Dataset]
    options: dict[str, Any]

    def splits(self) -> Iterator[Split]:
        """Every split, freshly opened."""
        dataset = self.make()
        for name in dataset.splits:
            yield dataset.split(name)


def named(subject: Subject) -> None:
    """`title` is one word or line, and `sha256` 64 hexadecimal digits."""
    dataset = subject.make()
    title, sha256 = dataset.title, dataset.sha256
    one_line = isinstance(title, str) and title.strip() == title != "" and "\n" not in title
    expect.that(one_line, f"expected a title of one line, found {title!r:.80}")
    hexadecimal = isinstance(sha256, str) and re.fullmatch(r"[0-9a-f]{64}", sha256)
    expect.that(bool(hexadecimal), f"expected sha256 of 64 hexadecimal digits, found {sha256!r:.80}")


def splits(subject: Subject) -> None:
    """There is at least one split; each is one of train, val and test, in this order, and opens under its name."""
    dataset = subject.make()
    names = tuple(dataset.splits)
    ordered = tuple(name for name in SPLITS if name in names)
    expect.that(names == ordered != (), f"expected some of {SPLITS} in this order, found {names}")
    for name in names:
        split = dataset.split(name)
        expect.that(isinstance(split, Split), f"expected open_split to return a Split, found {type(split).__name__}")
        expect.that(split.name == name, f"expected the split '{name}', found one that is called '{split.name}'")


def pairs(subject: Subject) -> None:
    """Ids and captions are texts, no caption is blank, and `caption_image` holds whole numbers."""
    for split in subject.splits():
        texts = {"image id": split.image_ids, "caption id": split.caption_ids, "caption": split.captions}
        for what, values in texts.items():
            wrong = [value for value in values if not isinstance(value, str) or not value.strip()]
            first = f"{what} {wrong[0]!r:.40}" if wrong else ""
            expect.that(
                not wrong,
                f"{split.name}: expected texts that are not blank, found {len(wrong)} others, first {first}",
            )
        owner = split.caption_image
        came = getattr(owner, "dtype", type(owner).__name__)
        expect.that(
            isinstance(owner, np.ndarray) and np.issubdtype(owner.dtype, np.integer),
            f"{split.name}: expected caption_image as an array of whole numbers, found {came}",
        )


def disjoint(subject: Subject) -> None:
    """No image is in two splits: by its content where the dataset knows it, else by its id."""
    dataset = subject.make()
    items = {}
    for name in dataset.splits:
        digests = dataset.image_digests(name)
        items[name] = set(dataset.split(name).image_ids if digests is None else digests)
    for one, other in itertools.combinations(items, 2):
        shared = items[one] & items[other]
        expect.that(not shared, f"expected {one} and {other} to share no image, found {len(shared)} in both")


def images(subject: Subject) -> None:
    """Images come in every form that `inputs` names: pixels (n, 3, S, S) uint8 and RGB originals, or region features."""
    for split in subject.splits():
        found, rows = split.images, _rows(split)
        forms = set(found.inputs)
        expect.that(
            bool(forms) and forms <= {"pixels", "regions"},
            f"expected inputs of pixels and regions, found {sorted(forms)}",
        )
        expect.that(len(found) == len(split.image_ids), f"expected {len(split.image_ids)} images, found {len(found)}")
        if "pixels" in forms:
            for side in SIDES:
                _pixels(found.pixels(rows, side), (len(rows), 3, side, side))
            original = found.original(int(rows[0]))
            is_rgb = isinstance(original, Image.Image) and original.mode == "RGB"
            expect.that(
                is_rgb, f"expected an RGB image as original, found {getattr(original, 'mode', type(original).__name__)}"
            )
        if "regions" in forms:
            regions = found.regions(rows)
            expect.that(
                isinstance(regions, Fragments), f"expected regions as Fragments, found {type(regions).__name__}"
            )
            shape = len(regions), regions.width
            expected = len(rows), found.region_width
            expect.that(shape == expected, f"expected {expected[0]} images of width {expected[1]}, found {shape}")
            expect.finite(regions.features, "region features")


def rows(subject: Subject) -> None:
    """An image is the same read alone, or with others in any order."""
    for split in subject.splits():
        order = _rows(split)
        together = _read(split.images, order)
        backwards = _read(split.images, order[::-1])
        for place, row in enumerate(order):
            alone = _read(split.images, order[place : place + 1])[0]
            expect.that(
                alone == together[place] == backwards[len(order) - 1 - place],
                f"{split.name}: expected image {row} to be the same alone and among others, found other bytes",
            )


def same_twice(subject: Subject) -> None:
    """A second opening gives the same bytes: hash, ids, captions, pairs, relevance and images."""
    first, second = subject.make(), subject.make()
    expect.that(first.sha256 == second.sha256, "expected the same sha256 from a second opening, found another one")
    expect.that(first.splits == second.splits, "expected the same splits from a second opening, found others")
    for name in first.splits:
        one, other = first.split(name), second.split(name)
        for what in ("image_ids", "captions", "caption_ids"):
            same = tuple(getattr(one, what)) == tuple(getattr(other, what))
            expect.that(same, f"{name}: expected the same {what} from a second opening, found others")
        for what in ("caption_image", "relevance"):
            same = np.array_equal(getattr(one, what), getattr(other, what))
            expect.that(same, f"{name}: expected the same {what} from a second opening, found another one")
        same = _read(one.images, _rows(one)) == _read(other.images, _rows(other))
        expect.that(same, f"{name}: expected the same images from a second opening, found other bytes")


def reading_keeps(subject: Subject) -> None:
    """What is done to the pixels of a read image does not change the next reading."""
    for split in subject.splits():
        order = _rows(split)
        before = _read(split.images, order)
        if "pixels" in split.images.inputs:
            block = split.images.pixels(order, SIDES[0])
            if block.flags.writeable:
                block[:] = 255 - block
        if "regions" in split.images.inputs:
            split.images.regions(order).features.mul_(-2)
        expect.that(
            _read(split.images, order) == before,
            f"{split.name}: expected the images to be as before after a reader changed its copy, found other bytes",
        )


def root(subject: Subject) -> None:
    """A dataset that has a `root` opens no file outside of it, links followed; but for files that its options name."""
    folder = subject.options.get("root")
    if not folder:
        return
    with _opened_files() as paths:
        dataset = subject.make()
        for name in dataset.splits:
            split = dataset.split(name)
            _read(split.images, _rows(split))
        _ = dataset.sha256
    named = [Path(value).expanduser() for value in subject.options.values() if isinstance(value, str) and value]
    allowed = [os.path.realpath(str(place)) for place in (*named, *_own_places())]
    outside = sorted({path for path in map(os.path.realpath, paths) if not _below(path, allowed)})
    expect.that(not outside, f"expected files below {folder} alone, found {len(outside)} outside, first {outside[:1]}")


def _rows(split: Split) -> np.ndarray:
    """The first images of a split, and the last one."""
    count = len(split.image_ids)
    return np.unique(np.append(np.arange(min(READ, count)), count - 1))


def _read(images: Images, rows: np.ndarray) -> list[bytes]:
    """The bytes of some images, in every form that they have."""
    forms: list[list[bytes]] = []
    if "pixels" in images.inputs:
        forms.append([block.tobytes() for block in images.pixels(rows, SIDES[0])])
        forms.append([images.original(int(row)).tobytes() for row in rows])
    if "regions" in images.inputs:
        found = images.regions(rows)
        forms.append(
            [features[mask].numpy().tobytes() for features, mask in zip(found.features, found.mask, strict=True)]
        )
    return [b"".join(parts) for parts in zip(*forms, strict=True)]


def _pixels(block: Any, shape: tuple[int, ...]) -> None:
    is_right = isinstance(block, np.ndarray) and block.dtype == np.uint8 and block.shape == shape
    came = f"{block.dtype} {block.shape}" if isinstance(block, np.ndarray) else type(block).__name__
    expect.that(is_right, f"expected pixels as uint8 {shape}, found {came}")


def _own_places() -> list[str]:
    """Where Python, installed packages, the harness and its cache lie, and what a system offers all programs."""
    house = Path(harness.__file__).resolve().parents[1]
    return [*sysconfig.get_paths().values(), sys.prefix, sys.base_prefix, str(house), str(cache_folder()), *_SYSTEM]


_SYSTEM = ("/proc", "/sys", "/dev", "/etc", "/usr", "/lib")


def _below(path: str, folders: list[str]) -> bool:
    return any(path == folder or path.startswith(f"{folder}{os.sep}") for folder in folders)


_watched: list[set[str]] = []  # what `_opened_files` fills; a hook can be added to Python, never taken away


@contextmanager
def _opened_files() -> Iterator[set[str]]:
    """The paths of files that Python opens for reading in the block."""
    if not getattr(_hook, "added", False):
        sys.addaudithook(_hook)
        _hook.added = True  # type: ignore[attr-defined]
    paths: set[str] = set()
    _watched.append(paths)
    try:
        yield paths
    finally:
        _watched.remove(paths)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if (
        _watched
        and event == "open"
        and isinstance(arguments[0], (str, bytes))
        and not str(arguments[1]).startswith(("w", "x"))
    ):
        for paths in _watched:
            paths.add(os.path.abspath(os.fsdecode(arguments[0])))


#: By name, simple ones first.
RULES: dict[str, Callable[[Subject], None]] = {
    rule.__name__: rule for rule in (named, splits, pairs, disjoint, images, rows, same_twice, reading_keeps, root)
}
