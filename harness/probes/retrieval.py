"""Probes that ask for retrieval: one split per level, ranked in both directions."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from harness.datasets.base import Split
from harness.metrics import ranks
from harness.probes.base import Answers, Probe
from harness.probes.model import Model
from harness.records.outcomes import Measure


class RetrievalProbe(Probe):
    """Retrieval at every level, by the same queries in a gallery of the same size.

    All splits of a probe have equal image ids, caption ids and `caption_image`. A split that shares its `images` object, or
    its `captions`, with another split is encoded once on that side.

    Attributes:
        filtered: leave out of each query's gallery what is true of it but not its own, by `Split.relevance`, which every
            level then has: such an item is no error, and clutter makes more of them. By default the dataset's own pairs
            count alone, as in the protocol `full`, so that level 0 of a whole split gives the numbers of the run.
    """

    filtered: bool = False

    @abstractmethod
    def split(self, level: int) -> Split:
        """The images and captions of a level."""

    def answers(self, model: Model) -> Answers:
        """`i2t_rank` of every image and `t2i_rank` of every caption; of tied items the wrong one comes first."""
        first = self.split(0)
        found = [self._ranks(model, level) for level in range(len(self.levels))]
        image_ids, caption_ids = np.asarray(first.image_ids), np.asarray(first.caption_ids)
        i2t, t2i = (np.stack(rows).astype(np.float64) for rows in zip(*found, strict=True))
        return Answers(
            (
                Measure("i2t_rank", "rank", image_ids, image_ids, i2t),
                Measure("t2i_rank", "rank", caption_ids, image_ids[first.caption_image], t2i),
            ),
            {"images": len(image_ids), "captions": len(caption_ids)},
        )

    def true_pairs(self, level: int) -> np.ndarray | None:
        """(I, T) bool, what is left out of the galleries of a level where it is not a query's own; None = nothing."""
        return self.split(level).relevance if self.filtered else None

    def _ranks(self, model: Model, level: int) -> tuple[np.ndarray, np.ndarray]:
        split, true = self.split(level), self.true_pairs(level)
        similarity = model.similarity(split)
        if true is None:
            assert not self.filtered
            return ranks(similarity, split.caption_image)
        return filtered_ranks(similarity.numpy(), split.caption_image, true)


def filtered_ranks(
    similarity: np.ndarray, caption_image: np.ndarray, relevance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """0-based ranks of each query's best own item among those that are false of the query; false ones win ties.

    Args:
        similarity: (I, T), finite.
        caption_image: (T,) image row of each caption.
        relevance: (I, T) bool, what is true; at least each caption of its own image.

    Returns:
        i2t (I,) and t2i (T,), int64.

    >>> scores = np.array([[0.5, 0.9], [0.1, 0.2]])
    >>> [side.tolist() for side in filtered_ranks(scores, np.array([0, 1]), np.eye(2, dtype=bool))]
    [[1, 0], [0, 1]]
    >>> true = np.array([[True, True], [False, True]])
    >>> [side.tolist() for side in filtered_ranks(scores, np.array([0, 1]), true)]
    [[0, 0], [0, 0]]
    """
    own = np.asarray(caption_image) == np.arange(len(similarity))[:, None]
    false = ~np.asarray(relevance)
    best_caption = np.where(own, similarity, -np.inf).max(axis=1)
    best_image = similarity[caption_image, np.arange(similarity.shape[1])]
    i2t = (false & (similarity >= best_caption[:, None])).sum(axis=1)
    t2i = (false & (similarity >= best_image)).sum(axis=0)
    return i2t, t2i
