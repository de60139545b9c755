"""What a set-up can see: intra-image correlation, design effect, minimum detectable difference, images needed.

Planning only: the power at the observed difference says nothing that its p-value does not, and is never computed.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from harness.reports.statistics.checks import array, codes, level, number, whole
from harness.reports.statistics.errors import InvalidSetting
from harness.reports.statistics.method_claim import VarianceSplit


def icc(values: ArrayLike, groups: ArrayLike) -> float:
    """Intra-class correlation of one-way random groups, by analysis of variance; groups may differ in size.

    Args:
        values: (Q,) for example the differences of two methods' hits on each caption.
        groups: (Q,) whole numbers, the image of each.

    Returns:
        Correlation, at most 1, slightly negative when there is none; NaN without groups of 2 or without variance.

    Source:
        Shrout & Fleiss 1979, ICC(1); n0 of Donner 1986 for unequal groups.

    Raises:
        InvalidSetting: values that are not finite, or groups that are not one whole number for each.
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


def design_effect(correlation: float, captions_an_image: float = 5.0) -> float:
    """Factor by which clustering inflates the variance of a mean over captions: 1 + (n - 1) ICC, 1 if ICC is NaN."""
    number(captions_an_image, "captions per image", above=0)
    if not math.isnan(correlation):
        number(correlation, "an intra-image correlation", least=-1, most=1)
    return 1.0 if math.isnan(correlation) else 1.0 + (captions_an_image - 1.0) * correlation


def detection_factor(alpha: float = 0.05, power: float = 0.8) -> float:
    """Standard errors between zero and a difference found with that power: 2.80 for 80 % at a two-sided 5 %.

    Raises:
        InvalidSetting: alpha or the power outside 0 to 1.
    """
    level(alpha)
    if not 0 < number(power, "power") < 1:
        raise InvalidSetting(f"power must lie between 0 and 1, got {power!r}")
    normal = NormalDist()
    return normal.inv_cdf(1.0 - alpha / 2.0) + normal.inv_cdf(power)


def minimum_detectable(se: float, *, alpha: float = 0.05, power: float = 0.8, comparisons: int = 1) -> float:
    """Smallest true difference, in the units of se, found with the given power at alpha / comparisons."""
    number(se, "a standard error", least=0)
    whole(comparisons, "the number of comparisons", least=1)
    return detection_factor(alpha / comparisons, power) * se


def planned_detectable(disagreement: float, correlation: float, images: int, captions_an_image: int = 5) -> float:
    """Minimum detectable difference in points of a t2i recall, before any run: from a guess of the disagreement.

    Args:
        disagreement: share of captions on which exactly one of the two methods hits.
        correlation: ICC of the caption differences.
        images: N.
        captions_an_image: n.

    Returns:
        280 sqrt(disagreement (1 + (n - 1) ICC) / (n N)).

    Raises:
        InvalidSetting: a share or a correlation that is none, or counts below 1.
    """
    number(disagreement, "the disagreement", least=0, most=1)
    whole(images, "images", least=1)
    whole(captions_an_image, "captions per image", least=1)
    # No correlation of n captions is below -1 / (n - 1).
    number(correlation, "an intra-image correlation", least=-1 / max(1, captions_an_image - 1), most=1)
    variance = disagreement * design_effect(correlation, captions_an_image) / (captions_an_image * images)
    return 100.0 * minimum_detectable(math.sqrt(variance))


def images_needed(
    split: VarianceSplit, images: int, target: float, *, alpha: float = 0.05, power: float = 0.8, comparisons: int = 1
) -> float:
    """Images with which a true difference of `target` points would be found with the given power.

    Args:
        split: the variance at the present number of images; only its image part shrinks with more images.
        images: the present N.
        target: points.
        alpha, power, comparisons: as in `minimum_detectable`.

    Returns:
        A whole number, or infinity when the seeds alone vary too much.

    Raises:
        InvalidSetting: a target that is not above 0, or counts below 1.
    """
    number(target, "the difference to find", above=0)
    whole(images, "images", least=1)
    whole(comparisons, "the number of comparisons", least=1)
    allowed = (target / detection_factor(alpha / comparisons, power)) ** 2 - sum(split.seeds)
    return float(math.ceil(split.images * images / allowed)) if allowed > 0 else math.inf


def disagreement(first: ArrayLike, second: ArrayLike) -> float:
    """Chance that exactly one of two methods hits a query, runs drawn at random from each.

    Args:
        first, second: (Q,) share of each method's seeds that hit the query.

    Returns:
        0 to 1; for one seed the share of discordant queries.

    Raises:
        InvalidSetting: shares outside 0 to 1, or unequally many.
    """
    a = array(first, "shares", least=0, most=1)
    b = array(second, "shares", length=len(a), least=0, most=1)
    return float((a * (1.0 - b) + b * (1.0 - a)).mean())
