"""Recalls and rSum of ranks at one level of a probe.

Shape letters: S seeds, Q queries, N pictures.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.reports.statistics.hits import components
from harness.reports.statistics.outcomes.scores import Score, mean_score, total

#: Ranks of a direction (S, Q), NaN = no such query here, with the picture of each query (Q,).
Direction = tuple[NDArray[np.float64], NDArray[np.int64]]


def recall(ranks: NDArray[np.float64], cluster: NDArray[np.int64], size: int, k: int) -> Score:
    """Percent of queries whose rank, from 0, is below k.

    >>> recall(np.array([[0.0, 3.0]]), np.array([0, 1]), 2, 1).mean
    50.0
    """
    hits = np.where(np.isnan(ranks), np.nan, (ranks < k).astype(np.float64))
    return mean_score(hits, cluster, size)


def retrieval_score(metric: str, i2t: Direction | None, t2i: Direction | None, size: int) -> Score:
    """`rsum` or one recall of ranks.

    Args:
        metric: `rsum`, or such as `t2i_r1`.
        i2t: ranks of pictures as queries.
        t2i: ranks of captions as queries.
        size: N.

    Raises:
        UnknownName: not a metric.
        InvalidSetting: a direction that the metric needs has no query.
    """
    ranks = {"i2t": i2t, "t2i": t2i}
    parts = []
    for direction, k in components(metric):
        found = ranks[direction]
        if found is None:
            found = (np.full((1, 1), np.nan), np.zeros(1, dtype=np.int64))  # refused as a mean of nothing
        parts.append(recall(*found, size, k))
    return parts[0] if len(parts) == 1 else total(parts)
