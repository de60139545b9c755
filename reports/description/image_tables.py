"""The tables of a described dataset: its images, and those that repeat."""

from __future__ import annotations

from typing import Any

from harness.records.description import Description, Spread
from harness.reports.description.rows import SPLIT, if_any
from harness.reports.document.model import Column, Table
from harness.reports.document.text import fixed


def files(facts: Description) -> Table | None:
    """The image files of each split."""
    columns = [
        SPLIT,
        Column("number", "Images", "count"),
        Column("missing", "Missing", "count"),
        Column("unreadable", "Unreadable", "count"),
        Column("width", "Width (px)", help="median (smallest to largest), upright"),
        Column("height", "Height (px)", help="median (smallest to largest), upright"),
        Column("aspect", "Width / height"),
        Column("kilobytes", "kB per file", help="median (smallest to largest)"),
        Column("formats", "Formats"),
        Column("modes", "Pixels", help="Pillow's name of the pixel type"),
        Column("turned", "Turned by EXIF", "count"),
    ]
    rows = [
        {
            "split": split.name,
            "number": split.images,
            "missing": found.missing,
            "unreadable": found.unreadable,
            "width": _spread(found.width),
            "height": _spread(found.height),
            "aspect": _spread(found.aspect, 2),
            "kilobytes": _spread(found.bytes, 1, 1000),
            "formats": _counts(found.formats),
            "modes": _counts(found.modes),
            "turned": found.turned,
        }
        for split in facts.splits
        if (found := split.files) is not None
    ]
    return if_any(rows, columns, "Image files", "files")


def features(facts: Description) -> Table | None:
    """The region features of each split."""
    columns = [
        SPLIT,
        Column("rows", "Images", "count"),
        Column("regions", "Regions", "count"),
        Column("width", "Width", "count"),
        Column("dtype", "Type"),
        Column("norms", "Norm of a region", help="median (smallest to largest)"),
        Column("zero_regions", "Zero regions", "count"),
        Column("zero_images", "Zero images", "count"),
        Column("equal_regions", "Images of equal regions", "count"),
        Column("seen", "Looked at", "count", help="images of which norms and zeros are; evenly spaced"),
    ]
    rows = [
        {
            "split": split.name,
            **found.model_dump(exclude={"norms"}),
            "norms": _spread(found.norms, 2),
            "seen": found.norms.number // found.regions if found.sampled else found.rows,
        }
        for split in facts.splits
        if (found := split.features) is not None
    ]
    return if_any(rows, columns, "Region features", "features")


def duplicates(facts: Description) -> Table | None:
    """Images that repeat, within a split and between splits: a row per split, a column per split that has the other."""
    names = list(dict.fromkeys(pair.second for pair in facts.duplicates))
    kinds = {"equal": "Equal content", "near": "Near by perceptual hash"}
    columns = [
        Column("split", "Images of", pinned=True),
        *(
            Column(f"{kind}_{name}", f"in {name}", "count", group=title)
            for kind, title in kinds.items()
            for name in names
        ),
    ]
    rows: dict[str, dict[str, Any]] = {}
    for pair in facts.duplicates:
        row = rows.setdefault(pair.first, {"split": pair.first})
        row |= {f"{kind}_{pair.second}": getattr(pair, kind) for kind in kinds}
    return if_any(list(rows.values()), columns, "Images that another image repeats", "duplicates")


def contamination(facts: Description) -> Table | None:
    """Images that other datasets have, too."""
    columns = [
        Column("split", "Images of", pinned=True),
        Column("images", "Images", "count"),
        Column("whose", "also in"),
        Column("any", "In both", "count", help="found by any of the following ways"),
        Column("names", "File name", "count", group="By"),
        Column("numbers", "Number", "count", group="By", help="COCO's or Flickr's number in the name"),
        Column("equal", "Content", "count", group="By"),
        Column("near", "Hash", "count", group="By", help="near-duplicates only"),
        Column("captions", "Captions in both", "count"),
        Column("shown", "For example", prose=True),
    ]
    rows = [
        {
            **row.model_dump(),
            "whose": row.other if row.other_split == "all" else f"{row.other} {row.other_split}",
            "shown": ", ".join(row.examples[:3]),
        }
        for row in facts.contamination
    ]
    return if_any(rows, columns, "Images that other data have, too", "contamination", rule_by=["split"])


def _spread(found: Spread | None, digits: int = 0, unit: float = 1) -> str:
    """The median, and the extremes where they differ."""
    if found is None:
        return ""
    median, low, high = (fixed(value / unit, digits) for value in (found.median, found.smallest, found.largest))
    return median if low == high else f"{median} ({low} to {high})"


def _counts(counts: dict[str, int]) -> str:
    return next(iter(counts)) if len(counts) == 1 else ", ".join(f"{name} {n:,}" for name, n in counts.items())
