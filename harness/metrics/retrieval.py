"""From a similarity matrix to ranks and retrieval metrics.

The field's R@K counts a query as a hit when *any* of its positives is among the first K: information retrieval calls
that Success@K or hit rate, and means something else by recall. Both directions use the rank of the best positive.

Ties have an explicit rule. A scorer that returns a constant gets R@K = 0 under the pessimistic rule and chance under the
expected one (K of N for one positive), never 100.

Shape letters: I images, T captions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from harness.errors import InvalidSimilarity
from harness.metrics.counting import EveryPositive, Similarity, count, count_ranks
from harness.metrics.positives import Direction, PositiveCounts, Positives
from harness.records.ties import KS, RECALLS, TiedRanks, Ties

if TYPE_CHECKING:
    from torch import Tensor


def ranks(
    similarity: Similarity, caption_image: Sequence[int] | np.ndarray | Tensor, ties: Ties = "pessimistic"
) -> tuple[np.ndarray, np.ndarray]:
    """0-based rank of the best positive of every query.

    Args:
        similarity: (I, T), higher is better; a tensor, an array, a memory map, or a source of tiles (`ScoreSource`).
        caption_image: (T,) the image row of each caption; images may differ in their number of captions.
        ties: see `RankCounts.ranks`.

    Returns:
        i2t (I,) and t2i (T,); int64, float64 when ties is "expected".

    Raises:
        InvalidSimilarity: wrong shape, values not finite, a caption of no image, or an image without captions.

    >>> i2t, t2i = ranks(np.array([[0.9, 0.2, 0.4], [0.1, 0.3, 0.4]]), [0, 1, 1])
    >>> i2t.tolist(), t2i.tolist()
    ([0, 0], [0, 0, 1])
    """
    return count_ranks(similarity, caption_image).ranks(ties)


def retrieval_metrics(
    similarity: Similarity, caption_image: Sequence[int] | np.ndarray | Tensor, ties: Ties = "pessimistic"
) -> dict[str, float]:
    """Recalls, ranks and rSum of both directions.

    Args:
        similarity: (I, T), higher is better.
        caption_image: (T,) the image row of each caption.
        ties: what becomes of a positive that ties with wrong items. "pessimistic": they come first; "optimistic": it comes
            first; "expected": all orders are equally likely, so that R@K adds up probabilities, and a constant gets chance.

    Returns:
        `i2t_r1 i2t_r5 i2t_r10 i2t_medr i2t_meanr`, the same for `t2i`, `rsum` (0..600) and `tie_rate` (0..1). Recalls
        are percentages; medr and meanr are 1-based, medr rounded down as the field does.

    Raises:
        InvalidSimilarity: as `ranks`.

    >>> metrics = retrieval_metrics(np.eye(20), range(20))
    >>> metrics["rsum"], metrics["t2i_medr"], metrics["tie_rate"]
    (600.0, 1.0, 0.0)
    """
    counts = count_ranks(similarity, caption_image)
    return metrics_from_ties(counts.i2t, counts.t2i, ties)


def relevance_metrics(similarity: Similarity, relevance: np.ndarray, ties: Ties = "pessimistic") -> dict[str, float]:
    """The metrics of `retrieval_metrics` against many-to-many relevance, and those that look at every correct item.

    Args:
        similarity: (I, T), higher is better.
        relevance: (I, T) bool, True = correct. Images and captions without a correct item are no queries, but stay in
            the gallery.
        ties: see `RankCounts.ranks`.

    Returns:
        As `retrieval_metrics`, and `i2t_map_at_r i2t_r_precision t2i_map_at_r t2i_r_precision`, percentages. With R
        correct items, R-Precision is the share of correct ones among the first R, and mAP@R the mean over these R places
        of the precision at those that hold a correct one.

    Raises:
        InvalidSimilarity: shapes that differ, values not finite, or a direction without any correct item.
    """
    if relevance.shape != tuple(similarity.shape) or relevance.dtype != np.bool_:
        raise InvalidSimilarity(
            f"relevance must be bool of the similarity's shape {tuple(similarity.shape)}, "
            f"got {relevance.dtype} of shape {relevance.shape}"
        )
    directions: tuple[Direction, ...] = ("i2t", "t2i")
    i2t, t2i = count(similarity, [EveryPositive(Positives.from_relevance(relevance, way), way) for way in directions])
    return metrics_from_positives(i2t, t2i, ties)


def metrics_from_positives(i2t: PositiveCounts, t2i: PositiveCounts, ties: Ties = "pessimistic") -> dict[str, float]:
    """The metrics of `relevance_metrics` from the counts of both directions."""
    metrics = metrics_from_ties(i2t.first, t2i.first, ties)
    for direction, counts in (("i2t", i2t), ("t2i", t2i)):
        metrics[f"{direction}_map_at_r"] = 100.0 * float(np.mean(counts.average_precision_at_r(ties)))
        metrics[f"{direction}_r_precision"] = 100.0 * float(np.mean(counts.r_precision(ties)))
    return metrics


def metrics_from_ties(i2t: TiedRanks, t2i: TiedRanks, ties: Ties = "pessimistic") -> dict[str, float]:
    """The metrics of `retrieval_metrics` from where the positives of both directions lie."""
    metrics: dict[str, float] = {}
    for direction, queries in (("i2t", i2t), ("t2i", t2i)):
        for k in KS:
            metrics[f"{direction}_r{k}"] = 100.0 * float(np.mean(queries.hits(k, ties)))
        metrics[f"{direction}_medr"] = float(np.floor(queries.median(ties)) + 1)
        metrics[f"{direction}_meanr"] = float(np.mean(queries.ranks(ties)) + 1)
    metrics["rsum"] = sum(metrics[recall] for recall in RECALLS)
    tied = np.concatenate([i2t.wrong, t2i.wrong])
    metrics["tie_rate"] = float(np.count_nonzero(tied) / len(tied))
    return metrics
