"""What a gallery image does to the queries of others, and the standard error that counts it.

With the image as the unit, an image answers for its own queries. It also stands in the gallery, where it takes places
from other queries: a hub of one method costs that method many hits at once. The variance here counts an image in both
roles, as query and as rival, and takes off what both count:

    V = N/(N-1) [ sum_i o_i^2 + 2 sum_i o_i r_i + sum_j r_j^2 - sum_ij c_ij^2 ]

o_i is the influence of image i as a query and c_ij (centred) what the queries of image i would gain if image j left the
gallery with its captions; r_j = -sum_i c_ij. This is the two-way clustered variance of Cameron, Gelbach & Miller 2011
on the delete-one changes. It needs the scores: ranks do not say which item stood ahead.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from harness.reports.statistics.checks import array, codes
from harness.reports.statistics.errors import InvalidSetting

DEPTHS = (1, 5, 10)


@dataclass(frozen=True, eq=False)
class Rivals:
    """Gains of one seed's queries from the absence of single images."""

    #: Per direction and K a sparse (N, N) matrix: how many queries of image i (row) would become hits at K without
    #: image j (column). The diagonal is 0.
    gains: Mapping[tuple[str, int], sparse.csr_array]

    def reordered(self, order: NDArray[np.int64]) -> Rivals:
        """The same with images in another order, (N,) rows of the present one."""
        return Rivals({key: gains[order][:, order] for key, gains in self.gains.items()})


def gallery_ranks(
    similarity: NDArray[np.floating], caption_image: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """0-based ranks of the best positives in one matrix, tied negatives first: i2t (N,) and t2i (T,).

    Args:
        similarity: (N, T), higher is better.
        caption_image: (T,) the image of each caption.

    >>> gallery_ranks(np.array([[0.9, 0.1], [0.8, 0.7]]), np.array([0, 1]))
    (array([0, 1]), array([0, 0]))
    """
    size, total = similarity.shape
    positive = similarity[caption_image, np.arange(total)]
    best = _best_positive(positive, caption_image, size)
    # The positives that tie with the best, itself included, are no negatives.
    tied = np.bincount(caption_image, weights=positive >= best[caption_image], minlength=size).astype(np.int64)
    return (similarity >= best[:, None]).sum(axis=1) - tied, (similarity >= positive).sum(axis=0) - 1


def _best_positive(positive: NDArray[np.floating], owner: NDArray[np.int64], size: int) -> NDArray[np.float64]:
    best = np.full(size, -np.inf)
    np.maximum.at(best, owner, positive)
    return best


def find_rivals(similarity: NDArray[np.floating], caption_image: NDArray[np.int64]) -> Rivals:
    """Which images keep which queries from being hits at K = 1, 5 and 10, one image at a time.

    Args:
        similarity: (N, T), higher is better; tied negatives stand ahead.
        caption_image: (T,) the image of each caption.

    Raises:
        InvalidSetting: scores or owners of another shape, or an image without captions.
    """
    scores = np.asarray(similarity)
    owner = codes(caption_image, "images of captions")
    if scores.ndim != 2 or scores.shape[1] != len(owner) or len(np.unique(owner)) != len(scores):
        raise InvalidSetting(
            f"scores must be images x captions, with captions of every image, got shape {scores.shape} and captions of "
            f"{len(np.unique(owner))} images"
        )
    size, total = scores.shape
    positive = scores[owner, np.arange(total)]
    ranks = (scores >= positive).sum(axis=0) - 1
    gains = {}
    for k in DEPTHS:
        close = np.flatnonzero(ranks == k)  # the removal of any one image that stands ahead makes these hits
        ahead, column = np.nonzero(scores[:, close] >= positive[close])
        query = owner[close[column]]
        other = ahead != query
        gains["t2i", k] = _matrix([query[other]], [ahead[other]], size)
    most = int(np.bincount(owner).max())
    rows: dict[int, list[NDArray[np.int64]]] = {k: [] for k in DEPTHS}
    columns: dict[int, list[NDArray[np.int64]]] = {k: [] for k in DEPTHS}
    for image, best in enumerate(_best_positive(positive, owner, size)):
        # An image leaves with all its captions, so that a query may rise by several places at once.
        ahead = np.bincount(owner[scores[image] >= best], minlength=size)
        ahead[image] = 0
        rank = int(ahead.sum())
        for k in DEPTHS:
            if k <= rank < k + most:
                rivals = np.flatnonzero(rank - ahead < k)
                rows[k].append(np.full(len(rivals), image))
                columns[k].append(rivals)
    return Rivals(gains | {("i2t", k): _matrix(rows[k], columns[k], size) for k in DEPTHS})


def _matrix(rows: list[NDArray[np.int64]], columns: list[NDArray[np.int64]], size: int) -> sparse.csr_array:
    """Ones at these places; repeated places add up."""
    none = np.zeros(0, dtype=np.int64)
    places = np.concatenate([none, *rows]), np.concatenate([none, *columns])
    return sparse.coo_array((np.ones(len(places[0])), places), shape=(size, size)).tocsr()


def mean_gains(
    seeds: Sequence[Rivals], parts: Sequence[tuple[str, int]], queries: Mapping[str, int]
) -> sparse.csr_array:
    """Gains (N, N) of a method on a metric, in points, averaged over its seeds.

    Args:
        seeds: one per seed.
        parts: the recalls that the metric sums.
        queries: number of queries of each direction.
    """
    return sum(100.0 / (queries[d] * len(seeds)) * rivals.gains[d, k] for rivals in seeds for d, k in parts)


def gallery_variance(influence: NDArray[np.float64], gains: sparse.csr_array) -> float:
    """Variance of a score or a difference of scores, every image counted as query and as rival.

    Args:
        influence: (N,) contributions of the images as queries, in points, that sum to zero.
        gains: (N, N) of the same score, in points.

    Returns:
        Points squared, never below the clustered variance: the two differ by noise where rivals do not matter.

    Raises:
        InvalidSetting: contributions that are not finite, or gains of another size.
    """
    own = array(influence, "contributions")
    size = len(own)
    if gains.shape != (size, size) or size < 2:
        raise InvalidSetting(f"gains must be {size} x {size} for at least 2 images, got {gains.shape}")
    mean = float(gains.sum()) / (size * (size - 1))
    rival = (size - 1) * mean - np.asarray(gains.sum(axis=0), dtype=np.float64)
    both = float(gains.multiply(gains).sum()) - size * (size - 1) * mean**2
    clustered = float(own @ own)
    extra = math.fsum([2.0 * float(own @ rival), float(rival @ rival), -both])
    return (clustered + max(extra, 0.0)) * size / (size - 1)
