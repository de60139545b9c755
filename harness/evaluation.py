"""Evaluation: a trained scorer and a test split in, metrics and per-query ranks of every protocol out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from harness import protocols
from harness.datasets.base import Split
from harness.fragments import Fragments
from harness.inputs import encode_split
from harness.record import RankTable
from harness.scorer import Scorer
from harness.scoring import similarity_matrix
from harness.spec import EvaluationSpec


@dataclass(frozen=True, eq=False)
class Scored:
    """A split scored once, from which every protocol is computed.

    Args:
        images: fragments of the I images.
        texts: fragments of the T captions.
        similarity: (I, T) float32.
    """

    images: Fragments
    texts: Fragments
    similarity: Tensor


@dataclass(frozen=True, eq=False)
class Results:
    """Metrics and per-query ranks, both by protocol."""

    metrics: dict[str, dict[str, float]]
    ranks: dict[str, RankTable]


@torch.no_grad()
def score_split(scorer: Scorer, split: Split, batch_size: int = 256) -> Scored:
    """Encode a split and score all its pairs.

    Raises:
        InvalidFragments: an encoder returned features that are not finite.
        InvalidSimilarity: the scorer returned the wrong shape or values that are not finite.
    """
    images, texts = encode_split(scorer, split, batch_size)
    return Scored(images, texts, similarity_matrix(scorer, images, texts))


def evaluate(similarity: Tensor, split: Split, names: Sequence[str], spec: EvaluationSpec) -> Results:
    """All protocols from one scored matrix.

    Args:
        similarity: (I, T).
        split: what was scored.
        names: protocols.
        spec: tie rule.

    Raises:
        UnknownName: no such protocol.
        InvalidProtocol: a protocol does not fit the split.
    """
    results = {
        name: protocols.evaluate(name, similarity, split.caption_image, split.image_ids, split.caption_ids, spec.ties)
        for name in names
    }
    return Results({n: r.metrics for n, r in results.items()}, {n: r.ranks for n, r in results.items()})
