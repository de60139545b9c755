"""Marks at the names of methods whose numbers need a word, and the words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from harness.errors import counted
from harness.reports.document.text import fixed, listed

Row = dict[str, Any]
_ON_TEST = "†"
_CONTAMINATED = "‡"
_AT_CHANCE = "§"


def marks(row: Row) -> str:
    """The marks of a row, none where nothing is wrong.

    >>> marks({"at_chance": "i2t", "selected_on": "test"}), marks({"at_chance": "no"}), marks({})
    ('†§', '', '')
    """
    return "".join(mark for mark, holds in _HOLDS if holds(row))


def marked(name: str, row: Row) -> str:
    """A name with the marks of its row.

    >>> marked("scan", {"at_chance": "i2t, t2i, rSum"})
    'scan §'
    """
    return f"{name} {marks(row)}".strip()


def legend(rows: Iterable[Row]) -> Iterator[str]:
    """What the marks of some rows mean, mark by mark; nothing where there are none."""
    some = list(rows)
    if on_test := [_whose(row) for row in some if is_selected_on_test(row)]:
        yield (
            f"{_ON_TEST} Selected on test: the checkpoints of {_some(list(dict.fromkeys(on_test)))} were chosen by their test "
            "scores, which are therefore too high."
        )
    if trained := [f"{_whose(row)} ({row['contamination']})" for row in some if is_contaminated(row)]:
        yield (
            f"{_CONTAMINATED} Trained on test images: {_some(list(dict.fromkeys(trained)))}. Their numbers say little of images "
            "that they have not seen."
        )
    chance = [row for row in some if is_at_chance(row)]
    if chance:
        floor = fixed(chance[0]["chance_rsum"], 1)
        where = [f"{row['label']} (in {listed(row['at_chance'].split(', '))})" for row in chance]
        yield (
            f"{_AT_CHANCE} No better than chance: the 95 % intervals of {_some(where)} reach down to what a random order "
            f"scores (rSum {floor}). Check the order of rows and captions, and that higher scores are better."
        )


def is_at_chance(row: Row, part: str = "") -> bool:
    """Whether a row is at chance in any part, or in one: `i2t`, `t2i` or `rSum`."""
    said = row.get("at_chance") or "no"
    return part in said.split(", ") if part else said != "no"


def is_selected_on_test(row: Row) -> bool:
    """Whether the checkpoint of a row was chosen by its test scores."""
    return row.get("selected_on") == "test"


def is_contaminated(row: Row) -> bool:
    """Whether images of the split were found among those that a row was trained on."""
    return bool(row.get("contaminated_images"))


_HOLDS = ((_ON_TEST, is_selected_on_test), (_CONTAMINATED, is_contaminated), (_AT_CHANCE, is_at_chance))


def _whose(row: Row) -> str:
    return f"{row['label']} (published)" if row.get("ranked") == "published" else str(row["label"])


def _some(names: Sequence[str], most: int = 4) -> str:
    if len(names) <= most:
        return listed(names)
    return f"{', '.join(names[:most])} and {counted(len(names) - most, 'other')}"
