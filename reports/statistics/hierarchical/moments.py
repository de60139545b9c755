"""What the Gaussian crossed model needs of the ranks: scores, and sums of squares over images, captions and seeds.

The design is balanced (every seed answers every query), so these moments are sufficient: the model sees a few small
matrices, whatever the number of images. All are in points squared *of the score*: already divided by the number of
images, so that they can be read beside the frequentist variances.

Shape letters: M methods, S seeds (S_m of method m), N images, T captions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.reports.statistics.hits import components, image_columns
from harness.reports.statistics.runs import MethodRuns

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Moments:
    """Sufficient statistics of M methods on one metric."""

    scores: Floats  # (M,) points, averaged over seeds
    seeds: NDArray[np.int64]  # (M,) S_m
    images: Floats  # (M, M) covariance of the seed-averaged scores over new images with their captions
    images_df: int  # N - folds
    captions: Floats  # (M, M) the part of it that differs between captions of one image; 0 where none can
    captions_df: int  # sum of (captions - 1) over images; 0 where no image has two captions that count
    between: Floats  # (M,) variance of the seeds' scores
    image_noise: Floats  # (M,) variance of one seed's score that comes from its own way with each image
    caption_noise: Floats  # (M,) the part of it that differs between captions of one image
    recalls: int  # recalls that the metric sums: 6 for rSum
    size: int  # N

    @property
    def parts(self) -> int:
        """1 where captions can be told from images, else 0."""
        return int(self.captions_df > 0)


def moments(methods: Sequence[MethodRuns], metric: str) -> Moments:
    """Reduce the ranks of M aligned methods to the moments of the crossed model.

    Args:
        methods: M methods with identical ids, caption maps and folds (see `refusals.aligned`), S_m >= 2 seeds each.
        metric: `rsum` or a recall such as `t2i_r1`.

    Raises:
        UnknownName: not a metric.
    """
    image = [np.stack([_influence(one, metric) for one in _seed_by_seed(run)]) for run in methods]  # (S, N) each
    caption = [_caption_deviations(run, metric) for run in methods]  # (S, T) each
    fold = np.unique(methods[0].fold, return_inverse=True)[1]
    sizes = np.bincount(fold)[fold]
    own = np.bincount(methods[0].caption_image, minlength=len(fold))[methods[0].caption_image]  # (T,) of its image
    several = own > 1
    counted = any(direction == "t2i" for direction, _ in components(metric)) and bool(several.any())
    # An image's captions, C of them, add C times the variance of one; those of single captions are taken as alike.
    spread = np.zeros(len(own))
    spread[several] = own[several] / (own[several] - 1) * (len(own) / max(int(several.sum()), 1))
    return Moments(
        scores=np.asarray([image_columns([run], [metric]).scores[0, 0] for run in methods]),
        seeds=np.asarray([len(run.seeds) for run in methods], dtype=np.int64),
        images=_covariance([rows.mean(axis=0) for rows in image], sizes / (sizes - 1)),
        images_df=len(fold) - int(fold.max()) - 1,
        captions=_covariance([rows.mean(axis=0) for rows in caption], spread),
        captions_df=int(several.sum() - len(np.unique(methods[0].caption_image[several]))) if counted else 0,
        between=np.asarray([image_columns([run], [metric]).seed_scores[0][:, 0].var(ddof=1) for run in methods]),
        image_noise=np.asarray([_noise(rows, sizes / (sizes - 1)) for rows in image]),
        caption_noise=np.asarray([_noise(rows, spread) for rows in caption]),
        recalls=len(components(metric)),
        size=len(fold),
    )


def _seed_by_seed(run: MethodRuns) -> list[MethodRuns]:
    """One method with one seed each."""
    keys = ("seeds", "i2t_ranks", "t2i_ranks", "i2t_ties", "t2i_ties", "rivals")
    known: dict[str, Any] = {key: value for key in keys if (value := getattr(run, key)) is not None}
    parts: list[dict[str, Any]] = [
        {key: value[s : s + 1] for key, value in known.items()} for s in range(len(run.seeds))
    ]
    return [replace(run, **part) for part in parts]


def _influence(one: MethodRuns, metric: str) -> Floats:
    """(N,) contribution of each image to the score of a seed, in points, centred in every fold."""
    columns = image_columns([one], [metric])
    return columns.influence(columns.numerators[0, 0], columns.group_means[0, 0], 0)


def _caption_deviations(run: MethodRuns, metric: str) -> Floats:
    """(S, T) contribution of each caption to the score of each seed, less the mean of its image's captions."""
    fold = np.unique(run.fold, return_inverse=True)[1][run.caption_image]
    totals = np.bincount(fold)
    hits = sum(
        (run.hits("t2i", k) for direction, k in components(metric) if direction == "t2i"),
        start=np.zeros(run.t2i_ranks.shape),
    )
    points = 100.0 * hits / (totals[fold] * len(totals))
    size = len(run.image_ids)
    counts = np.maximum(np.bincount(run.caption_image, minlength=size), 1)
    means = np.stack([np.bincount(run.caption_image, weights=row, minlength=size) / counts for row in points])
    return points - means[:, run.caption_image]


def _covariance(rows: Sequence[Floats], weights: Floats) -> Floats:
    stacked = np.stack(rows)
    return (stacked * weights) @ stacked.T


def _noise(rows: Floats, weights: Floats) -> float:
    """Variance over seeds of what is left when the mean of the seeds is taken away, summed with weights."""
    return float((rows.var(axis=0, ddof=1) * weights).sum())
