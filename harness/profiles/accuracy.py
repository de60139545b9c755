"""Accuracy of a way of answering queries whose two directions may score differently (cascades, a quantised index)."""

from __future__ import annotations

from dataclasses import fields, replace

from torch import Tensor

from harness import protocols
from harness.datasets.base import Split
from harness.protocols import Evaluation
from harness.records.ties import Ties

KS = (1, 5, 10)


def evaluate_directions(i2t: Tensor, t2i: Tensor, split: Split, protocol: str, ties: Ties) -> Evaluation:
    """Metrics and ranks of a protocol, each direction from its own scores.

    Args:
        i2t: (I, T) scores by which captions are ranked for an image.
        t2i: (I, T) scores by which images are ranked for a caption; the same tensor where the two agree.
        split: what was scored.
        protocol: its name.
        ties: see `harness.metrics.RankCounts.ranks`.

    Returns:
        As `harness.protocols.evaluate`; the tie rate weighs each direction by its queries.
    """

    def one(similarity: Tensor) -> Evaluation:
        return protocols.evaluate(protocol, similarity, split.caption_image, split.image_ids, split.caption_ids, ties)

    first = one(i2t)
    if i2t is t2i:
        return first
    second = one(t2i)
    of_second = {f.name: getattr(second.ranks, f.name) for f in fields(second.ranks) if f.name.startswith("t2i")}
    ranks = replace(first.ranks, **of_second)
    metrics = {**first.metrics, **{key: value for key, value in second.metrics.items() if key.startswith("t2i")}}
    metrics["rsum"] = sum(metrics[f"{direction}_r{k}"] for direction in ("i2t", "t2i") for k in KS)
    tied = int((ranks.i2t_ties > 0).sum()) + int((ranks.t2i_ties > 0).sum())
    metrics["tie_rate"] = tied / (len(ranks.i2t_rank) + len(ranks.t2i_rank))
    return Evaluation(metrics, ranks)
