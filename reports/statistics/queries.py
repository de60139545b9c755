"""Diagnostics of single queries: how often two methods disagree, and how alike the captions of an image behave."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.reports.statistics.checks import array, codes, number
from harness.reports.statistics.hits import Part, components
from harness.reports.statistics.runs import MethodRuns


@dataclass(frozen=True)
class QueryDiagnostics:
    """How two methods differ on single queries."""

    #: Intra-image correlation of the caption differences; NaN where an image has one query (i2t) or several kinds (rSum).
    icc: float
    #: Variance with images as clusters over the variance if queries were independent: 1 + (n - 1) ICC for t2i, 1 for i2t,
    #: the ratio of the two variances for rSum.
    design_effect: float
    #: Share of queries on which exactly one hits; the mean over its six recalls for rSum.
    disagreement: float


class QueryHits:
    """Share of each method's seeds that hit each query, by direction and K, and the diagnostics of pairs.

    Args:
        methods: aligned runs.
        metrics: names that pairs will be diagnosed on.
    """

    def __init__(self, methods: Sequence[MethodRuns], metrics: Sequence[str]):
        self.caption_image = methods[0].caption_image
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
        correlation = icc(a[parts[0]] - b[parts[0]], self.caption_image)
        captions = np.bincount(self.caption_image).mean()
        return QueryDiagnostics(correlation, design_effect(correlation, captions), discordant)

    def _independent_variance(self, first: int, second: int, parts: Sequence[Part]) -> float:
        """Variance of a difference in points squared, were every image query and every caption a unit of its own."""
        variance = 0.0
        for direction in dict.fromkeys(d for d, _ in parts):
            own = [part for part in parts if part[0] == direction]
            difference = np.sum([self.shares[first][p] - self.shares[second][p] for p in own], axis=0)
            variance += 1e4 * float(difference.var(ddof=1)) / len(difference)
        return variance


def icc(values: ArrayLike, groups: ArrayLike) -> float:
    """Intra-class correlation of one-way random groups, by analysis of variance; groups may differ in size.

    Args:
        values: (Q,) for example the differences of two methods' hits on each caption.
        groups: (Q,) whole numbers, the image of each.

    Returns:
        Correlation, at most 1, slightly negative when there is none; NaN without groups of 2 or without variance.

    Raises:
        InvalidSetting: values that are not finite, or groups that are not one whole number for each.

    Source:
        Shrout & Fleiss 1979, ICC(1); n0 of Donner 1986 for unequal groups.

    >>> icc([1, 1, 0, 0, 1, 1], [0, 0, 1, 1, 2, 2])
    1.0
    """
    data = array(values, "values")
    images = codes(groups, "groups", length=len(data))
    sizes = np.bincount(images)
    present = sizes > 0
    members, total = int(present.sum()), len(data)
    if members < 2 or total == members:
        return math.nan
    sums = np.bincount(images, weights=data)[present]
    sizes = sizes[present]
    between = float((sums**2 / sizes).sum() - data.sum() ** 2 / total) / (members - 1)
    within = float((data**2).sum() - (sums**2 / sizes).sum()) / (total - members)
    typical = (total - (sizes**2).sum() / total) / (members - 1)
    spread = between + (typical - 1.0) * within
    return float((between - within) / spread) if spread > 1e-12 else math.nan


def design_effect(correlation: float, captions_per_image: float = 5.0) -> float:
    """Factor by which clustering inflates the variance of a mean over captions: 1 + (n - 1) ICC, 1 if ICC is NaN.

    >>> design_effect(0.25)
    2.0
    """
    number(captions_per_image, "captions per image", above=0)
    if math.isnan(correlation):
        return 1.0
    return 1.0 + (captions_per_image - 1.0) * number(correlation, "an intra-image correlation", least=-1, most=1)


def disagreement(first: ArrayLike, second: ArrayLike) -> float:
    """Chance that exactly one of two methods hits a query, runs drawn at random from each.

    Args:
        first, second: (Q,) share of each method's seeds that hit the query.

    Returns:
        0 to 1; for one seed the share of discordant queries.

    Raises:
        InvalidSetting: shares outside 0 to 1, or unequally many.

    >>> disagreement([1, 1, 0, 0], [1, 0, 0, 0])
    0.25
    """
    a = array(first, "shares", least=0, most=1)
    b = array(second, "shares", length=len(a), least=0, most=1)
    return float((a * (1.0 - b) + b * (1.0 - a)).mean())
