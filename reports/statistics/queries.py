"""Query by query beside image by image: how often two methods disagree, and how alike an image's captions behave."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.reports.statistics.hits import components
from harness.reports.statistics.power import design_effect, disagreement, icc
from harness.reports.statistics.runs import MethodRuns


@dataclass(frozen=True)
class QueryDiagnostics:
    """How two methods differ on single queries.

    Attributes:
        icc: intra-image correlation of the caption differences; NaN where an image has one query (i2t) or several
            kinds (rSum).
        design_effect: variance with images as clusters over the variance if queries were independent: 1 + (n - 1) ICC
            for t2i, 1 for i2t, the ratio of the two variances for rSum.
        disagreement: share of queries on which exactly one hits; the mean over its six recalls for rSum.
    """

    icc: float
    design_effect: float
    disagreement: float


class QueryHits:
    """Share of each method's seeds that hit each query, by direction and K, and the diagnostics of pairs.

    Args:
        methods: aligned runs.
        metrics: names that pairs will be diagnosed on.
    """

    def __init__(self, methods: Sequence[MethodRuns], metrics: Sequence[str]):
        first = methods[0]
        self.images = {"i2t": np.flatnonzero(first.image_queried), "t2i": first.caption_image}
        self.captions_an_image = np.bincount(first.caption_image)
        parts = sorted({part for metric in metrics for part in components(metric)})
        self.shares = [{part: self._share(run, *part) for part in parts} for run in methods]

    def _share(self, runs: MethodRuns, direction: str, k: int) -> NDArray[np.float64]:
        hits = runs.hits(direction, k)
        return (hits[:, runs.image_queried] if direction == "i2t" else hits).mean(axis=0)

    def diagnose(self, first: int, second: int, metric: str, image_variance: float) -> QueryDiagnostics:
        """Diagnose method `first` against `second`.

        Args:
            first, second: rows in the methods.
            metric: one of those announced.
            image_variance: variance of the difference with images as clusters, in points squared.
        """
        parts = components(metric)
        a, b = self.shares[first], self.shares[second]
        discordant = float(np.mean([disagreement(a[part], b[part]) for part in parts]))
        if len(parts) > 1:
            independent = self._independent_variance(first, second, parts)
            return QueryDiagnostics(math.nan, image_variance / independent if independent > 0 else 1.0, discordant)
        if parts[0][0] == "i2t":
            return QueryDiagnostics(math.nan, 1.0, discordant)
        correlation = icc(a[parts[0]] - b[parts[0]], self.images["t2i"])
        return QueryDiagnostics(correlation, design_effect(correlation, self.captions_an_image.mean()), discordant)

    def _independent_variance(self, first: int, second: int, parts: Sequence[tuple[str, int]]) -> float:
        """Variance of a difference in points squared, were every image query and every caption a unit of its own."""
        variance = 0.0
        for direction in dict.fromkeys(d for d, _ in parts):
            own = [part for part in parts if part[0] == direction]
            difference = np.sum([self.shares[first][p] - self.shares[second][p] for p in own], axis=0)
            variance += 1e4 * float(difference.var(ddof=1)) / len(difference)
        return variance
