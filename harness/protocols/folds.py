"""The field's protocols on a dataset's own pairs: one gallery, or the mean over several folds in file order."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from harness.metrics.counting import BestRanks, RankCounts
from harness.metrics.retrieval import metrics_from_ties
from harness.protocols.base import Asked, Evaluation, Protocol, Subject
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

    def ask(self, subject: Subject) -> Asked:
        """Metrics as `harness.metrics.retrieval_metrics`, averaged over the folds, and one rank table over all."""
        image_fold = self.image_fold(subject.images) if self.folds > 1 else None
        return Asked(
            (BestRanks(subject.caption_image, image_fold),),
            lambda answers, ties: self._evaluation(answers[0], subject, ties),
        )

    def _evaluation(self, counts: RankCounts, subject: Subject, ties: Ties) -> Evaluation:
        parts = [self._fold(fold, counts, subject, ties) for fold in range(self.folds)]
        metrics = {key: float(np.mean([part.metrics[key] for part in parts])) for key in parts[0].metrics}
        columns = {
            column.name: np.concatenate([getattr(part.ranks, column.name) for part in parts])
            for column in fields(RankTable)
        }
        return Evaluation(metrics, RankTable(**columns))

    def _fold(self, fold: int, counts: RankCounts, subject: Subject, ties: Ties) -> Evaluation:
        image_fold = self.image_fold(subject.images)
        images = np.flatnonzero(image_fold == fold)
        captions = np.flatnonzero(image_fold[np.asarray(subject.caption_image)] == fold)
        i2t, t2i = counts.i2t.of(images), counts.t2i.of(captions)
        table = subject.rank_table(images, captions, i2t, t2i, counts.i2t_best[images], ties)
        table = replace(table, i2t_fold=table.i2t_fold + fold, t2i_fold=table.t2i_fold + fold)
        return Evaluation(metrics_from_ties(i2t, t2i, ties), table)


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
