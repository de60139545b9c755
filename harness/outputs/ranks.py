"""Ranks without scores: `ranks.pth.tar` of VSE++ and its descendants, {'rt': (ranks, first), 'rti': (ranks, first)}.

Shape letters: I images, T captions.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.errors import InvalidProtocol, InvalidSimilarity
from harness.metrics.retrieval import metrics_from_ties
from harness.outputs.base import Measured, Output
from harness.outputs.contents import Contents
from harness.protocols import SAME_NUMBERS, Protocol, Subject
from harness.records.ties import TiedRanks, Ties

#: Their names of the directions, and what asks in each.
DIRECTIONS = {"rt": "image", "rti": "caption"}


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
