"""Rank tables from ranks that a test chooses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.records.ranks import RankTable


def rank_table(i2t: Sequence[int], t2i: Sequence[int], owner: Sequence[int], folds: int = 1) -> RankTable:
    """A rank table; `owner` (T,) is the image row of each caption."""
    owner = np.asarray(owner)
    images = np.array([f"image{i}" for i in range(len(i2t))])
    captions = np.array([f"caption{i}" for i in range(len(t2i))])
    first = np.array([int(np.flatnonzero(owner == i)[0]) for i in range(len(i2t))])
    image_fold = np.arange(len(i2t)) * folds // len(i2t)
    return RankTable(
        i2t_rank=np.asarray(i2t),
        i2t_ties=np.zeros(len(i2t), dtype=int),
        i2t_image_id=images,
        i2t_caption_id=captions[first],
        t2i_rank=np.asarray(t2i),
        t2i_ties=np.zeros(len(t2i), dtype=int),
        t2i_caption_id=captions,
        t2i_image_id=images[owner],
        i2t_fold=image_fold,
        t2i_fold=image_fold[owner],
    )
