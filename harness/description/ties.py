"""Captions of equal text, and the ties that they and equal images force on every scorer.

Shape letters: I images, T captions; V groups of equal images, X groups of equal captions.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from scipy import sparse

from harness.records.description import Bound, Repeats

_EXAMPLES = 10


def groups(items: Sequence[Hashable]) -> np.ndarray:
    """(N,) int64, the group of each item; equal items are in one group, numbered by first occurrence.

    >>> groups(["a dog", "a cat", "a dog"]).tolist()
    [0, 1, 0]
    """
    known: dict[Hashable, int] = {}
    return np.array([known.setdefault(item, len(known)) for item in items], dtype=np.int64)


def bound(image: np.ndarray, caption: np.ndarray, image_group: np.ndarray, caption_group: np.ndarray) -> Bound:
    """The best R@1 that any scorer can reach, since equal images and equal captions get equal scores.

    A query's candidates tie in whole groups. Queries that are equal rank their candidates alike, so the best a scorer can
    do for them is to put on top the group that serves most of them.

    Args:
        image: (P,) the image row of each relevant pair.
        caption: (P,) its caption row.
        image_group: (I,) the group of each image.
        caption_group: (T,) the group of each caption.

    >>> alike = bound(np.array([0, 1]), np.array([0, 1]), np.array([0, 1]), np.array([0, 0]))
    >>> alike.t2i_expected_percent, alike.i2t_expected_percent, alike.i2t_pessimistic_percent
    (50.0, 50.0, 0.0)
    """
    i2t = _best(image, caption_group[caption], image_group, np.bincount(caption_group))
    t2i = _best(caption, image_group[image], caption_group, np.bincount(image_group))
    return Bound(
        i2t_pessimistic_percent=i2t[0],
        i2t_expected_percent=i2t[1],
        t2i_pessimistic_percent=t2i[0],
        t2i_expected_percent=t2i[1],
    )


def _best(query: np.ndarray, candidate: np.ndarray, query_group: np.ndarray, sizes: np.ndarray) -> tuple[float, float]:
    """Percent of queries that can hit, with ties against the query and in random order.

    Args:
        query: (P,) the query of each relevant pair.
        candidate: (P,) its group of candidates.
        query_group: (Q,) the group of each query.
        sizes: (C,) the number of candidates in each group.
    """
    queries, shape = len(query_group), (len(query_group), len(sizes))
    relevant = sparse.coo_array((np.ones(len(query)), (query, candidate)), shape=shape).tocsr()
    relevant.sum_duplicates()
    same = sparse.csr_array(
        (np.ones(queries), (query_group, np.arange(queries))), shape=(int(query_group.max()) + 1, queries)
    )
    share = relevant.copy()
    share.data = relevant.data / sizes[relevant.indices]  # chance that a relevant one comes first in random order
    whole = relevant.copy()
    whole.data = (share.data == 1).astype(np.float64)  # no wrong one in the group
    pessimistic, expected = (100 * float((same @ part).max(axis=1).sum()) / queries for part in (whole, share))
    return pessimistic, expected


def repeats(
    texts: Sequence[str],
    caption_image: np.ndarray,
    image_group: np.ndarray,
    pairs: tuple[np.ndarray, np.ndarray] | None = None,
    fold: int = 0,
) -> Repeats:
    """Count captions of equal text, and bound the R@1 that they allow.

    Args:
        texts: T, in the form in which they are compared.
        caption_image: (T,) image row of each.
        image_group: (I,) groups of equal images.
        pairs: image and caption rows of the relevant pairs; None = each caption with its own image.
        fold: images of each fold that is bounded by itself; 0 = none.
    """
    group = groups(texts)
    sizes = np.bincount(group)
    owned = np.unique(np.stack([group, caption_image]), axis=1)  # each text of each image once
    owners = np.bincount(owned[0], minlength=len(sizes))
    most = sorted(np.flatnonzero(owners > 1).tolist(), key=lambda text: (-owners[text], text))[:_EXAMPLES]
    first = {text: row for row, text in reversed(list(enumerate(group.tolist())))}
    image, caption = pairs or (caption_image, np.arange(len(texts)))
    folds = range(0, len(image_group), fold) if fold else ()
    return Repeats(
        repeats=len(texts) - len(sizes),
        texts=int((sizes > 1).sum()),
        shared_texts=int((owners > 1).sum()),
        shared_captions=int(sizes[owners > 1].sum()),
        sharing_images=len(np.unique(owned[1][owners[owned[0]] > 1])),
        repeating_images=len(_repeating(group, caption_image)),
        examples={texts[first[text]]: int(owners[text]) for text in most},
        bound=bound(image, caption, image_group, group),
        folds=[_fold(image, caption, image_group, group, caption_image, start, start + fold) for start in folds],
    )


def _repeating(group: np.ndarray, caption_image: np.ndarray) -> np.ndarray:
    """Images that have one text twice."""
    both, counts = np.unique(np.stack([group, caption_image]), axis=1, return_counts=True)
    return np.unique(both[1][counts > 1])


def _fold(
    image: np.ndarray,
    caption: np.ndarray,
    image_group: np.ndarray,
    caption_group: np.ndarray,
    caption_image: np.ndarray,
    start: int,
    stop: int,
) -> Bound:
    """The bound of the images start..stop-1 with their own captions."""
    rows = np.flatnonzero((caption_image >= start) & (caption_image < stop))
    place = np.full(len(caption_image), -1)
    place[rows] = np.arange(len(rows))
    inside = (image >= start) & (image < stop) & (place[caption] >= 0)
    return bound(
        image[inside] - start,
        place[caption[inside]],
        groups(image_group[start:stop].tolist()),
        groups(caption_group[rows].tolist()),
    )
