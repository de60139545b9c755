"""The tables of a described dataset."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from harness.records.description import Description, Spread
from harness.reports.document.model import Column, Table
from harness.reports.document.text import fixed

_SPLIT = Column("split", "Split", pinned=True)
_LISTED = 60  # words
_I2T, _T2I = ([f"{way}_{ties}_percent" for ties in ("pessimistic", "expected")] for way in ("i2t", "t2i"))


def brief(facts: Description) -> Table:
    """The splits as a terminal of 80 characters shows them."""
    table = splits(facts)
    titles = {"each": "Each", "words_median": "Words", "words_max": "Longest", "equal": "Equal"}
    columns = [replace(column, title=titles.get(column.key, column.title)) for column in table.columns]
    for number, limit in enumerate(facts.splits[0].captions.limits):
        place = next(place for place, column in enumerate(columns) if column.key == f"limit_{number}")
        columns[place] = replace(columns[place], title=f"> {limit.longest} ({limit.text})"[:14], wide=number > 0)
    caption = "Captions per image (each), median and longest number of words, those too long, and equal ones"
    return replace(table, columns=columns, caption=caption)


def splits(facts: Description) -> Table:
    """One row per split: what it holds and what is wrong with its captions."""
    columns = [
        _SPLIT,
        Column("images", "Images", "count"),
        Column("captions", "Captions", "count"),
        Column("each", "Per image", help="captions per image"),
        Column("words_median", "median", "number", 0, group="Words per caption"),
        Column("words_p95", "p95", "number", 0, group="Words per caption", wide=True),
        Column("words_max", "max", "count", group="Words per caption"),
        *_limit_columns(facts),
        Column("equal", "Equal captions", "count", help="captions whose text an earlier one has"),
        Column("blank", "Blank", "count", wide=True),
        Column("new_words", "New words", "count", help="different words that no training caption has", wide=True),
    ]
    rows = []
    for split in facts.splits:
        captions = split.captions
        row: dict[str, Any] = {
            "split": split.name,
            "images": split.images,
            "captions": captions.number,
            "each": _range(captions.per_image),
            "words_median": captions.words.median,
            "words_p95": captions.words.p95,
            "words_max": captions.words.largest,
            "equal": captions.exact.repeats,
            "blank": captions.blank,
            "new_words": captions.new_words.words if captions.new_words is not None else None,
        }
        rows.append(row | {f"limit_{n}": limit.cut for n, limit in enumerate(captions.limits)})
    return Table(_frame(rows, columns), columns, "What the splits hold", "splits")


def _limit_columns(facts: Description) -> list[Column]:
    limits = facts.splits[0].captions.limits
    return [
        Column(
            f"limit_{number}",
            f"> {limit.longest}",
            "count",
            group=f"Too long for {limit.text}",
            help=f"captions of more than {limit.longest} tokens, special ones included",
        )
        for number, limit in enumerate(limits)
    ]


def ties(facts: Description) -> Table:
    """Equal captions per split, and the best R@1 that they allow."""
    columns = [
        _SPLIT,
        Column("form", "Compared"),
        Column("repeats", "Repeats", "count", help="captions whose text an earlier one has"),
        Column("shared_texts", "Shared texts", "count", help="different texts that belong to several images"),
        Column("sharing_images", "Images that share", "count", help="images with at least one shared text"),
        Column("repeating_images", "Images that repeat", "count", help="images that have one text twice"),
        *_bound_columns(),
    ]
    rows = [
        {
            "split": split.name,
            "form": form,
            **{column.key: getattr(found, column.key) for column in columns[2:6]},
            **found.bound.model_dump(),
        }
        for split in facts.splits
        for form, found in (("as they stand", split.captions.exact), ("as lower-case words", split.captions.as_words))
    ]
    caption = "Equal captions, and the best R@1 that any method can reach (%)"
    return Table(_frame(rows, columns), columns, caption, "ties", rule_by=["split"])


def folds(facts: Description) -> Table | None:
    """The bound of each fold of 1,000 images."""
    columns = [_SPLIT, Column("fold", "Fold", "count"), *_bound_columns()]
    rows = [
        {"split": split.name, "fold": number, **bound.model_dump()}
        for split in facts.splits
        for number, bound in enumerate(split.captions.exact.folds, 1)
    ]
    return _if_any(rows, columns, "The same of each fold of 1,000 images (%)", "folds", collapsed=True)


def _bound_columns() -> list[Column]:
    titles = {"pessimistic": "ties lose", "expected": "ties by chance"}
    return [
        Column(key, titles[key.split("_")[1]], "number", 2, group=f"Best R@1 {way}")
        for way, keys in (("image to text", _I2T), ("text to image", _T2I))
        for key in keys
    ]


def shared_texts(facts: Description) -> Table | None:
    """The texts that most images share."""
    columns = [_SPLIT, Column("images", "Images", "count"), Column("text", "Caption")]
    rows = [
        {"split": split.name, "images": images, "text": text}
        for split in facts.splits
        for text, images in split.captions.exact.examples.items()
    ]
    return _if_any(rows, columns, "Captions that most images share", "shared-captions", collapsed=True)


def new_words(facts: Description) -> Table | None:
    """Words that validation or test captions have and training captions lack."""
    listed = {s.name: s.captions.new_words.listed for s in facts.splits if s.captions.new_words is not None}
    words = list(dict.fromkeys(word for found in listed.values() for word in list(found)[:_LISTED]))
    columns = [
        Column("word", "Word", pinned=True),
        *(Column(name, f"In {name}", "count", help="occurrences") for name in listed),
    ]
    rows: list[dict[str, Any]] = [
        {"word": word, **{name: found.get(word, 0) for name, found in listed.items()}} for word in words
    ]
    rows.sort(key=lambda row: (-sum(row[name] for name in listed), row["word"]))
    caption = "The most frequent words that no training caption has"
    return _if_any(rows, columns, caption, "new-words", collapsed=True)


def oddities(facts: Description) -> Table | None:
    """What no caption should hold."""
    columns = [
        _SPLIT,
        Column("kind", "What"),
        Column("captions", "Captions", "count"),
        Column("percent", "%", "number", 2),
        Column("example", "Example", prose=True),
    ]
    rows = [
        {
            "split": split.name,
            "kind": odd.kind,
            "captions": odd.captions,
            "percent": 100 * odd.captions / split.captions.number,
            "example": odd.examples[0],
        }
        for split in facts.splits
        for odd in split.captions.oddities
    ]
    return _if_any(rows, columns, "Captions with something odd", "oddities")


def vocabulary(facts: Description) -> Table | None:
    """A vocabulary that comes with the data."""
    given = facts.vocabulary
    if given is None:
        return None
    columns = [
        Column("file", "File", pinned=True),
        Column("words", "Words", "count"),
        Column("not_in_train", "Not in train", "count"),
        Column("only_elsewhere", "In val or test only", "count"),
        Column("unknown_in_train", "Training words it lacks", "count"),
        Column("unknown_occurrences_percent", "Their share (%)", "number", 2),
        Column("examples", "For example", prose=True),
    ]
    row = given.model_dump() | {"examples": ", ".join(list(given.listed)[:12])}
    return Table(_frame([row], columns), columns, "The vocabulary that comes with the data", "vocabulary")


def files(facts: Description) -> Table | None:
    """The image files of each split."""
    columns = [
        _SPLIT,
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
    return _if_any(rows, columns, "Image files", "files")


def features(facts: Description) -> Table | None:
    """The region features of each split."""
    columns = [
        _SPLIT,
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
    return _if_any(rows, columns, "Region features", "features")


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
    return _if_any(list(rows.values()), columns, "Images that another image repeats", "duplicates")


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
    return _if_any(rows, columns, "Images that other data have, too", "contamination", rule_by=["split"])


def _if_any(
    rows: Sequence[dict[str, Any]], columns: Sequence[Column], caption: str, key: str, **options: Any
) -> Table | None:
    return Table(_frame(rows, columns), columns, caption, key, **options) if rows else None


def _frame(rows: Sequence[dict[str, Any]], columns: Iterable[Column]) -> pd.DataFrame:
    """Rows with the columns that are shown."""
    return pd.DataFrame(rows, columns=[column.key for column in columns])


def _range(per_image: dict[int, int]) -> str:
    low, high = min(per_image), max(per_image)
    return str(low) if low == high else f"{low} to {high}"


def _spread(found: Spread | None, digits: int = 0, unit: float = 1) -> str:
    """The median, and the extremes where they differ."""
    if found is None:
        return ""
    median, low, high = (fixed(value / unit, digits) for value in (found.median, found.smallest, found.largest))
    return median if low == high else f"{median} ({low} to {high})"


def _counts(counts: dict[str, int]) -> str:
    return next(iter(counts)) if len(counts) == 1 else ", ".join(f"{name} {n:,}" for name, n in counts.items())
