"""The tables of a described dataset: its splits and captions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from harness.records.description import Description
from harness.reports.description.rows import SPLIT, frame, if_any
from harness.reports.document.model import Column, Table

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
        SPLIT,
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
    return Table(frame(rows, columns), columns, "What the splits hold", "splits")


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
        SPLIT,
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
    return Table(frame(rows, columns), columns, caption, "ties", rule_by=["split"])


def folds(facts: Description) -> Table | None:
    """The bound of each fold of 1,000 images."""
    columns = [SPLIT, Column("fold", "Fold", "count"), *_bound_columns()]
    rows = [
        {"split": split.name, "fold": number, **bound.model_dump()}
        for split in facts.splits
        for number, bound in enumerate(split.captions.exact.folds, 1)
    ]
    return if_any(rows, columns, "The same of each fold of 1,000 images (%)", "folds", collapsed=True)


def _bound_columns() -> list[Column]:
    titles = {"pessimistic": "ties lose", "expected": "ties by chance"}
    return [
        Column(key, titles[key.split("_")[1]], "number", 2, group=f"Best R@1 {way}")
        for way, keys in (("image to text", _I2T), ("text to image", _T2I))
        for key in keys
    ]


def shared_texts(facts: Description) -> Table | None:
    """The texts that most images share."""
    columns = [SPLIT, Column("images", "Images", "count"), Column("text", "Caption")]
    rows = [
        {"split": split.name, "images": images, "text": text}
        for split in facts.splits
        for text, images in split.captions.exact.examples.items()
    ]
    return if_any(rows, columns, "Captions that most images share", "shared-captions", collapsed=True)


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
    return if_any(rows, columns, caption, "new-words", collapsed=True)


def oddities(facts: Description) -> Table | None:
    """What no caption should hold."""
    columns = [
        SPLIT,
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
    return if_any(rows, columns, "Captions with something odd", "oddities")


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
    return Table(frame([row], columns), columns, "The vocabulary that comes with the data", "vocabulary")


def _range(per_image: dict[int, int]) -> str:
    low, high = min(per_image), max(per_image)
    return str(low) if low == high else f"{low} to {high}"
