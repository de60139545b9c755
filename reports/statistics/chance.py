"""What scorers that know nothing come to: a random order and constant scores, computed exactly and not drawn.

In a random order of N items, P of them correct, the first K hold none of the correct ones with probability
C(N - P, K) / C(N, K), the hypergeometric law. That is the expected tie rule where all items tie, so both scorers are read
off `TiedRanks`: a constant scorer ties all items, and a tie rule then says where the correct ones stand.

Shape letters: Q queries, I images, T captions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.records.ties import KS, RECALLS, TiedRanks, Ties
from harness.reports.statistics.errors import InvalidRanks

#: What can be at chance: each direction, and the sum of both.
PARTS = {"i2t": RECALLS[:3], "t2i": RECALLS[3:], "rsum": ("rsum",)}


@dataclass(frozen=True)
class Floor:
    """The scores of a scorer that knows nothing: recalls in percent, rSum 0 to 600."""

    name: str  # as tables show it
    scores: Mapping[str, float]  # the six recalls and `rsum`


def random_hits(positives: ArrayLike, gallery: ArrayLike, k: int) -> NDArray[np.float64]:
    """Chance that the first K places of a random order hold a correct item.

    Args:
        positives: (Q,) correct items P of each query.
        gallery: (Q,) or one number, items N that are ranked.
        k: places.

    Returns:
        (Q,) 1 - C(N - P, K) / C(N, K).

    Raises:
        InvalidRanks: a query with more correct items than there are items.

    >>> random_hits([5, 1], 1000, 10).round(6).tolist()
    [0.049106, 0.01]
    """
    return _tied(positives, gallery).hits(k, "expected")


def random_scorer(caption_image: ArrayLike, images: int, fold: ArrayLike | None = None) -> Floor:
    """The expected recalls of a random order, where each side's gallery is the other side of the same fold.

    Args:
        caption_image: (T,) image row of each caption.
        images: I.
        fold: (I,) fold of each image; one for all by default. Recalls are means over folds.

    >>> floor = random_scorer(np.repeat(np.arange(1000), 5), 1000)
    >>> round(floor.scores["i2t_r10"], 2), round(floor.scores["t2i_r10"], 2), round(floor.scores["rsum"], 2)
    (1.0, 1.0, 3.2)
    """
    return Floor("random order", _scores(caption_image, images, fold, "expected"))


def constant_scorer(caption_image: ArrayLike, images: int, fold: ArrayLike | None = None, *, ties: Ties) -> Floor:
    """The recalls of equal scores for all pairs under a tie rule; arguments as `random_scorer`.

    >>> owner = np.repeat(np.arange(1000), 5)
    >>> [constant_scorer(owner, 1000, ties=rule).scores["rsum"] for rule in ("pessimistic", "optimistic")]
    [0.0, 600.0]
    """
    return Floor(f"constant scores, {ties}", _scores(caption_image, images, fold, ties))


def at_chance(row: Mapping[str, float | None], floor: Floor) -> tuple[str, ...]:
    """The parts of a result that are not shown to be better than a random order: `i2t`, `t2i`, `rsum`.

    A direction is one of them if none of its three intervals lies above what a random order scores; rSum if its interval
    does not. An interval below chance counts too: without a single hit it has no width.

    Args:
        row: `<metric>_low`, the lower end of each 95 % interval; a metric without one says nothing.
        floor: of a random order.

    >>> floor = random_scorer(np.repeat(np.arange(1000), 5), 1000)
    >>> low = {f"i2t_r{k}_low": 0.0 for k in (1, 5, 10)} | {f"t2i_r{k}_low": 20.0 for k in (1, 5, 10)}
    >>> at_chance({**low, "rsum_low": 61.0}, floor)
    ('i2t',)
    """
    return tuple(part for part, metrics in PARTS.items() if all(_reached(row, floor, metric) for metric in metrics))


def _reached(row: Mapping[str, float | None], floor: Floor, metric: str) -> bool:
    low = row.get(f"{metric}_low")
    return low is not None and low <= floor.scores[metric]


def _scores(caption_image: ArrayLike, images: int, fold: ArrayLike | None, ties: Ties) -> dict[str, float]:
    owner = np.asarray(caption_image, dtype=np.int64)
    own = np.bincount(owner, minlength=images)
    folds = np.zeros(images, dtype=np.int64) if fold is None else np.unique(np.asarray(fold), return_inverse=True)[1]
    sides = {"i2t": (own, folds, folds[owner]), "t2i": (np.ones_like(owner), folds[owner], folds)}
    scores = {}
    for direction, (positives, of_query, of_item) in sides.items():
        queries, items = np.bincount(of_query), np.bincount(of_item)
        tied = _tied(positives, items[of_query])
        for k in KS:
            hits = np.bincount(of_query, weights=tied.hits(k, ties))
            scores[f"{direction}_r{k}"] = float(np.mean(100.0 * hits / queries))
    return {**scores, "rsum": float(sum(scores.values()))}


def _tied(positives: ArrayLike, gallery: ArrayLike) -> TiedRanks:
    correct = np.atleast_1d(np.asarray(positives, dtype=np.int64))
    wrong = np.asarray(gallery, dtype=np.int64) - correct
    if (correct < 0).any() or (wrong < 0).any():
        raise InvalidRanks(
            f"a query has 0 to {int(np.min(gallery))} correct items in its gallery, got {int(correct.min())} to "
            f"{int(correct.max())}"
        )
    return TiedRanks(np.zeros_like(correct), wrong, correct)


def shown_parts(parts: Iterable[str]) -> list[str]:
    """Parts in words.

    >>> shown_parts(("i2t", "rsum"))
    ['i2t', 'rSum']
    """
    return ["rSum" if part == "rsum" else part for part in parts]
