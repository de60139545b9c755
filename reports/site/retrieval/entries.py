"""Queries with their results as the pages show them without a script: texts, pictures, signs, ranks in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harness.errors import counted
from harness.records.run import RunRecord
from harness.reports.document.text import fixed
from harness.reports.site.retrieval.answers import RESULT, Answers, Direction
from harness.reports.site.retrieval.packing import SHOWN
from harness.reports.site.retrieval.splits import Split

#: Queries that a page shows without a script.
FEW = 12


def rank_words(rank: float, level: int, direction: Direction, depth: int) -> str:
    """Where the truth is, in words.

    Args:
        rank: 0-based; NaN where only known to lie beyond the first `depth` results.
        level: wrong items that score the same.
        direction: i2t or t2i.
        depth: results that are kept.

    >>> rank_words(13.0, 0, "t2i", 10), rank_words(0.0, 0, "i2t", 10)
    ('truth at rank 14', 'truth first')
    >>> rank_words(2.0, 2, "t2i", 10), rank_words(float("nan"), 0, "t2i", 10)
    ('truth at rank 3, tied with 2 wrong images', 'truth beyond rank 10')
    """
    if math.isnan(rank):
        return f"truth beyond rank {depth}"
    tied = f", tied with {counted(level, f'wrong {RESULT[direction]}')}" if level else ""
    place = fixed(rank + 1, 0 if float(rank).is_integer() else 1)
    return f"truth at rank {place}{tied}" if rank else f"truth first{tied}"


class Entries:
    """Makes entries of one split.

    Args:
        split: whose queries.
    """

    def __init__(self, split: Split):
        self.split = split
        exhibits = split.exhibits
        self._captions: dict[int, list[int]] = {}
        for caption, image in enumerate(exhibits.caption_image):
            self._captions.setdefault(image, []).append(caption)

    def picture(self, image: int) -> dict[str, Any]:
        """A picture, or what stands where it is missing."""
        exhibits = self.split.exhibits
        own = self._captions.get(image, [])
        file = exhibits.pictures.get(image)
        return {
            "file": f"exhibits/{self.split.key}/{file}" if file else "",
            "id": exhibits.image_ids[image],
            "alt": exhibits.captions[own[0]] if own else exhibits.image_ids[image],
        }

    def of_runs(self, row: int, direction: Direction, runs: Mapping[str, RunRecord]) -> dict[str, Any]:
        """A query with the first results of some runs, by the name that is shown above them."""
        strips: list[dict[str, Any]] = []
        for label, run in runs.items():
            answered = self.split.retrieval(run)
            assert answered is not None, "only sound runs are shown"
            found = answered.of(direction)
            strips.append(
                {
                    "label": label,
                    "rank": _rank_words(found, row, direction),
                    "results": [
                        self._result(found, row, place, direction) for place in range(min(SHOWN, found.top.shape[1]))
                    ],
                }
            )
        shown = any(any(result["mark"] == "own" for result in strip["results"]) for strip in strips)
        return self._query(row, direction, hide_truth=shown) | {"strips": strips}

    def of_all(self, row: int, direction: Direction, found: Mapping[str, Answers]) -> dict[str, Any]:
        """A query with what each method puts first, the items of most methods before the others."""
        methods: dict[int, list[str]] = {}
        for label, answered in found.items():
            methods.setdefault(int(answered.top[row, 0]), []).append(label)
        one = {int(answered.top[row, 0]): answered for answered in found.values()}
        results = []
        for item, labels in sorted(methods.items(), key=lambda pair: (-len(pair[1]), pair[0])):
            share = f"{len(labels)} of {len(found)}: {', '.join(labels)}"
            results.append(self._result(one[item], row, 0, direction) | {"place": "", "score": "", "methods": share})
        ranks = "; ".join(f"{label} {_short(a, row)}" for label, a in found.items())
        strip = {"label": "What the methods put first", "rank": f"rank of the truth: {ranks}", "results": results}
        return self._query(row, direction) | {"strips": [strip]}

    def _query(self, row: int, direction: Direction, hide_truth: bool = False) -> dict[str, Any]:
        exhibits = self.split.exhibits
        if direction == "i2t":
            own = [exhibits.captions[caption] for caption in self._captions.get(row, [])]
            return {"direction": direction, "picture": self.picture(row), "text": "", "truth": None, "own": own}
        truth = None if hide_truth else self.picture(exhibits.caption_image[row])
        return {"direction": direction, "picture": None, "text": exhibits.captions[row], "truth": truth, "own": []}

    def _result(self, found: Answers, row: int, place: int, direction: Direction) -> dict[str, Any]:
        item, source = int(found.top[row, place]), int(found.source[row, place])
        own = bool(found.own[row, place])
        return {
            "place": str(place + 1),
            "mark": "own" if own else "also" if source else "wrong",
            "source": list(self.split.unlabelled)[source - 1] if source else "",
            "score": fixed(float(found.score[row, place]), 3),
            "text": self.split.exhibits.captions[item] if direction == "i2t" else "",
            "picture": self.picture(item) if direction == "t2i" else None,
            "methods": "",
        }


def hardest_rows(found: Answers, listed: np.ndarray, count: int) -> Sequence[int]:
    """The listed queries of one run whose truth lies farthest down; those beyond the kept results before all others."""
    rank = np.where(np.isnan(found.truth.rank), np.inf, found.truth.rank)[listed]
    return [int(row) for row in listed[np.argsort(-rank, kind="stable")[:count]]]


def _rank_words(found: Answers, row: int, direction: Direction) -> str:
    return rank_words(float(found.truth.rank[row]), int(found.truth.level[row]), direction, found.top.shape[1])


def _short(found: Answers, row: int) -> str:
    rank = float(found.truth.rank[row])
    return f"> {found.top.shape[1]}" if math.isnan(rank) else fixed(rank + 1, 0 if rank.is_integer() else 1)
