"""From pairwise tests to a ranking with its uncertainty: rank intervals and tiers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.reports.statistics.errors import InvalidSetting
from harness.reports.statistics.results import Comparison


@dataclass(frozen=True)
class RankedMethod:
    """A method's place."""

    name: str
    score: float  # points, averaged over seeds
    rank: int  # 1-based by score; equal scores share the better rank
    rank_low: int  # 1 + methods significantly better
    rank_high: int  # M - methods significantly worse
    tier: int  # 1-based; a method significantly worse than the leader of the last tier leads a new one

    @property
    def open_ranks(self) -> str:
        """The ranks that the tests leave open: `2` or `1–3`."""
        return "–".join(dict.fromkeys((str(self.rank_low), str(self.rank_high))))


def tiers(comparison: Comparison, metric: str | None = None) -> tuple[RankedMethod, ...]:
    """Rank methods with intervals and tiers, from a comparison of all pairs.

    Args:
        comparison: `compare(..., pairs="all")` with a family-wise correction (Holm or maxT).
        metric: which; the primary one if None.

    Returns:
        Methods from best to worst, equal scores in the order of the comparison.

    Raises:
        InvalidSetting: some pair was not compared, or the pairs were corrected for discovery rate only.
        UnknownName: the metric was not compared.
    """
    metric = metric or comparison.primary
    rows = comparison.of_metric(metric)
    size = len(comparison.methods)
    if len(rows) < size * (size - 1) // 2:
        raise InvalidSetting(
            f"tiers need all {size * (size - 1) // 2} pairs, got {len(rows)}; compare with pairs='all'"
        )
    if rows[0].family.correction == "bh":
        raise InvalidSetting("tiers need a family-wise correction, got bh; compare with holm or maxt")
    place = {name: i for i, name in enumerate(comparison.methods)}
    better = np.zeros((size, size), dtype=bool)
    for row in rows:
        if row.significant and row.difference != 0:
            i, j = (row.a, row.b) if row.difference > 0 else (row.b, row.a)
            better[place[i], place[j]] = True
    scores = comparison.scores[:, comparison.metrics.index(metric)]
    return rank_intervals(comparison.methods, scores, better)


def rank_intervals(
    names: Sequence[str], scores: NDArray[np.float64], better: NDArray[np.bool_]
) -> tuple[RankedMethod, ...]:
    """Rank intervals and tiers from a matrix of significant differences.

    Args:
        names: M methods.
        scores: (M,) points.
        better: (M, M), entry [i, j] true where i is significantly better than j.

    Returns:
        Methods from best to worst.

    >>> [(m.name, m.tier) for m in rank_intervals("ab", np.array([70.0, 80.0]), np.array([[False, False], [True, False]]))]
    [('b', 1), ('a', 2)]
    """
    ranked: list[RankedMethod] = []
    leader, tier = -1, 0
    for i in np.argsort(-scores, kind="stable"):
        if leader < 0 or better[leader, i]:
            leader, tier = int(i), tier + 1
        low, high = 1 + int(better[:, i].sum()), len(names) - int(better[i].sum())
        rank = 1 + int((scores > scores[i]).sum())
        ranked.append(RankedMethod(names[i], float(scores[i]), rank, low, high, tier))
    return tuple(ranked)
