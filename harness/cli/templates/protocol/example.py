"""Protocol `example`: only images with several captions ask, and only their captions.

A protocol says which questions are counted in one pass over the scores (`ask`), and what their answers amount to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.errors import InvalidProtocol
from harness.metrics.counting import BestRanks, RankCounts
from harness.metrics.retrieval import metrics_from_ties
from harness.protocols.base import Asked, Evaluation, Protocol, Subject
from harness.records.ties import Ties


@dataclass(frozen=True, kw_only=True)
class Example(Protocol):
    """Metrics over some of the queries; the gallery holds all items.

    Args:
        fewest: captions that an image needs to ask.
    """

    fewest: int = 2

    def require(self, subject: Subject) -> None:
        """Refuse a test set without a query, in one line that says what is needed."""
        if not self.images(subject).size:
            raise InvalidProtocol(
                f"protocol {self.name} needs an image with {self.fewest} captions, this dataset has none; use 'full'"
            )

    def images(self, subject: Subject) -> np.ndarray:
        """Rows of the images that ask."""
        return np.flatnonzero(np.bincount(subject.caption_image) >= self.fewest)

    def ask(self, subject: Subject) -> Asked:
        """The rank of the best positive of every query, as `full` counts it."""
        question = BestRanks(subject.caption_image)
        return Asked((question,), lambda answers, ties: self._evaluation(answers, subject, ties))

    def _evaluation(self, answers: Sequence[RankCounts], subject: Subject, ties: Ties) -> Evaluation:
        (counts,) = answers
        images = self.images(subject)
        captions = np.flatnonzero(np.isin(subject.caption_image, images))
        i2t, t2i = counts.i2t.of(images), counts.t2i.of(captions)
        table = subject.rank_table(images, captions, i2t, t2i, counts.i2t_best[images], ties)
        return Evaluation(metrics_from_ties(i2t, t2i, ties), table)


#: The protocol has the name of its file.
EXAMPLE = Example(
    name="example",
    description="images with at least two captions, and their captions, in the gallery of all",
    queries="images with at least two captions, and their captions",
)
