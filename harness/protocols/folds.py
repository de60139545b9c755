"""The field's protocols on a dataset's own pairs: one gallery, or the mean over several folds in file order."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from torch import Tensor

from harness.metrics.counting import count_ranks
from harness.metrics.retrieval import metrics_from_ties
from harness.protocols.base import Evaluation, Protocol, Subject
from harness.records.ranks import RankTable
from harness.records.ties import Ties


@dataclass(frozen=True, kw_only=True)
class FoldProtocol(Protocol):
    """A test set cut into galleries of its own.

    Args:
        folds: number of folds of equal size, in file order.
    """

    folds: int = 1

    def image_fold(self, count: int) -> np.ndarray:
        """(count,) int64, the fold of each image."""
        return np.arange(count, dtype=np.int64) * self.folds // count

    def measure(self, similarity: Tensor | np.ndarray, subject: Subject, ties: Ties) -> Evaluation:
        """Metrics as `harness.metrics.retrieval_metrics`, averaged over the folds, and one rank table over all."""
        parts = [self._fold(fold, similarity, subject, ties) for fold in range(self.folds)]
        metrics = {key: float(np.mean([part.metrics[key] for part in parts])) for key in parts[0].metrics}
        columns = {
            column.name: np.concatenate([getattr(part.ranks, column.name) for part in parts])
            for column in fields(RankTable)
        }
        return Evaluation(metrics, RankTable(**columns))

    def _fold(self, fold: int, similarity: Tensor | np.ndarray, subject: Subject, ties: Ties) -> Evaluation:
        image_fold = self.image_fold(similarity.shape[0])
        owner = np.asarray(subject.caption_image)
        if self.folds == 1:  # no second copy of the matrix, and counts that disagree are refused by the metrics
            images, captions, part = np.arange(len(image_fold)), np.arange(len(owner)), similarity
        else:
            images = np.flatnonzero(image_fold == fold)
            captions = np.flatnonzero(image_fold[owner] == fold)
            part = similarity[images[0] : images[-1] + 1][:, captions]
        counts = count_ranks(part, owner[captions] - images[0])
        table = subject.rank_table(images, captions, counts.i2t, counts.t2i, captions[counts.i2t_best], ties)
        table = replace(table, i2t_fold=table.i2t_fold + fold, t2i_fold=table.t2i_fold + fold)
        return Evaluation(metrics_from_ties(counts.i2t, counts.t2i, ties), table)


FULL = FoldProtocol(
    name="full", description="every image of the test split against every caption (Flickr30K 1K, Flickr8k 1K, scenes)"
)
FLICKR30K_1K = FoldProtocol(
    name="flickr30k_1k", description="Flickr30K: 'full' on its 1,000 test images", count=1000, title="flickr30k"
)
COCO_1K = FoldProtocol(
    name="coco_1k",
    description="COCO: mean over five folds of 1,000 images in file order",
    gallery="the captions and images of the query's fold",
    count=5000,
    folds=5,
)
COCO_5K = FoldProtocol(name="coco_5k", description="COCO: all 5,000 test images in one gallery", count=5000)
