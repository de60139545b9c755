"""Retrievals as small data for the scripts of the pages: whole numbers, and every caption once."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from harness.records.run import RunRecord
from harness.reports.site.retrieval.answers import DIRECTIONS, Answers, Direction, Truth
from harness.reports.site.retrieval.splits import Split

#: Results per query that a page shows.
SHOWN = 5
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


def words(text: str) -> int:
    """The words of a caption; punctuation that stands alone is none.

    >>> words("A dog runs on the sea-shore .")
    6
    """
    return len(_WORD.findall(text))


def lengths(split: Split) -> dict[str, np.ndarray]:
    """Words of each query by direction: of a caption its own, of an image the mean of its captions; NaN without any."""
    captions = np.array([words(text) for text in split.exhibits.captions], dtype=np.float64)
    images = np.array(split.exhibits.caption_image)
    count = np.bincount(images, minlength=len(split.exhibits.image_ids))
    total = np.bincount(images, weights=captions, minlength=len(count))
    return {"i2t": np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0), "t2i": captions}


def clutter(split: Split) -> dict[str, np.ndarray]:
    """Objects in the picture of each query by direction; NaN where not known."""
    exhibits = split.exhibits
    images = np.array([exhibits.clutter.get(row, math.nan) for row in range(len(exhibits.image_ids))], dtype=np.float64)
    return {"i2t": images, "t2i": images[np.array(exhibits.caption_image)]}


def traits(split: Split) -> dict[Direction, dict[str, np.ndarray]]:
    """What may explain that a query is hard, by what is counted."""
    length, objects = lengths(split), clutter(split)
    named: dict[Direction, str] = {"i2t": "words per caption", "t2i": "words"}
    return {d: {named[d]: length[d], "objects in the picture": objects[d]} for d in DIRECTIONS}


def split_data(split: Split) -> dict[str, Any]:
    """What all pages of a split share: texts, which pictures there are, the methods and their runs."""
    exhibits, chosen = split.exhibits, split.chosen
    images = range(len(exhibits.image_ids))
    sampled = len(split.listed["i2t"]) < len(images)
    return {
        "images": exhibits.image_ids,
        "captions": exhibits.captions,
        "captionImage": exhibits.caption_image,
        "words": [words(text) for text in exhibits.captions],
        "missing": [row for row in images if row not in exhibits.pictures],
        "clutter": [exhibits.clutter.get(row) for row in images] if exhibits.clutter else None,
        "listed": {d: split.listed[d] for d in DIRECTIONS} if sampled else None,
        "sources": list(exhibits.unlabelled),
        "methods": [
            {
                "label": method.label,
                "chosen": chosen[method.label].run_id,
                "runs": [{"id": run.run_id, "seed": run.seed, "rsum": _rsum(run)} for run in method.runs],
            }
            for method in split.sound
        ],
    }


def ranks_data(split: Split) -> dict[str, Any]:
    """The ranks of the truth of every run, counted from 1; null where not known. With `level`, wrong items of its score."""
    found = {run.run_id: split.retrieval(run) for method in split.sound for run in method.runs}
    return {
        run_id: {direction: _truth(answered.of(direction).truth) for direction in DIRECTIONS}
        for run_id, answered in found.items()
        if answered is not None
    }


def run_data(split: Split, run: RunRecord) -> dict[str, Any]:
    """The first results of one run for the listed queries, query after query; scores in steps of 10 ** -decimals.

    `own` and `also` hold places in `top`: results that are the dataset's own pairs, and those that a source calls correct.
    """
    answered = split.retrieval(run)
    if answered is None:
        return {}
    both = {d: _listed(answered.of(d), split.listed[d]) for d in DIRECTIONS}
    decimals = _decimals(both["i2t"].score, both["t2i"].score)
    best = None if answered.best is None else answered.best[split.listed["i2t"]]
    return {"decimals": decimals, "best": best} | {d: _first(both[d], decimals) for d in DIRECTIONS}


def _first(found: Answers, decimals: int) -> dict[str, Any]:
    kept = min(SHOWN, found.top.shape[1])
    source = found.source[:, :kept].ravel()
    return {
        "kept": kept,
        "top": found.top[:, :kept].ravel(),
        "score": _steps(found.score[:, :kept].ravel(), decimals),
        "margin": _steps(found.margin, decimals),
        "own": np.flatnonzero(found.own[:, :kept].ravel()),
        "also": {
            str(number - 1): np.flatnonzero(source == number) for number in np.unique(source[source > 0]).tolist()
        },
    }


def _listed(found: Answers, rows: np.ndarray) -> Answers:
    truth = Truth(found.truth.rank[rows], found.truth.level[rows])
    return Answers(found.top[rows], found.score[rows], found.own[rows], found.source[rows], truth)


def _truth(truth: Truth) -> dict[str, Any]:
    level = {str(row): int(truth.level[row]) for row in np.flatnonzero(truth.level)}
    return {"rank": [_number(rank + 1) for rank in truth.rank.tolist()], "level": level}


def _number(value: float) -> float | int | None:
    """A whole number where it is one; null where not known."""
    if math.isnan(value):
        return None
    return int(value) if value.is_integer() else round(value, 2)


def _decimals(*scores: np.ndarray) -> int:
    """Decimals at which scores that range over R are stored: a thousandth of R, or finer."""
    spread = max(float(score.max() - score.min()) for score in scores)
    return min(8, max(0, math.ceil(3 - math.log10(spread)))) if spread > 0 else 3


def _steps(values: np.ndarray, decimals: int) -> list[int | None]:
    scaled = np.asarray(values, dtype=np.float64) * 10.0**decimals
    return [None if math.isnan(value) else round(value) for value in scaled.tolist()]


def _rsum(run: RunRecord) -> float | None:
    found = [metrics["rsum"] for metrics in run.metrics.values() if "rsum" in metrics]
    return round(found[0], 1) if found else None
