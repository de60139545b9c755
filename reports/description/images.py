"""Problems of the images."""

from __future__ import annotations

from collections.abc import Iterator

from harness.errors import counted
from harness.records.description import PROBLEMS, Contamination, Description, FileFacts
from harness.reports.description.found import MANY, Found, Look
from harness.reports.document.text import listed, shortened

_SMALL = 64  # pixels
_ORDER = {"test": 0, "val": 1, "train": 2}


def files(facts: Description) -> Iterator[Found]:
    """Files that are missing or cannot be read."""
    for split in facts.splits:
        found = split.files
        if found is None or not found.missing + found.unreadable:
            continue
        kinds = ((found.missing, "missing", 0), (found.unreadable, "unreadable", min(found.missing, PROBLEMS)))
        for count, what, place in kinds:
            if count:
                first = shortened(found.problems[place], 150) if place < len(found.problems) else "not told"
                told = (
                    f"{what} image files, so runs refuse this dataset: {count:,} of {split.images:,} (first: {first})"
                )
                yield Found("error", told, (split.name,))


def shared(facts: Description) -> Iterator[Found]:
    """Images that a split has from the one that a model is trained or chosen on."""
    for pair in facts.duplicates:
        if _ORDER.get(pair.first, 0) >= _ORDER.get(pair.second, 0):
            continue
        total = _images(facts, pair.first)
        if pair.equal:
            told = f"images that {pair.second} has, too, with equal content, so they are not new: {pair.equal:,} of {total:,}"
            yield Found("error", told, (pair.first,))
        if pair.near:
            told = (
                f"images with a near-duplicate (by hash) in {pair.second}, to be looked at: {pair.near:,} of {total:,}"
            )
            yield Found("error" if pair.near > MANY * total else "warning", told, (pair.first,))


def contamination(facts: Description) -> Iterator[Found]:
    """Images that another dataset has, too."""
    for row in facts.contamination:
        whose = row.other if row.other_split == "all" else f"{row.other} {row.other_split}"
        if row.any:
            told = (
                f"images that {whose} has, too, so they are not new to a model trained on it: {row.any:,} of {row.images:,} "
                f"({_ways(row)})"
            )
            yield Found("error", told, (row.split,))
        elif row.bare_numbers:
            told = (
                f"{row.bare_numbers:,} of {row.images:,} ids are bare numbers that {whose} has, too, which proves nothing "
                "unless both number the same images"
            )
            yield Found("warning", told, (row.split,))


def _ways(row: Contamination) -> str:
    ways = ((row.names, "file name"), (row.numbers, "number"), (row.equal, "content"), (row.near, "perceptual hash"))
    return ", ".join(f"{count:,} by {way}" for count, way in ways if count)


def sizes(facts: Description) -> Iterator[Found]:
    """Splits of another size than the field's."""
    for split in facts.splits:
        if split.name == "test" and split.whole_of and split.images not in split.published_images:
            told = (
                f"{split.images:,} images are as many as all splits of {split.whole_of} have together, and published figures "
                "are of its test split: recalls on the whole are far lower"
            )
            yield Found("error", told, (split.name,))
        elif split.published_images and split.images not in split.published_images:
            usual = listed([f"{size:,}" for size in split.published_images]).replace(" and ", " or ")
            told = f"{split.images:,} images, where published figures of {facts.title} are of {usual}: not comparable"
            yield Found("warning", told, (split.name,))
    if not any(split.name == "train" for split in facts.splits):
        yield Found("note", "there is no training split: these data evaluate models, they do not train one")


def inside(facts: Description) -> Iterator[Found]:
    """Images that repeat within a split."""
    for pair in facts.duplicates:
        if pair.first == pair.second and (pair.equal or pair.near):
            counts = ((pair.equal, "equal to"), (pair.near, "nearly equal to"))
            told = " and ".join(f"{count:,} {how}" for count, how in counts if count)
            serious = bool(pair.equal) and pair.first != "train"
            total = _images(facts, pair.first)
            yield Found(
                "warning" if serious else "note", f"of {total:,} images, {told} another one of the split", (pair.first,)
            )


def looks(facts: Description) -> Iterator[Found]:
    """Sizes, colours and turned images."""
    for split in facts.splits:
        if split.files is not None and split.files.width is not None:
            for found in _looks(split.files):
                yield Found(found.level, found.text, (split.name,))


def _looks(files: FileFacts) -> Iterator[Found]:
    if len(files.sizes) == 1 and files.aspect is not None and files.aspect.largest == files.aspect.smallest == 1:
        size = next(iter(files.sizes))
        yield Found(
            "warning",
            f"every image is {size}: squeezed or cropped copies, whose figures are not those of the original photographs",
        )
    elif files.width is not None and files.height is not None and _least(files) < _SMALL:
        yield Found("note", f"the smallest image has {_least(files):,.0f} pixels on a side")
    if files.uniform:
        yield Found("warning", f"{counted(files.uniform, 'image')} of one grey value: nothing can be seen")
    other = {mode: count for mode, count in files.modes.items() if mode != "RGB"}
    if other:
        told = ", ".join(f"{count:,} {mode}" for mode, count in other.items())
        yield Found("note", f"images that are not RGB: {told}; this harness shows them as a viewer does")
    if files.turned:
        yield Found(
            "note", f"{counted(files.turned, 'image')} turned by EXIF data, which this harness obeys and others may not"
        )


def features(facts: Description) -> Iterator[Found]:
    """Region features that are empty, or of unequal width."""
    found = {split.name: split.features for split in facts.splits if split.features is not None}
    if len({features.width for features in found.values()}) > 1:
        told = ", ".join(f"{name} {features.width:,}" for name, features in found.items())
        yield Found("error", f"the splits' features differ in width ({told}); runs refuse them")
    for name, features in found.items():
        if features.zero_images:
            yield Found("error", f"all features of {counted(features.zero_images, 'image')} are zero", (name,))
        elif features.zero_regions:
            yield Found("warning", f"{counted(features.zero_regions, 'region')} all zero: padding that counts", (name,))
        if features.equal_regions:
            yield Found("warning", f"{counted(features.equal_regions, 'image')} whose regions are all equal", (name,))


def quick(facts: Description) -> Iterator[Found]:
    """What was not looked for."""
    if facts.quick:
        yield Found("note", "--quick: no image was decoded, so broken files and repeated images were not looked for")


def _least(files: FileFacts) -> float:
    assert files.width is not None
    assert files.height is not None
    return min(files.width.smallest, files.height.smallest)


def _images(facts: Description, name: str) -> int:
    split = facts.split(name)
    return split.images if split is not None else 0


LOOKS: tuple[Look, ...] = (files, shared, contamination, sizes, features, inside, looks, quick)
