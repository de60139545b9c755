"""Ranks without scores: `ranks.pth.tar` of VSE++ and its descendants, {'rt': (ranks, first), 'rti': (ranks, first)}, and
the CSV of ranks of docs/significance.md.

Shape letters: I images, T captions.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from harness.datasets.base import Split
from harness.errors import InvalidProtocol, InvalidSimilarity
from harness.metrics.retrieval import metrics_from_ties
from harness.outputs.base import Measured, Output
from harness.outputs.contents import Contents
from harness.protocols import SAME_NUMBERS, Protocol, Subject
from harness.records.ties import TiedRanks, Ties
from harness.reports.runs.rank_csv import Origin, read_rank_csv

#: Their names of the directions, and what asks in each.
DIRECTIONS = {"rt": "image", "rti": "caption"}
_log = logging.getLogger(__name__)


class Ranks(Output):
    """The rank of every query in the whole gallery, as another program has counted it.

    Args:
        i2t, t2i: (I,) and (T,) 0-based rank of the best positive.
    """

    title = "ranks of every query (ties broken by the program that made them)"
    knows_best_captions = False

    def __init__(self, i2t: np.ndarray, t2i: np.ndarray):
        self.i2t, self.t2i = i2t, t2i

    def refusal(self, protocol: Protocol) -> str:
        """Ranks are about one gallery and one set of positives."""
        if protocol.name in SAME_NUMBERS:
            return ""
        return (
            f"protocol {protocol.name} has another gallery or other positives than the ranks; it needs the score matrix"
        )

    def measure(self, protocol: Protocol, subject: Subject, ties: Ties) -> Measured:
        """Recalls, median and mean rank; whether items tied is not known, so there is no tie rate."""
        if reason := self.refusal(protocol):
            raise InvalidProtocol(reason)
        protocol.check(subject)
        i2t, t2i = _untied(self.i2t), _untied(self.t2i)
        metrics = metrics_from_ties(i2t, t2i, ties)
        metrics.pop("tie_rate")
        images, captions = np.arange(len(self.i2t)), np.arange(len(self.t2i))
        return Measured(metrics, {}, subject.rank_table(images, captions, i2t, t2i, first_captions(subject), ties))


def ranks_of(contents: Contents, caption_image: np.ndarray, images: int) -> Ranks:
    """The ranks of a file, checked against the dataset.

    Raises:
        InvalidSimilarity: other counts, values that are no ranks, or first items that contradict the ranks.
    """
    texts = len(caption_image)
    (i2t, first_text), (t2i, first_image) = (_pair(contents, name) for name in DIRECTIONS)
    if (len(i2t), len(t2i)) != (images, texts):
        raise contents.refuse(
            f"holds ranks of {len(i2t):,} images and {len(t2i):,} captions, the dataset has {images:,} and {texts:,}"
            f"{_explained(len(i2t), len(t2i), images, texts)}"
        )
    for name, ranks, gallery in (("rt", i2t, texts), ("rti", t2i, images)):
        wrong = ~((ranks >= 0) & (ranks < gallery) & (ranks == np.floor(ranks)))
        if wrong.any():
            raise contents.refuse(
                f"holds {ranks[wrong][0]:g} among the ranks '{name}'; 0-based ranks below {gallery:,} are expected"
            )
    row = np.arange(images)
    _check_first(contents, "rt", i2t, caption_image[_items(first_text, texts)] == row)
    _check_first(contents, "rti", t2i, _items(first_image, images) == caption_image)
    return Ranks(i2t.astype(np.int64), t2i.astype(np.int64))


def is_rank_csv(path: Path) -> bool:
    """Whether a file is a table with a heading that names queries and ranks."""
    if path.suffix.lower() != ".csv" or not path.is_file():
        return False
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        heading = file.readline(1000).strip().split(",")
    return {"query_id", "rank"} <= set(heading)


def ranks_of_csv(path: Path, split: Split, ranks_from: Origin | None = None) -> Ranks:
    """The ranks of one method and seed, matched with a split by the ids of its queries.

    Args:
        path: the file.
        split: what was ranked.
        ranks_from: see `harness.reports.runs.rank_csv.read_rank_csv`.

    Raises:
        InvalidRecord, InvalidComparison: as `harness.reports.runs.rank_csv.read_rank_csv`.
        InvalidSimilarity: several methods or seeds, the best of several, ranks of folds or of another gallery, or other
            queries than the split's.
    """
    found = read_rank_csv(path, ranks_from)
    if len(found) != 1:
        named = ", ".join(f"{one.runs.name} seed {one.runs.seeds[0]}" for one in found[:3])
        raise InvalidSimilarity(f"{path} holds ranks of {len(found)} runs ({named}, ...); write one file for each")
    runs, protocol = found[0].runs, found[0].protocol
    if runs.seed_selection == "best":
        raise InvalidSimilarity(f"{path} holds the best of several seeds; write one file for each seed instead")
    folds = 1 if runs.fold is None else len(np.unique(runs.fold))
    if folds > 1 or protocol not in ("", *SAME_NUMBERS):
        raise InvalidSimilarity(
            f"{path} holds ranks of {protocol or f'{folds} folds'}; those of the whole gallery are expected"
        )
    image_row, caption_row = (
        _rows_of(path, what, asked, known)
        for what, asked, known in (
            ("image", split.image_ids, runs.image_ids),
            ("caption", split.caption_ids, runs.caption_ids),
        )
    )
    own = np.asarray(split.image_ids, dtype=str)[np.asarray(split.caption_image)]
    theirs = np.asarray(runs.image_ids, dtype=str)[np.asarray(runs.caption_image)][caption_row]
    if (apart := own != theirs).any():
        first = split.caption_ids[int(np.argmax(apart))]
        raise InvalidSimilarity(f"{path} gives {apart.sum():,} captions another image than the dataset, {first} first")
    _log.info("%s calls these ranks %s, seed %s", path, runs.name, runs.seeds[0])
    if found[0].remark:
        _log.info("%s", found[0].remark)
    i2t, t2i = (np.asarray(ranks)[0].astype(np.int64) for ranks in (runs.i2t_ranks, runs.t2i_ranks))
    return Ranks(i2t[image_row], t2i[caption_row])


def _rows_of(path: Path, what: str, asked: Any, known: Any) -> np.ndarray:
    """The row of each of the split's ids in a file; both must hold the same."""
    rows = {str(name): row for row, name in enumerate(known)}
    missing = [str(name) for name in asked if str(name) not in rows]
    if missing or len(rows) != len(asked):
        example = f"; {missing[0]} is missing" if missing else ""
        raise InvalidSimilarity(
            f"{path} ranks {len(rows):,} {what}s, {len(asked) - len(missing):,} of the dataset's {len(asked):,}{example}; "
            "its ids must be those of the dataset's split, each once"
        )
    return np.array([rows[str(name)] for name in asked])


def first_captions(subject: Subject) -> np.ndarray:
    """(I,) the first caption of each image: which one ranked best is not known."""
    first = np.full(subject.images, len(subject.caption_image))
    np.minimum.at(first, np.asarray(subject.caption_image), np.arange(len(subject.caption_image)))
    return first


def _pair(contents: Contents, name: str) -> tuple[np.ndarray, np.ndarray]:
    value: Any = contents.values.get(name)
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise contents.refuse(f"has no pair of ranks and first items under '{name}'")
    try:
        ranks, first = (np.asarray(part, dtype=np.float64) for part in value)
    except (TypeError, ValueError):
        raise contents.refuse(f"holds something else than numbers under '{name}'") from None
    if ranks.ndim != 1 or ranks.shape != first.shape:
        raise contents.refuse(f"holds shapes {ranks.shape} and {first.shape} under '{name}'; one value per query each")
    return ranks, first


def _explained(ranked_images: int, ranked_texts: int, images: int, texts: int) -> str:
    if (ranked_images, ranked_texts) == (texts, images):
        return "; 'rt' and 'rti' have changed places"
    if ranked_images * 5 == images:
        return "; the authors' five-fold evaluation keeps the ranks of its first fold only: no mean follows from them"
    return ""


def _items(first: np.ndarray, gallery: int) -> np.ndarray:
    """First items as rows; one outside of the gallery as -1, which wraps to an item that is checked all the same."""
    return np.where((first >= 0) & (first < gallery), first, -1).astype(np.int64)


def _check_first(contents: Contents, name: str, ranks: np.ndarray, correct: np.ndarray) -> None:
    """A rank is 0 exactly where the first item is correct."""
    apart = (ranks == 0) != correct
    if apart.any():
        raise InvalidSimilarity(
            f"{contents.path}, '{name}': for {int(apart.sum()):,} of {len(ranks):,} queries ({DIRECTIONS[name]} "
            f"{int(np.argmax(apart)):,} first) the rank and the first item contradict each other in this dataset's order; name "
            "the dataset and split that were evaluated"
        )


def _untied(ranks: np.ndarray) -> TiedRanks:
    return TiedRanks(ranks, np.zeros_like(ranks), np.ones_like(ranks))
