"""Several datasets: win counts always, a test only where one could reject.

A test over datasets is about new datasets, so the dataset is its unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.reports.statistics.checks import array, whole
from harness.reports.statistics.errors import DuplicateQueries, TooFewDatasets
from harness.reports.statistics.permutation import flip_test

MINIMUM_DATASETS = 6
_UNITS_PER_POINT = 10**6  # the sign flip counts in whole numbers; no reader sees a millionth of a point


@dataclass(frozen=True)
class DatasetDifference:
    """Method a minus method b on one dataset."""

    dataset: str
    images: str  # identifies the images; COCO 1K and 5K show the same ones and count once
    difference: float  # points
    significant: bool  # after the correction within the dataset


@dataclass(frozen=True)
class WinCounts:
    """Datasets on which a scores more, as much, less than b, and how many of the wins and losses are significant."""

    wins: int
    ties: int
    losses: int
    significant_wins: int
    significant_losses: int


def smallest_p(pairs: int) -> float:
    """The smallest two-sided sign-flip p that this many pairs can give.

    >>> smallest_p(5)
    0.0625
    """
    whole(pairs, "the number of pairs", least=1)
    return 2.0 / 2.0**pairs


def win_counts(differences: Sequence[DatasetDifference]) -> WinCounts:
    """Count datasets by who wins them.

    Raises:
        InvalidSetting: a difference that is not finite; NaN would be counted nowhere.
    """
    values = array([d.difference for d in differences], "differences in points") if differences else np.zeros(0)
    significant = np.asarray([d.significant for d in differences], dtype=bool)
    counts = (values > 0, values == 0, values < 0, (values > 0) & significant, (values < 0) & significant)
    return WinCounts(*(int(count.sum()) for count in counts))


def across_datasets(differences: Sequence[DatasetDifference], *, resamples: int = 10_000, seed: int = 0) -> float:
    """Two-sided sign-flip p for the claim about new datasets.

    Args:
        differences: one per dataset.
        resamples: drawn when there are more than 16 datasets.
        seed: of the signs.

    Raises:
        DuplicateQueries: two entries show the same images.
        TooFewDatasets: fewer than 6.
    """
    images = [d.images for d in differences]
    shared = [d.dataset for d in differences if images.count(d.images) > 1]
    if shared:
        raise DuplicateQueries(f"datasets with the same images are one dataset: {', '.join(shared)}; keep one of them")
    if len(differences) < MINIMUM_DATASETS:
        raise TooFewDatasets(
            f"{len(differences)} datasets cannot give a p below {smallest_p(len(differences)):g}, at least "
            f"{MINIMUM_DATASETS} are needed; report the table and the win counts"
        )
    units = np.rint(array([d.difference for d in differences], "differences in points") * _UNITS_PER_POINT)
    return float(flip_test(units, resamples=resamples, seed=seed).p[0])
