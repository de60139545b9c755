"""The counting engine: how many gallery items lie above the positives of a query, and how many tie with them.

Everything that ranks is counted, not ordered: each tie rule then follows from the counts exactly, and tiles of a matrix
add up. What is to be counted is a question; `count` answers any number of them in one pass over the scores, whether
these are a matrix or come tile by tile. `BestRanks` looks at the best positive of each query, `EveryPositive` at all,
`harness.metrics.tops.TopItems` at what comes first, correct or not.

Shape letters: I images, T captions, Q queries, N gallery items, P positives of all queries together.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from harness.errors import InvalidSimilarity
from harness.metrics.positives import Direction, PositiveCounts, Positives
from harness.metrics.sources import ScoreSource, not_finite, source_of
from harness.metrics.tallies import Folds, Kept, Tally
from harness.records.ties import TiedRanks, Ties

if TYPE_CHECKING:
    from torch import Tensor

#: What ranks are counted from.
Similarity: TypeAlias = "Tensor | np.ndarray | ScoreSource"


@dataclass(frozen=True, eq=False)
class RankCounts:
    """What the ranks of both directions are made of.

    Args:
        i2t: where the best caption of each image lies, (I,).
        t2i: where the image of each caption lies, (T,).
        i2t_best: (I,) the caption row of the best positive (the first of those that tie).
    """

    i2t: TiedRanks
    t2i: TiedRanks
    i2t_best: np.ndarray

    def ranks(self, ties: Ties = "pessimistic") -> tuple[np.ndarray, np.ndarray]:
        """0-based rank of the best positive, (I,) and (T,): int64, or float64 under the expected rule.

        Args:
            ties: "pessimistic" puts tied negatives first, "optimistic" last, "expected" takes the mean over all orders
                of the tied items (with e negatives and p positives tied, e / (p + 1) negatives come before the first
                positive).
        """
        return self.i2t.ranks(ties), self.t2i.ranks(ties)


class Question(ABC):
    """Something to be counted in scores of I images with T captions."""

    @abstractmethod
    def pairs(self, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Image rows and caption columns, (n,) int64 each, of the pairs whose scores must be known first.

        Raises:
            InvalidSimilarity: the question does not fit the shape (I, T).
        """

    def tallies(self, shape: tuple[int, int], scores: np.ndarray) -> Sequence[Kept]:
        """What is counted over the tiles, given the (n,) float64 scores of `pairs`; nothing by default."""
        return []

    @abstractmethod
    def answer(self, scores: np.ndarray, tallies: Sequence[Any]) -> Any:
        """What was asked for, from the same scores and the finished tallies."""


@dataclass(frozen=True, eq=False)
class PairScores(Question):
    """The scores of some pairs, (n,) float64.

    Args:
        images, captions: (n,) int64 rows and columns.
    """

    images: np.ndarray
    captions: np.ndarray

    def pairs(self, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        return self.images, self.captions

    def answer(self, scores: np.ndarray, tallies: Sequence[Tally]) -> np.ndarray:
        return scores


@dataclass(frozen=True, eq=False)
class BestRanks(Question):
    """`RankCounts` of the dataset's own pairs.

    Args:
        caption_image: (T,) the image row of each caption; images may differ in their number of captions.
        image_fold: (I,) int64, the fold of each image; a query then ranks the items of its fold only. None = all.
    """

    caption_image: Sequence[int] | np.ndarray | Tensor
    image_fold: np.ndarray | None = None

    @property
    def owner(self) -> np.ndarray:
        """(T,) int64."""
        return np.asarray(self.caption_image).astype(np.int64)

    def pairs(self, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        owner = caption_owners(self.caption_image, *shape)
        return owner, np.arange(len(owner))

    def tallies(self, shape: tuple[int, int], scores: np.ndarray) -> list[Tally]:
        owner, fold = self.owner, self.image_fold
        folds = Folds(fold, fold[owner]) if fold is not None else None
        best = np.full(shape[0], -np.inf)
        np.maximum.at(best, owner, scores)
        sides: tuple[tuple[Direction, np.ndarray], ...] = (("i2t", best), ("t2i", scores))
        return [
            Tally(name, np.arange(len(each)), np.arange(len(each) + 1), each, len(each), folds) for name, each in sides
        ]

    def answer(self, scores: np.ndarray, tallies: Sequence[Tally]) -> RankCounts:
        (i2t, t2i), owner = tallies, self.owner
        is_best = scores == i2t.thresholds[owner]
        images = len(i2t.above)
        shared = np.bincount(owner[is_best], minlength=images)
        first = np.full(images, len(owner))
        np.minimum.at(first, owner[is_best], np.flatnonzero(is_best))
        alone = np.ones_like(owner)
        return RankCounts(
            TiedRanks(i2t.above, i2t.equal - shared, shared), TiedRanks(t2i.above, t2i.equal - alone, alone), first
        )


@dataclass(frozen=True, eq=False)
class EveryPositive(Question):
    """`PositiveCounts` of one direction.

    Args:
        positives: Q queries of that direction.
        direction: `i2t`: rows are queries, all T captions the gallery; `t2i`: columns, all I images.
    """

    positives: Positives
    direction: Direction

    def pairs(self, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        if not len(self.positives.queries):
            raise InvalidSimilarity(f"no {self.direction} query has a correct item")
        asked = np.repeat(self.positives.queries, self.positives.sizes)
        return (asked, self.positives.items) if self.direction == "i2t" else (self.positives.items, asked)

    def tallies(self, shape: tuple[int, int], scores: np.ndarray) -> list[Tally]:
        count = shape[0 if self.direction == "i2t" else 1]
        ordered = scores[self._falling(scores)]
        return [Tally(self.direction, self.positives.queries, self.positives.starts, ordered, count)]

    def answer(self, scores: np.ndarray, tallies: Sequence[Tally]) -> PositiveCounts:
        (tally,), found = tallies, self.positives
        falling = self._falling(scores)
        values, place = scores[falling], np.arange(len(scores)) - np.repeat(found.starts[:-1], found.sizes)
        new = (place == 0) | np.append(True, values[1:] != values[:-1])  # where a run of equal scores begins
        run = np.cumsum(new) - 1
        return PositiveCounts(
            found.starts,
            found.sizes + found.absent,
            tally.above,
            tally.equal,
            correct_above=place[new][run],
            correct_equal=np.bincount(run)[run],
            best=found.items[falling[found.starts[:-1]]],
        )

    def _falling(self, scores: np.ndarray) -> np.ndarray:
        """(P,) the order of the positives by query and, within one, from the highest score down; ties as they came."""
        return np.lexsort((-scores, np.repeat(np.arange(len(self.positives.queries)), self.positives.sizes)))


def count(similarity: Similarity, questions: Sequence[Question]) -> list[Any]:
    """Answer all questions in one pass over the scores.

    The scores of positives are looked up first; then each tile is compared with them and let go. Only counters are kept.

    >>> best, every = count(np.eye(3), [BestRanks([0, 1, 2]), PairScores(np.array([0]), np.array([2]))])
    >>> best.ranks()[0].tolist(), every.tolist()
    ([0, 0, 0], [0.0])

    Args:
        similarity: (I, T), higher is better; a tensor, an array, a memory map, or a source of tiles.
        questions: what to count.

    Returns:
        The answer of each question, see there.

    Raises:
        InvalidSimilarity: wrong shape, values not finite, or a question that does not fit.
    """
    source = source_of(similarity)
    wanted = [question.pairs(source.shape) for question in questions]
    scores = _scores_of_pairs(source, wanted)
    tallies = [question.tallies(source.shape, own) for question, own in zip(questions, scores, strict=True)]
    every = [tally for some in tallies for tally in some]
    if every:
        for tile in source.tiles(searched=any(tally.searches for tally in every)):
            for tally in every:
                tally.add(tile)
    return [question.answer(own, some) for question, own, some in zip(questions, scores, tallies, strict=True)]


def count_ranks(similarity: Similarity, caption_image: Sequence[int] | np.ndarray | Tensor) -> RankCounts:
    """Count, for every query, the negatives above its best positive and those tied with it.

    Args:
        similarity: see `count`.
        caption_image: (T,) the image row of each caption; images may differ in their number of captions.

    Raises:
        InvalidSimilarity: wrong shape, values not finite, a caption of no image, or an image without captions.
    """
    (found,) = count(similarity, [BestRanks(caption_image)])
    return found


def count_positives(similarity: Similarity, positives: Positives, direction: Direction) -> PositiveCounts:
    """Count, for every positive of every query, what lies above it and what ties with it.

    Args:
        similarity: see `count`.
        positives, direction: see `EveryPositive`.

    Raises:
        InvalidSimilarity: no query, or a value that is not finite.
    """
    (found,) = count(similarity, [EveryPositive(positives, direction)])
    return found


def caption_owners(caption_image: Sequence[int] | np.ndarray | Tensor, images: int, texts: int) -> np.ndarray:
    """The image row of each caption, checked: (T,) int64 in 0..I-1.

    Raises:
        InvalidSimilarity: the shape or the type is wrong, a row is outside, or an image has no caption.
    """
    owner = np.asarray(caption_image)
    if owner.shape != (texts,):
        raise InvalidSimilarity(
            f"caption_image must have one entry per caption: similarity has {texts} columns, got shape {owner.shape}"
        )
    if owner.dtype.kind not in "iu":
        raise InvalidSimilarity(f"caption_image must hold integers, got {owner.dtype}")
    owner = owner.astype(np.int64)
    outside = np.flatnonzero((owner < 0) | (owner >= images))
    if len(outside):
        first = int(outside[0])
        raise InvalidSimilarity(
            f"{len(outside)} captions belong to no image (first: caption {first} names image {int(owner[first])} of {images})"
        )
    without = np.flatnonzero(np.bincount(owner, minlength=images) == 0)
    if len(without):
        raise InvalidSimilarity(
            f"{len(without)} images have no caption (first: image {int(without[0])}); leave them out of the queries"
        )
    return owner


def _scores_of_pairs(source: ScoreSource, wanted: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
    """The scores of several lists of pairs, each distinct pair looked up once."""
    texts = source.shape[1]
    keys = [np.asarray(images, np.int64) * texts + captions for images, captions in wanted]
    distinct, place = np.unique(np.concatenate(keys), return_inverse=True)
    scores = source.of_pairs(*np.divmod(distinct, texts))
    if not np.isfinite(scores).all():  # before a long pass begins
        at = int(np.argmin(np.isfinite(scores)))
        raise not_finite(float(scores[at]), *divmod(int(distinct[at]), texts))
    return np.split(scores[place], np.cumsum([len(key) for key in keys])[:-1])
