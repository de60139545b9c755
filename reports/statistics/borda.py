"""Methods over several datasets: Borda counts, win rates, and how far new images of these datasets could move them.

Each dataset is a voter that ranks the methods. Images are resampled within every dataset, folds being strata; an image
takes its captions, methods and seeds along, and all datasets are resampled together. The datasets stay the same ones, so
nothing is claimed about others.

Shape letters: D datasets, M methods, R resamples, N images of a dataset.

Source: Borda counts as in MTEB (Muennighoff et al. 2023; Colombo et al. 2022). Intervals are percentiles of the bootstrap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from harness.reports.statistics.checks import array, level, resample_count, whole
from harness.reports.statistics.errors import DuplicateQueries, InvalidSetting, TooFewImages, TooFewSeeds
from harness.reports.statistics.hits import ImageColumns, components, image_columns
from harness.reports.statistics.permutation import BLOCK_BYTES
from harness.reports.statistics.refusals import Claim, aligned, refuse_few_images
from harness.reports.statistics.runs import MethodRuns

RESAMPLES = 2_000
# Equal hits may give scores that differ in their last bits; no reader sees so small a difference.
_DECIMALS = 9


@dataclass(frozen=True, eq=False)
class DatasetRuns:
    """The methods on one dataset."""

    dataset: str
    images: str  # identifies the images: two protocols on the same ones are one dataset
    methods: Sequence[MethodRuns]


@dataclass(frozen=True, eq=False)
class Standings:
    """The order of M methods over D datasets, with what joint resamples of their images say of it."""

    methods: tuple[str, ...]
    datasets: tuple[str, ...]
    scores: NDArray[np.float64]  # (D, M) points
    ranks: NDArray[np.float64]  # (D, M) on each dataset, 1 = best; equal scores share their mean rank
    counts: NDArray[np.float64]  # (M,) Borda counts, 0 to D (M - 1)
    places: NDArray[np.int64]  # (M,) 1-based by count; equal counts share the better place
    place_low: NDArray[np.int64]  # (M,) interval of the place
    place_high: NDArray[np.int64]
    first: NDArray[np.float64]  # (M,) share of resamples with the highest count; shared firsts are divided
    wins: NDArray[np.float64]  # (M, M) share of datasets on which the row scores more than the column; equal = half
    ahead: NDArray[np.float64]  # (M, M) share of resamples in which the row has the higher count; equal = half
    rates: NDArray[np.float64]  # (M,) mean of `wins` over the other methods
    rate_low: NDArray[np.float64]
    rate_high: NDArray[np.float64]
    alpha: float
    resamples: int


def dataset_ranks(scores: ArrayLike) -> NDArray[np.float64]:
    """Ranks along the last axis, 1 for the highest score; equal scores share the mean of their ranks.

    >>> dataset_ranks([70.0, 80.0, 80.0]).tolist()
    [3.0, 1.5, 1.5]
    """
    return np.asarray(rankdata(-np.round(np.asarray(scores, dtype=np.float64), _DECIMALS), axis=-1))


def borda_counts(scores: ArrayLike) -> NDArray[np.float64]:
    """Borda counts: on each dataset a method gets one point per method that it beats and half of one per tie.

    Args:
        scores: (D, M) points, higher is better.

    Returns:
        (M,) between 0 and D (M - 1).

    >>> borda_counts([[70.0, 80.0, 90.0], [50.0, 60.0, 60.0]]).tolist()
    [0.0, 2.5, 3.5]
    """
    values = array(scores, "scores", dimensions=(2,))
    return np.asarray((values.shape[1] - dataset_ranks(values)).sum(axis=0))


def win_rates(scores: ArrayLike) -> NDArray[np.float64]:
    """Share of datasets on which the row scores more than the column, equal scores counting half; NaN on the diagonal.

    Args:
        scores: (D, M) points.

    Returns:
        (M, M); an entry and its mirror image add up to 1.

    >>> win_rates([[70.0, 80.0], [60.0, 50.0], [60.0, 50.0], [60.0, 60.0]])[0, 1].item()
    0.625
    """
    values = np.round(array(scores, "scores", dimensions=(2,)), _DECIMALS)
    more = values[:, :, None] - values[:, None, :]
    rates = (0.5 + 0.5 * np.sign(more)).mean(axis=0)
    np.fill_diagonal(rates, np.nan)
    return np.asarray(rates)


def standings(
    datasets: Sequence[DatasetRuns],
    metric: str = "rsum",
    *,
    claim: Claim = "checkpoint",
    alpha: float = 0.05,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Standings:
    """Rank methods that all datasets have, by Borda count.

    Args:
        datasets: D >= 2, each with the same M >= 2 methods by name, in any order.
        metric: `rsum`, or a recall such as `t2i_r1`.
        claim: `method` adds what new training seeds would move; every method then needs 2 seeds or more.
        alpha: one minus the level of the intervals.
        resamples: draws R.
        seed: of the draws.

    Returns:
        The standings; the same arguments give the same bits on any number of threads.

    Raises:
        DuplicateQueries: two datasets show the same images.
        InvalidSetting: fewer than two datasets or methods, or a method that a dataset lacks: nothing is filled in.
        TooFewSeeds, InvalidComparison: see `compare`.
    """
    level(alpha, below=0.5)
    resample_count(resamples)
    whole(seed, "the seed of the resampling")
    _check(datasets)
    names = tuple(run.name for run in datasets[0].methods)
    scores, drawn = [], []
    for number, dataset in enumerate(datasets):
        by_name = {run.name: run for run in dataset.methods}
        own = aligned([by_name[name] for name in names])
        refuse_few_images(len(own[0].image_ids))
        generator = np.random.default_rng([seed, number])
        columns = image_columns(own, list(dict.fromkeys(f"{d}_r{k}" for d, k in components(metric))))
        scores.append(columns.scores.sum(axis=1))
        resampled = resampled_scores(columns, resamples, generator)
        if claim == "method":
            resampled = resampled + _seed_effects(columns, resamples, generator)
        drawn.append(resampled)
    return _standings(names, [d.dataset for d in datasets], np.stack(scores), np.stack(drawn, axis=1), alpha)


def resampled_scores(columns: ImageColumns, resamples: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Sums of the metrics of M methods when the images of every fold are drawn anew with replacement.

    Args:
        columns: of single recalls, see `image_columns`.
        resamples: draws R.
        generator: of the draws.

    Returns:
        (R, M) points.

    Raises:
        TooFewImages: a draw without any query, as where hardly an image is one.
    """
    folds = [np.flatnonzero(columns.fold == f) for f in range(int(columns.fold.max()) + 1)]
    size = len(columns.fold)
    rows = max(1, BLOCK_BYTES // (8 * size))
    found = []
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        total = np.zeros((count, len(columns.numerators)))
        for f, images in enumerate(folds):
            drawn = generator.multinomial(len(images), np.full(len(images), 1.0 / len(images)), size=count)
            total += _of_fold(columns, drawn, f, images, len(folds))
        found.append(total)
    return np.concatenate(found)


def _of_fold(
    columns: ImageColumns, drawn: NDArray[np.int64], f: int, images: NDArray[np.int64], folds: int
) -> NDArray[np.float64]:
    """What a fold adds to the scores, (R, M): points of its hits times queries before over queries drawn."""
    total = np.zeros((len(drawn), len(columns.numerators)))
    weights = drawn.astype(np.float64)
    for side, direction in enumerate(("i2t", "t2i")):
        metrics = [k for k, name in enumerate(columns.metrics) if name.startswith(direction)]
        if not metrics:
            continue
        queries = columns.groups[side * folds + f][images]
        asked = drawn @ queries
        if not asked.all():
            raise TooFewImages(f"a draw of images has no {direction} query; evaluate on more of them")
        # Whole numbers below 2^53, so that the product has the same bits on any number of threads.
        hits = columns.numerators[:, metrics][:, :, images].sum(axis=1).T.astype(np.float64)
        total += np.matmul(weights, hits) * columns.scale[metrics[0]] * (queries.sum() / asked)[:, None]
    return total


def _seed_effects(columns: ImageColumns, resamples: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """(R, M) what other training seeds would have moved: Student's t on the standard error of each mean over seeds."""
    effects = np.zeros((resamples, len(columns.seed_scores)))
    for m, scores in enumerate(columns.seed_scores):
        seeds = scores.sum(axis=1)
        if len(seeds) < 2:
            raise TooFewSeeds("the variance between seeds needs at least 2 seeds, got 1; train more seeds")
        effects[:, m] = (
            float(seeds.std(ddof=1)) / math.sqrt(len(seeds)) * generator.standard_t(len(seeds) - 1, resamples)
        )
    return effects


def _standings(
    names: tuple[str, ...],
    datasets: Sequence[str],
    scores: NDArray[np.float64],
    drawn: NDArray[np.float64],
    alpha: float,
) -> Standings:
    size, resamples = len(names), len(drawn)
    counts = borda_counts(scores)
    resampled = (size - dataset_ranks(drawn)).sum(axis=1)  # (R, M)
    best = rankdata(-resampled, method="min", axis=1)
    worst = size + 1 - rankdata(resampled, method="min", axis=1)
    leaders = best == 1
    ahead = np.full((size, size), np.nan)
    for i in range(size):
        more = np.sign(resampled[:, [i]] - resampled)
        ahead[i] = (0.5 + 0.5 * more).mean(axis=0)
    np.fill_diagonal(ahead, np.nan)
    rates = resampled / (len(datasets) * (size - 1))
    places = rankdata(-counts, method="min").astype(np.int64)
    tails: dict[str, float] = {"low": alpha / 2, "high": 1 - alpha / 2}
    low = np.quantile(best, tails["low"], axis=0, method="inverted_cdf").astype(np.int64)
    high = np.quantile(worst, tails["high"], axis=0, method="inverted_cdf").astype(np.int64)
    return Standings(
        methods=names,
        datasets=tuple(datasets),
        scores=scores,
        ranks=dataset_ranks(scores),
        counts=counts,
        places=places,
        place_low=np.minimum(low, places),
        place_high=np.maximum(high, places),
        first=(leaders / leaders.sum(axis=1, keepdims=True)).mean(axis=0),
        wins=win_rates(scores),
        ahead=ahead,
        rates=counts / (len(datasets) * (size - 1)),
        rate_low=np.quantile(rates, tails["low"], axis=0),
        rate_high=np.quantile(rates, tails["high"], axis=0),
        alpha=alpha,
        resamples=resamples,
    )


def _check(datasets: Sequence[DatasetRuns]) -> None:
    images = [dataset.images for dataset in datasets]
    shared = [dataset.dataset for dataset in datasets if images.count(dataset.images) > 1]
    if shared:
        raise DuplicateQueries(f"datasets with the same images are one dataset: {', '.join(shared)}; keep one of them")
    if len(datasets) < 2:
        raise InvalidSetting(f"standings over datasets need at least 2 of them, got {len(datasets)}")
    names = {dataset.dataset: [run.name for run in dataset.methods] for dataset in datasets}
    every = {name for own in names.values() for name in own}
    for dataset, own in names.items():
        missing = sorted(every.difference(own))
        if missing or len(own) < 2 or len(set(own)) < len(own):
            raise InvalidSetting(
                f"standings need the same methods, at least 2 and each once, on every dataset; {dataset} has {len(own)}"
                + (f" and lacks {', '.join(missing)}" if missing else "")
            )
