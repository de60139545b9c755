"""What somebody asks a card of: a picture and a caption by id or row, or a text of their own."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Sequence

import numpy as np

from harness.alignments.choice import Pair
from harness.datasets.base import Split
from harness.errors import InvalidSpec, counted, one_line

#: What marks a number as a row where an id could be meant.
ROW = "row:"
#: Longest text of one's own, in characters.
LONGEST_TEXT = 2000

logger = logging.getLogger(__name__)


def asked_pairs(split: Split, image: str | None, caption: str | None, text: str | None) -> list[Pair]:
    """The pairs that are asked for.

    Args:
        split: of the run.
        image: id or row of a picture; None = the picture of the caption.
        caption: id or row of a caption; None = all captions of the picture, unless there is a text.
        text: a text of one's own, in place of a caption.

    Raises:
        InvalidSpec: nothing or too much was named, an unknown id or row, or a text without words.
    """
    if text is not None:
        return [_with_text(split, image, caption, text)]
    if image is None and caption is None:
        raise InvalidSpec(f"name a picture with --image, a caption with --caption, or both; {_example(split)}")
    if caption is None:
        assert image is not None
        row = find("image", image, split.image_ids)
        own = np.flatnonzero(split.caption_image == row).tolist()
        return [Pair(row, place, split.captions[place], "asked") for place in own]
    place = find("caption", caption, split.caption_ids)
    row = int(split.caption_image[place]) if image is None else find("image", image, split.image_ids)
    return [Pair(row, place, split.captions[place], "asked")]


def find(kind: str, name: str, ids: Sequence[str]) -> int:
    """The row of an item by its id or, if no id is so called, by its row; a line says so where both would fit.

    >>> find("image", "b.jpg", ["a.jpg", "b.jpg"]), find("image", "1", ["a.jpg", "b.jpg"])
    (1, 1)
    >>> find("image", "1", ["1", "2"]), find("image", "row:1", ["1", "2"])
    (0, 1)

    Raises:
        InvalidSpec: neither; names the nearest ids.
    """
    number = name.removeprefix(ROW)
    is_row = number.isascii() and number.isdigit() and int(number) < len(ids)
    rows = {item: row for row, item in enumerate(ids)}
    if name in rows:
        if is_row and rows[name] != int(number):
            logger.info(
                "--%s %s is taken as an id (row %d); for the %s of row %s write %s%s",
                kind, name, rows[name], kind, number, ROW, number,
            )  # fmt: skip
        return rows[name]
    if is_row:
        return int(number)
    near = difflib.get_close_matches(name, [str(item) for item in ids], n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(repr(item) for item in near)}?" if near else f"ids are such as {ids[0]!r:.60}."
    raise InvalidSpec(
        f"no {kind} '{one_line(name, 60)}' among the {counted(len(ids), kind)} of the split; {hint} "
        f"Rows are 0 to {len(ids) - 1}"
    )


def _with_text(split: Split, image: str | None, caption: str | None, text: str) -> Pair:
    if caption is not None:
        raise InvalidSpec("give either --caption, for a caption of the dataset, or --text, for one of your own")
    if image is None:
        raise InvalidSpec(f"name the picture that the text is matched with: --image ID or ROW; {_example(split)}")
    if not text.strip() or len(text) > LONGEST_TEXT:
        came = f"{len(text):,} characters" if text.strip() else "nothing"
        raise InvalidSpec(f"--text holds {came}, expected a caption of 1 to {LONGEST_TEXT:,} characters")
    return Pair(find("image", image, split.image_ids), None, text, "asked")


def _example(split: Split) -> str:
    return f"ids are such as {split.image_ids[0]!r:.60} and {split.caption_ids[0]!r:.60}"
