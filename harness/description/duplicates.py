"""Images that show the same: equal content and near-duplicates, within a split and between splits.

Shape letters: N images of all splits together, G groups of equal images, S splits.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from harness.description.hashes import Prints, near_blocks
from harness.description.ties import groups
from harness.description.views import View
from harness.records.description import Duplicates, Item, Pair

MOST_PAIRS = 200


@dataclass(frozen=True, eq=False)
class Gallery:
    """All images of all splits in one row, and which of them are equal.

    Args:
        splits: (N,) the number of each image's split.
        rows: (N,) its row in the split.
        group: (N,) its group of equal images.
        members: (G, S) bool, whether a group has an image in a split.
    """

    splits: np.ndarray
    rows: np.ndarray
    group: np.ndarray
    members: np.ndarray

    @classmethod
    def of(cls, views: Sequence[View]) -> Gallery:
        """Images without a key differ from all others."""
        keys: list[object] = []
        for number, view in enumerate(views):
            keys += view.keys if view.keys is not None else [(number, row) for row in range(len(view))]
        splits = np.repeat(np.arange(len(views)), [len(view) for view in views])
        group = groups(keys)
        members = np.zeros((int(group.max()) + 1, len(views)), dtype=bool)
        members[group, splits] = True
        return cls(splits, np.concatenate([np.arange(len(view)) for view in views]), group, members)

    def first(self) -> np.ndarray:
        """(G,) the first image of each group."""
        return np.unique(self.group, return_index=True)[1]


def duplicates(views: Sequence[View], bits: int) -> tuple[list[Duplicates], list[Pair]]:
    """Count the images of each split that another image of it, or of another split, repeats.

    Args:
        views: the splits.
        bits: differing bits of the hash up to which images are near.

    Returns:
        Counts for each split with itself and each two splits, and the nearest pairs, between splits first.
    """
    gallery = Gallery.of(views)
    prints = _joined(views)
    near, pairs = _near(gallery, prints, bits) if prints is not None else (None, [])
    found = []
    for first, second in itertools.product(range(len(views)), repeat=2):
        mine = gallery.splits == first
        equal = _equal(gallery, first, second)
        beyond = None if near is None else int((near[gallery.group[mine], second] & ~equal).sum())
        found.append(
            Duplicates(first=views[first].name, second=views[second].name, equal=int(equal.sum()), near=beyond)
        )
    pairs = [*_equal_pairs(gallery), *pairs]
    pairs.sort(key=lambda pair: (gallery.splits[pair[0]] == gallery.splits[pair[1]], pair[2], pair[:2]))
    return found, [_pair(views, gallery, *pair) for pair in pairs[:MOST_PAIRS]]


def _equal(gallery: Gallery, first: int, second: int) -> np.ndarray:
    """Of each image of the first split, whether another image of the second is equal."""
    own = gallery.group[gallery.splits == first]
    if first != second:
        return gallery.members[own, second]
    return np.bincount(own, minlength=len(gallery.members))[own] > 1


def _near(gallery: Gallery, prints: Prints, bits: int) -> tuple[np.ndarray, list[tuple[int, int, int]]]:
    """(G, S) whether a group has a near-duplicate in a split, and the nearest pairs: two images, bits."""
    first = gallery.first()
    near = np.zeros_like(gallery.members)
    best: list[tuple[int, int, int, int]] = []  # a heap whose top is the worst pair
    for pairs, far in near_blocks(prints.of_rows(first), None, bits):
        for left, right in (pairs.T, pairs.T[::-1]):
            for split in range(near.shape[1]):
                near[left[gallery.members[right, split]], split] = True
        for (one, other), distance in zip(first[pairs].tolist(), far.tolist(), strict=True):
            within = int(gallery.splits[one] == gallery.splits[other])
            item = (-within, -distance, -one, -other)
            (heapq.heappush if len(best) < MOST_PAIRS else heapq.heappushpop)(best, item)
    return near, [(-one, -other, -distance) for _, distance, one, other in best]


def _equal_pairs(gallery: Gallery) -> Iterator[tuple[int, int, int]]:
    """A pair of images for each group of equal ones, of different splits where it has such."""
    order = np.argsort(gallery.group, kind="stable")
    starts = np.flatnonzero(np.diff(gallery.group[order])) + 1
    for members in np.split(order, starts):
        if len(members) > 1:
            one = int(members[0])
            others = members[gallery.splits[members] != gallery.splits[one]]
            yield one, int(others[0] if len(others) else members[1]), -1


def _pair(views: Sequence[View], gallery: Gallery, one: int, other: int, bits: int) -> Pair:
    items = []
    for image in (one, other):
        view = views[int(gallery.splits[image])]
        items.append(Item(split=view.name, image_id=view.image_ids[int(gallery.rows[image])]))
    return Pair(first=items[0], second=items[1], kind="equal" if bits < 0 else "near", bits=max(0, bits))


def _joined(views: Sequence[View]) -> Prints | None:
    parts = [view.prints for view in views]
    return None if any(part is None for part in parts) else Prints.joined([part for part in parts if part is not None])
