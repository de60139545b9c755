"""What one run answers to the queries of one direction: its first results, which of them are correct, the rank of the truth.

Shape letters: I images, T captions, Q queries (I or T), K results that are kept per query.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.records.ranks import OWN_GALLERY, RankTable
from harness.records.tops import TopTable

Direction = Literal["i2t", "t2i"]
DIRECTIONS: tuple[Direction, ...] = ("i2t", "t2i")
#: What a query, its results and its truth are called, in the singular.
QUERY = {"i2t": "image", "t2i": "caption"}
RESULT = {"i2t": "caption", "t2i": "image"}


@dataclass(frozen=True, eq=False)
class Truth:
    """Where the best correct item of Q queries lies, under the run's tie rule.

    Args:
        rank: (Q,) float64, 0-based; NaN where it is not known. Fractions come from the expected tie rule.
        level: (Q,) int64, wrong items that score the same as the best correct one; 0 where not known.
    """

    rank: np.ndarray
    level: np.ndarray

    @property
    def first(self) -> np.ndarray:
        """(Q,) bool, whether the query's first result is correct, whatever the order of tied items."""
        return self.rank == 0


@dataclass(frozen=True, eq=False)
class Answers:
    """The first K results of Q queries.

    Args:
        top: (Q, K) int, rows of the other side, best first.
        score: (Q, K) float32.
        own: (Q, K) bool, the dataset's own pairs.
        source: (Q, K) int, 1 + the number of the source by which a pair is correct though it is not the dataset's own;
            0 = by none.
        truth: rank of the best own pair.
    """

    top: np.ndarray
    score: np.ndarray
    own: np.ndarray
    source: np.ndarray
    truth: Truth

    @property
    def margin(self) -> np.ndarray:
        """(Q,) float64, score of the best wrong result minus that of the best own one, in the run's own units.

        Above 0 a wrong item is first. NaN where one of the two is not among the K results. Items that are correct
        though unlabelled are not wrong.
        """
        wrong = ~self.own & (self.source == 0)
        return _first_score(self.score, wrong) - _first_score(self.score, self.own)


def answers(
    top: TopTable, ranks: RankTable | None, unlabelled: Mapping[str, np.ndarray], direction: Direction
) -> Answers:
    """What a run answers in one direction.

    Args:
        top: its first results.
        ranks: of the whole split as gallery, see `whole_gallery`; None = take the ranks from the first results.
        unlabelled: (P, 2) image and caption rows of the pairs that are correct beside the dataset's own, by source; where
            several sources know a pair, the first is named.
        direction: i2t or t2i.
    """
    rows = np.asarray(getattr(top, f"{direction}_top"), dtype=np.int64)
    queries = np.broadcast_to(np.arange(len(rows))[:, None], rows.shape)
    image, caption = (queries, rows) if direction == "i2t" else (rows, queries)
    own = np.asarray(top.caption_image)[caption] == image
    codes = image * len(top.caption_id) + caption
    source = np.zeros(rows.shape, dtype=np.int64)
    for number, pairs in enumerate(unlabelled.values(), 1):
        pairs = np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
        known = np.isin(codes, pairs[:, 0] * len(top.caption_id) + pairs[:, 1])
        source[known & (source == 0)] = number
    source[own] = 0
    truth = _truth_of_ranks(top, ranks, direction) if ranks is not None else _truth_of_top(own)
    return Answers(rows, np.asarray(getattr(top, f"{direction}_score")), own, source, truth)


def whole_gallery(tables: Mapping[str, RankTable], top: TopTable) -> RankTable | None:
    """The ranks, by protocol, that were counted over the same gallery as the first results; None if there are none.

    Protocols with folds have smaller galleries, and protocols with judgements of their own other correct items.
    """
    images, captions = set(top.image_id.tolist()), set(top.caption_id.tolist())
    for protocol in OWN_GALLERY:
        table = tables.get(protocol)
        if table is None or table.i2t_fold.any() or table.t2i_fold.any():
            continue
        if set(table.i2t_image_id.tolist()) == images and set(table.t2i_caption_id.tolist()) == captions:
            return table
    return None


def best_own(top: TopTable, ranks: RankTable) -> np.ndarray:
    """(I,) int64, the caption row of each image's best own caption."""
    row = {caption: index for index, caption in enumerate(top.caption_id.tolist())}
    best = np.array([row[caption] for caption in ranks.i2t_caption_id.tolist()], dtype=np.int64)
    return best[_order(ranks.i2t_image_id, top.image_id)]


def _truth_of_ranks(top: TopTable, ranks: RankTable, direction: Direction) -> Truth:
    query = QUERY[direction]
    order = _order(getattr(ranks, f"{direction}_{query}_id"), getattr(top, f"{query}_id"))
    rank = np.asarray(getattr(ranks, f"{direction}_rank"), dtype=np.float64)[order]
    return Truth(rank, np.asarray(getattr(ranks, f"{direction}_ties"), dtype=np.int64)[order])


def _truth_of_top(own: np.ndarray) -> Truth:
    rank = np.where(own.any(axis=1), own.argmax(axis=1), np.nan)
    return Truth(rank, np.zeros(len(own), dtype=np.int64))


def _order(found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Where each wanted id stands among the found ones."""
    row = {key: index for index, key in enumerate(found.tolist())}
    return np.array([row[key] for key in wanted.tolist()], dtype=np.int64)


def _first_score(score: np.ndarray, flags: np.ndarray) -> np.ndarray:
    first = score[np.arange(len(score)), flags.argmax(axis=1)].astype(np.float64)
    return np.where(flags.any(axis=1), first, np.nan)
