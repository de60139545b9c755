"""From a similarity matrix to ranks and retrieval metrics.

The field's R@K counts a query as a hit when *any* of its positives is among the first K: information retrieval calls
that Success@K or hit rate, and means something else by recall. Both directions use the rank of the best positive.

A rank comes from two counts, negatives above the best positive and negatives tied with it, taken in one pass over row
blocks: no sort, no second copy of the matrix, and an explicit rule for ties. A scorer that returns a constant gets
R@K = 0 under the pessimistic rule and chance under the expected one (K of N for one positive), never 100.

Shape letters: I images, T captions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harness.errors import InvalidSimilarity
from harness.metrics.positives import PositiveCounts, Positives, count_positives, rankable
from harness.records.ties import TiedRanks, Ties

KS = (1, 5, 10)
_BLOCK_ELEMENTS = 2_000_000  # of one row block: the comparison masks stay in the cache


@dataclass(frozen=True, eq=False)
class RankCounts:
    """What the ranks of both directions are made of.

    Args:
        i2t_above: (I,) captions of other images that score higher than the image's best caption.
        i2t_tied: (I,) captions of other images that score the same.
        i2t_best_tied: (I,) captions of the image itself that share the best score (at least 1).
        i2t_best: (I,) the caption row of the best positive (the first of those that tie).
        t2i_above: (T,) other images that score higher than the caption's image.
        t2i_tied: (T,) other images that score the same.
    """

    i2t_above: np.ndarray
    i2t_tied: np.ndarray
    i2t_best_tied: np.ndarray
    i2t_best: np.ndarray
    t2i_above: np.ndarray
    t2i_tied: np.ndarray

    def ranks(self, ties: Ties = "pessimistic") -> tuple[np.ndarray, np.ndarray]:
        """0-based rank of the best positive, (I,) and (T,): int64, or float64 under the expected rule.

        Args:
            ties: "pessimistic" puts tied negatives first, "optimistic" last, "expected" takes the mean over all orders
                of the tied items (with e negatives and p positives tied, e / (p + 1) negatives come before the first
                positive).
        """
        return self.i2t.ranks(ties), self.t2i.ranks(ties)

    @property
    def i2t(self) -> TiedRanks:
        """Of the image queries."""
        return TiedRanks(self.i2t_above, self.i2t_tied, self.i2t_best_tied)

    @property
    def t2i(self) -> TiedRanks:
        """Of the caption queries, which have one positive each."""
        return TiedRanks(self.t2i_above, self.t2i_tied, np.ones_like(self.t2i_tied))

    @property
    def tie_rate(self) -> float:
        """Share of all I + T queries whose best positive ties with a negative, 0..1."""
        tied = np.count_nonzero(self.i2t_tied) + np.count_nonzero(self.t2i_tied)
        return tied / (len(self.i2t_tied) + len(self.t2i_tied))


def ranks(
    similarity: Tensor | np.ndarray, caption_image: Sequence[int] | np.ndarray | Tensor, ties: Ties = "pessimistic"
) -> tuple[np.ndarray, np.ndarray]:
    """0-based rank of the best positive of every query.

    Args:
        similarity: (I, T), higher is better; a tensor, an array or a memory map.
        caption_image: (T,) the image row of each caption; captions an image may differ in number.
        ties: see `RankCounts.ranks`.

    Returns:
        i2t (I,) and t2i (T,); int64, float64 when ties is "expected".

    Raises:
        InvalidSimilarity: wrong shape, values not finite, a caption of no image, or an image without captions.
    """
    return count_ranks(similarity, caption_image).ranks(ties)


def retrieval_metrics(
    similarity: Tensor | np.ndarray, caption_image: Sequence[int] | np.ndarray | Tensor, ties: Ties = "pessimistic"
) -> dict[str, float]:
    """Recalls, ranks and rSum of both directions.

    Args:
        similarity: (I, T), higher is better.
        caption_image: (T,) the image row of each caption.
        ties: what becomes of a positive that ties with wrong items. "pessimistic": they come first; "optimistic": it comes
            first; "expected": all orders are equally likely, so that R@K adds up probabilities, and a constant gets chance.

    Returns:
        `i2t_r1 i2t_r5 i2t_r10 i2t_medr i2t_meanr`, the same for `t2i`, `rsum` (0..600) and `tie_rate` (0..1). Recalls
        are percents; medr and meanr are 1-based, medr rounded down as the field does.

    Raises:
        InvalidSimilarity: as `ranks`.
    """
    counts = count_ranks(similarity, caption_image)
    return metrics_from_ties(counts.i2t, counts.t2i, ties)


def relevance_metrics(
    similarity: Tensor | np.ndarray, relevance: np.ndarray, ties: Ties = "pessimistic"
) -> dict[str, float]:
    """The metrics of `retrieval_metrics` against many-to-many relevance, and those that look at every correct item.

    Args:
        similarity: (I, T), higher is better.
        relevance: (I, T) bool, True = correct. Images and captions without a correct item are no queries, but stay in
            the gallery.
        ties: see `RankCounts.ranks`.

    Returns:
        As `retrieval_metrics`, and `i2t_map_at_r i2t_r_precision t2i_map_at_r t2i_r_precision`, percents. With R
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
    i2t = count_positives(similarity, Positives.from_relevance(relevance, "i2t"), "i2t")
    t2i = count_positives(similarity, Positives.from_relevance(relevance, "t2i"), "t2i")
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
    metrics["rsum"] = sum(metrics[f"{direction}_r{k}"] for direction in ("i2t", "t2i") for k in KS)
    tied = np.concatenate([i2t.wrong, t2i.wrong])
    metrics["tie_rate"] = float(np.count_nonzero(tied) / len(tied))
    return metrics


def metrics_from_ranks(i2t_ranks: np.ndarray, t2i_ranks: np.ndarray, tie_rate: float = 0.0) -> dict[str, float]:
    """The metrics of `retrieval_metrics` from whole 0-based ranks (I,) and (T,): ties are decided already."""
    sides = [np.asarray(ranks) for ranks in (i2t_ranks, t2i_ranks)]
    i2t, t2i = (TiedRanks(ranks, np.zeros(len(ranks), np.int64), np.ones(len(ranks), np.int64)) for ranks in sides)
    return {**metrics_from_ties(i2t, t2i), "tie_rate": float(tie_rate)}


def count_ranks(similarity: Tensor | np.ndarray, caption_image: Sequence[int] | np.ndarray | Tensor) -> RankCounts:
    """Count, for every query, the negatives above its best positive and those tied with it.

    Args:
        similarity: (I, T).
        caption_image: (T,).

    Returns:
        The counts, from two passes over row blocks (the positives first, then the comparisons).

    Raises:
        InvalidSimilarity: as `ranks`.
    """
    if similarity.ndim != 2 or 0 in similarity.shape:
        raise InvalidSimilarity(f"similarity must be a non-empty (I, T) matrix, got shape {tuple(similarity.shape)}")
    similarity = rankable(similarity)
    images, texts = similarity.shape
    owner = caption_owners(caption_image, images, texts)
    step = max(1, _BLOCK_ELEMENTS // texts)
    device = similarity.device if isinstance(similarity, Tensor) else torch.device("cpu")
    owner = owner.to(device)

    positive = torch.empty(texts, dtype=torch.float64, device=device)
    for start in range(0, images, step):
        block = _block(similarity, start, step)
        mine = ((owner >= start) & (owner < start + step)).nonzero().squeeze(1)
        positive[mine] = block[owner[mine] - start, mine].to(torch.float64)
    best = torch.full((images,), -torch.inf, dtype=torch.float64, device=device)
    best.scatter_reduce_(0, owner, positive, reduce="amax")
    is_best = positive == best[owner]

    t2i_above = torch.zeros(texts, dtype=torch.int64, device=device)
    t2i_equal = torch.zeros_like(t2i_above)
    i2t_above = torch.empty(images, dtype=torch.int64, device=device)
    i2t_equal = torch.empty_like(i2t_above)
    for start in range(0, images, step):
        block = _block(similarity, start, step)
        column, row = positive.to(block.dtype), best[start : start + step, None].to(block.dtype)
        t2i_above += (block > column).sum(0)
        t2i_equal += (block == column).sum(0)
        i2t_above[start : start + step] = (block > row).sum(1)
        i2t_equal[start : start + step] = (block == row).sum(1)

    best_tied = torch.zeros(images, dtype=torch.int64, device=device).index_add_(0, owner, is_best.long())
    first_best = torch.full((images,), texts, dtype=torch.int64, device=device)
    first_best.scatter_reduce_(0, owner[is_best], is_best.nonzero().squeeze(1), reduce="amin")
    return RankCounts(
        i2t_above=i2t_above.cpu().numpy(),
        i2t_tied=(i2t_equal - best_tied).cpu().numpy(),
        i2t_best_tied=best_tied.cpu().numpy(),
        i2t_best=first_best.cpu().numpy(),
        t2i_above=t2i_above.cpu().numpy(),
        t2i_tied=(t2i_equal - 1).cpu().numpy(),  # the positive equals itself
    )


def caption_owners(caption_image: Sequence[int] | np.ndarray | Tensor, images: int, texts: int | None = None) -> Tensor:
    """The image row of each caption, checked.

    Args:
        caption_image: (T,) integers.
        images: I, each of which must have a caption.
        texts: T; None = as many as there are entries.

    Returns:
        (T,) int64 in 0..I-1, on the CPU.

    Raises:
        InvalidSimilarity: the shape or the type is wrong, a row is outside, or an image has no caption.
    """
    owner = torch.as_tensor(np.asarray(caption_image))
    if owner.ndim != 1 or len(owner) != (len(owner) if texts is None else texts):
        columns = "" if texts is None else f": similarity has {texts} columns"
        raise InvalidSimilarity(f"caption_image must have one entry a caption{columns}, got shape {tuple(owner.shape)}")
    if owner.is_floating_point() or owner.dtype == torch.bool:
        raise InvalidSimilarity(f"caption_image must hold integers, got {owner.dtype}")
    owner = owner.long()
    outside = ((owner < 0) | (owner >= images)).nonzero()
    if len(outside):
        first = int(outside[0])
        raise InvalidSimilarity(
            f"{len(outside)} captions belong to no image (first: caption {first} names image {int(owner[first])} of {images})"
        )
    without = (torch.bincount(owner, minlength=images) == 0).nonzero()
    if len(without):
        raise InvalidSimilarity(
            f"{len(without)} images have no caption (first: image {int(without[0])}); leave them out of the queries"
        )
    return owner


def _block(similarity: Tensor | np.ndarray, start: int, step: int) -> Tensor:
    """Rows start .. start + step, checked for finite values."""
    block = similarity[start : start + step]
    if not isinstance(block, Tensor):
        block = torch.from_numpy(np.array(block, dtype=None if block.dtype.kind == "f" else np.float64))
    if not bool(torch.isfinite(block).all()):
        row, column = (~torch.isfinite(block)).nonzero()[0].tolist()
        raise InvalidSimilarity(
            f"similarity holds {float(block[row, column])} at image {start + row}, caption {column}; "
            "every score must be finite, or ranks are undefined"
        )
    return block
