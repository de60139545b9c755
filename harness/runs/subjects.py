"""What protocols and lists of results are asked about: a split as they see it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from harness import protocols
from harness.datasets.base import Dataset, Split
from harness.metrics import Similarity, TopItems, TopLists, count
from harness.records.tops import TopTable


def subject_of(split: Split, dataset: Dataset | None = None) -> protocols.Subject:
    """What a protocol may look at; without a dataset nothing that depends on its name or folder can be evaluated."""
    root = getattr(dataset.config, "root", None) if dataset is not None else None
    return protocols.Subject(
        image_ids=split.image_ids,
        caption_ids=split.caption_ids,
        caption_image=split.caption_image,
        relevance=split.relevance,
        title=dataset.title if dataset is not None else "",
        root=Path(root).expanduser() if root else None,
    )


def top_of(similarity: Similarity, split: Split) -> TopTable:
    """The first items of every query of a split.

    Raises:
        InvalidSimilarity: as `harness.metrics.count`.
    """
    (lists,) = count(similarity, [TopItems()])
    return top_table(split, lists)


def top_table(split: Split, lists: TopLists) -> TopTable:
    """The first items of every query with the names of a split's items."""
    return TopTable(
        image_id=np.asarray(split.image_ids),
        caption_id=np.asarray(split.caption_ids),
        caption_image=np.asarray(split.caption_image, dtype=np.int64),
        **lists._asdict(),
    )
