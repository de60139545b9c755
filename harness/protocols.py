"""Protocols: which images, captions and positives a number is about.

A protocol splits a test set into folds, scores each fold as a gallery of its own, and averages. `full` and `coco_5k` have
one fold; `coco_1k` has five of 1,000 images in file order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from harness.errors import InvalidProtocol, UnknownName
from harness.metrics import Ties, count_ranks, metrics_from_ranks
from harness.record import RankTable


@dataclass(frozen=True)
class Protocol:
    """How a test set is cut into galleries.

    Args:
        name: as written in an experiment.
        description: one line for `itm ls protocols`.
        images: required number of images, or None for any.
        folds: number of folds of equal size, in file order.
    """

    name: str
    description: str
    images: int | None = None
    folds: int = 1

    def check(self, count: int) -> None:
        """Refuse a test set of `count` images that the protocol does not fit.

        Raises:
            InvalidProtocol: the number of images is not the one that the protocol is defined for.
        """
        if self.images is not None and count != self.images:
            raise InvalidProtocol(
                f"protocol {self.name} is defined on {self.images:,} test images, this dataset has {count:,}; use 'full'"
            )

    def image_fold(self, count: int) -> np.ndarray:
        """(count,) int64, the fold of each image."""
        return np.arange(count, dtype=np.int64) * self.folds // count


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("full", "every image of the test split against every caption (Flickr30K 1K, Flickr8k 1K, scenes)"),
        Protocol("coco_1k", "COCO: mean over five folds of 1,000 images in file order", images=5000, folds=5),
        Protocol("coco_5k", "COCO: all 5,000 test images in one gallery", images=5000),
    )
}


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Result of one protocol: the metrics (means over folds) and the per-query ranks."""

    metrics: dict[str, float]
    ranks: RankTable


def get(name: str) -> Protocol:
    """The protocol of that name.

    Raises:
        UnknownName: there is none.
    """
    if name not in PROTOCOLS:
        raise UnknownName("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]


def evaluate(
    name: str,
    similarity: Tensor | np.ndarray,
    caption_image: np.ndarray,
    image_ids: Sequence[str],
    caption_ids: Sequence[str],
    ties: Ties = "pessimistic",
) -> Evaluation:
    """Evaluate one protocol on a scored matrix.

    Args:
        name: of the protocol.
        similarity: (I, T).
        caption_image: (T,) image row of each caption.
        image_ids: I ids.
        caption_ids: T ids.
        ties: see `harness.metrics.RankCounts.ranks`.

    Returns:
        Metrics as `harness.metrics.retrieval_metrics`, averaged over the folds, and one rank table over all of them.

    Raises:
        UnknownName: no such protocol.
        InvalidProtocol: the protocol does not fit the number of images.
        InvalidSimilarity: as `harness.metrics.ranks`.
    """
    protocol = get(name)
    caption_image = np.asarray(caption_image)
    protocol.check(similarity.shape[0])
    image_fold = protocol.image_fold(similarity.shape[0])
    parts = [
        _evaluate_fold(
            fold, similarity, caption_image, image_fold, np.asarray(image_ids), np.asarray(caption_ids), ties
        )
        for fold in range(protocol.folds)
    ]
    keys = parts[0].metrics
    metrics = {key: float(np.mean([part.metrics[key] for part in parts])) for key in keys}
    return Evaluation(metrics, _concatenate([part.ranks for part in parts]))


def _evaluate_fold(
    fold: int,
    similarity: Tensor | np.ndarray,
    caption_image: np.ndarray,
    image_fold: np.ndarray,
    image_ids: np.ndarray,
    caption_ids: np.ndarray,
    ties: Ties,
) -> Evaluation:
    images = np.flatnonzero(image_fold == fold)
    captions = np.flatnonzero(image_fold[caption_image] == fold)
    whole = len(images) == len(image_fold)  # then no second copy of the matrix is made
    part = similarity if whole else similarity[images[0] : images[-1] + 1][:, captions]
    counts = count_ranks(part, caption_image[captions] - images[0])
    i2t, t2i = counts.ranks(ties)
    table = RankTable(
        i2t_rank=i2t,
        i2t_ties=counts.i2t_tied,
        i2t_image_id=image_ids[images],
        i2t_caption_id=caption_ids[captions][counts.i2t_best],
        t2i_rank=t2i,
        t2i_ties=counts.t2i_tied,
        t2i_caption_id=caption_ids[captions],
        t2i_image_id=image_ids[caption_image[captions]],
        i2t_fold=np.full(len(images), fold),
        t2i_fold=np.full(len(captions), fold),
    )
    return Evaluation(metrics_from_ranks(i2t, t2i, counts.tie_rate), table)


def _concatenate(tables: Sequence[RankTable]) -> RankTable:
    names = RankTable.__dataclass_fields__
    return RankTable(**{name: np.concatenate([getattr(table, name) for table in tables]) for name in names})
