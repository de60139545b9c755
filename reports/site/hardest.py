"""The queries that are hard for all methods of a split, and what they have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from harness.reports.site.model import Page
from harness.reports.site.retrieval.answers import DIRECTIONS, Answers, Direction
from harness.reports.site.retrieval.difficulty import Difficulty, difficulty, in_words
from harness.reports.site.retrieval.entries import FEW, Entries
from harness.reports.site.retrieval.frame import KIND, SCRIPTS, page_data, path_of, siblings
from harness.reports.site.retrieval.packing import traits
from harness.reports.site.retrieval.splits import Split


def page(split: Split, inputs: str) -> Page:
    """The page of a split."""
    return Page(
        path=path_of(split, "all"),
        title=f"Hardest queries: {split.title}",
        kind=KIND,
        template="hardest.html.j2",
        context=partial(_context, split),
        data=partial(_data, split),
        inputs=inputs,
        scripts=SCRIPTS,
        summary="The queries that most methods fail, and what they have in common.",
        words=" ".join(["hard difficult failures median rank", *(method.label for method in split.methods)]),
    )


def found_by(split: Split, direction: Direction) -> dict[str, Answers]:
    """The answers of the chosen run of each method."""
    found = {label: split.retrieval(run) for label, run in split.chosen.items()}
    return {label: answered.of(direction) for label, answered in found.items() if answered is not None}


def measured(split: Split) -> dict[Direction, Difficulty]:
    """How hard each query is; nothing where no run can be read."""
    return {d: difficulty(list(found.values())) for d in DIRECTIONS if (found := found_by(split, d))}


def _data(split: Split) -> Mapping[str, Any]:
    """With the median rank of each query, counted from 1."""
    medians = {d: [_plain(rank + 1) for rank in hard.median.tolist()] for d, hard in measured(split).items()}
    return {**page_data(split, "all"), "median": medians}


def _plain(value: float) -> float | int:
    return int(value) if value.is_integer() else round(value, 2)


def _context(split: Split) -> Mapping[str, Any]:
    hard = measured(split)
    known = traits(split)
    return {
        "split": split,
        "paths": siblings(split),
        "view": "all",
        "sentences": {d: in_words(found, known[d], d) for d, found in hard.items()},
        "runs": list(split.chosen.values()),
        "entries": _entries(split, hard),
    }


def _entries(split: Split, hard: Mapping[Direction, Difficulty]) -> Sequence[Mapping[str, Any]]:
    """The hardest images, then the hardest captions."""
    entries, shown = Entries(split), []
    for direction, found in hard.items():
        listed = set(split.listed[direction].tolist())
        rows = [row for row in found.order.tolist() if row in listed][: FEW // 2]
        answered = found_by(split, direction)
        shown += [entries.of_all(row, direction, answered) for row in rows]
    return shown
