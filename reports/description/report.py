"""The page of a described dataset: the findings first, then every fact behind them, with pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.errors import counted
from harness.records.description import Description, Item, Pair
from harness.reports.description import captions, figures, image_tables, images, tables
from harness.reports.description.found import merged
from harness.reports.document.model import Gallery, Notice, Picture, Report, Section, Table, Tile
from harness.reports.document.text import fixed

#: Pictures by split and image id, as JPEGs.
Thumbnails = Mapping[tuple[str, str], bytes]
_PAIRS = 24
_CLEAN = "No problem was found."


def build(facts: Description, thumbnails: Thumbnails | None = None) -> Report:
    """Build the page.

    Args:
        facts: what was found.
        thumbnails: of the images to be shown; those that are missing are left out.
    """
    shown = thumbnails or {}
    notices = findings(facts)
    table = tables.splits(facts)
    sections = [
        Section(title="Findings", notices=notices, sentences=[] if notices else [_CLEAN], reading=_LEVELS),
        Section(title="Splits", tables=[table], figures=[figures.lengths(facts)]),
        _captions(facts),
        _images(facts, shown),
        _samples(facts, shown),
    ]
    return Report(
        title=f"{facts.title}: what the data hold",
        stem="describe",
        sentences=[opening(facts)],
        sections=[section for section in sections if section is not None],
        brief=[opening(facts), *notices, *([] if notices else [_CLEAN]), tables.brief(facts)],
        main=table.frame,
        data={"description": facts.model_dump(mode="json"), "findings": [[n.level, n.text] for n in notices]},
    )


def findings(facts: Description) -> list[Notice]:
    """All findings, the most serious first."""
    return merged(found for look in (*images.LOOKS, *captions.LOOKS) for found in look(facts))


def opening(facts: Description) -> str:
    """What was described, in one sentence."""
    total = sum(split.images for split in facts.splits)
    texts = sum(split.captions.number for split in facts.splits)
    options = "".join(f", {key}={value}" for key, value in facts.options.items())
    evidence = f", recognised by {facts.evidence}" if facts.evidence else ""
    where = f" in {facts.root}" if facts.root else ""
    return (
        f"{facts.title}{where}: {counted(total, 'image')} and {counted(texts, 'caption')} in "
        f"{counted(len(facts.splits), 'split')} (layout {facts.layout}{evidence}{options})."
    )


_LEVELS = (
    "error: figures measured on these data would be wrong, or runs refuse them. warning: figures are affected, or other programs "
    "read the files differently. note: good to know.",
    "R@1 counts a hit where at least one of the captions of an image is first (image to text), or the image of a caption "
    "(text to image).",
)


def _captions(facts: Description) -> Section:
    made = [
        tables.oddities(facts),
        tables.ties(facts),
        tables.folds(facts),
        tables.shared_texts(facts),
        tables.vocabulary(facts),
        tables.new_words(facts),
    ]
    order = [
        f"{split.name}: neighbouring captions of one image share {fixed(max(found.likeness_percent), 0)} % of their words, "
        f"across a boundary between images {fixed(min(found.likeness_percent), 0)} %: "
        + (f"the boundaries seem to be {counted(found.shift, 'caption')} off." if found.shift else "the order fits.")
        for split in facts.splits
        if (found := split.captions.order) is not None
    ]
    return Section(
        title="Captions",
        sentences=order,
        tables=_there(made),
        reading=[
            "Equal captions get equal scores, so they tie. The bound assumes a method that is right wherever it can be; each "
            "direction has its own.",
            "Words are lower-case and split as word-level tokenizers do (man 's, do n't); punctuation marks count.",
        ],
    )


def _images(facts: Description, thumbnails: Thumbnails) -> Section | None:
    looks = (image_tables.files, image_tables.features, image_tables.duplicates, image_tables.contamination)
    made = [look(facts) for look in looks]
    hashed = any(pair.near is not None for pair in facts.duplicates)
    reading = [
        f"Near-duplicates differ in at most {facts.near_bits} of the 64 bits of a perceptual hash, and their 16 x 16 grey "
        "miniatures correlate by 0.9 or more. Copies that were cropped by more than a few percent, mirrored or turned are "
        "not found."
    ]
    pairs = [pair for pair in facts.pairs if (pair.first.split, pair.first.image_id) in thumbnails][:_PAIRS]
    return Section(
        title="Images",
        tables=_there(made),
        galleries=[_gallery(pairs, thumbnails)] if pairs else [],
        reading=reading if hashed else [],
    )


def _gallery(pairs: Sequence[Pair], thumbnails: Thumbnails) -> Gallery:
    tiles = [
        Tile([picture for item in (pair.first, pair.second) for picture in _picture(item, thumbnails)], _title(pair))
        for pair in pairs
    ]
    return Gallery(tiles, "pairs", "Images that repeat, those of different splits first")


def _title(pair: Pair) -> str:
    return "equal content" if pair.kind == "equal" else f"near: {counted(pair.bits, 'bit')} of 64 differ"


def _picture(item: Item, thumbnails: Thumbnails) -> list[Picture]:
    content = thumbnails.get((item.split, item.image_id))
    label = f"{item.split}: {item.image_id}"
    return [] if content is None else [Picture(content, label, label)]


def _samples(facts: Description, thumbnails: Thumbnails) -> Section | None:
    """Samples with their captions; without pictures too, since captions alone show what a file holds."""
    galleries = []
    for split in facts.splits:
        tiles = [
            Tile(
                _picture(Item(split=split.name, image_id=sample.image_id), thumbnails),
                "" if (split.name, sample.image_id) in thumbnails else sample.image_id,
                sample.captions,
            )
            for sample in facts.samples
            if sample.split == split.name
        ]
        if tiles:
            galleries.append(Gallery(tiles, f"samples-{split.name}", f"{split.name}, evenly spaced"))
    return Section(title="Samples", galleries=galleries) if galleries else None


def _there(made: Sequence[Table | None]) -> list[Table]:
    return [table for table in made if table is not None]
