"""From ranks to whole numbers per image: the columns that every test, interval and resampling is made of.

The image is the unit: its own query, all its captions, all recalls and all seeds move together. A recall (or rSum) is
`scale * sum_i x_i` with whole x_i, so that sums are exact in any order and on any number of threads. Under the expected
tie rule a query hits with a probability; it then counts whole parts of a hit, as many as `_EXACT_BITS` leave room for.

Shape letters: M methods, K metrics, S seeds, N images, T captions, G query groups (a direction in a fold).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.errors import UnknownName
from harness.records.ties import RECALLS
from harness.reports.statistics.errors import InvalidRanks
from harness.reports.statistics.runs import MethodRuns

METRICS = (*RECALLS, "rsum")
DIRECTIONS = ("i2t", "t2i")
# Sums must stay whole in float64; weights that would not are rounded to this many bits, far below any printed digit.
_EXACT_BITS = 50
#: Where hits are probabilities, a hit has between 2^6 and 2^20 parts.
_PART_BITS = (6, 20)
Part = tuple[str, int]
#: direction -> whole numbers, by image or by fold
Counts = Mapping[str, NDArray[np.int64]]


@dataclass(frozen=True, eq=False)
class ImageColumns:
    """Per-image numerators of M methods and K metrics, and what turns them into points and influences."""

    metrics: tuple[str, ...]
    numerators: NDArray[np.int64]  # (M, K, N); method m scores `scale[k] * numerators[m, k].sum()` points
    scale: NDArray[np.float64]  # (K,) points per unit of numerator
    groups: NDArray[np.int64]  # (G, N) queries of each image in each direction and fold
    group_means: NDArray[np.float64]  # (M, K, G) points that a query of the group adds to the metric, on average
    fold: NDArray[np.int64]  # (N,) from 0
    seed_scores: tuple[NDArray[np.float64], ...]  # per method (S_m, K) points of each seed alone

    @property
    def scores(self) -> NDArray[np.float64]:
        """(M, K) points of each method, averaged over its seeds."""
        return self.numerators.sum(axis=2) * self.scale

    def influence(self, numerators: NDArray[np.int64], group_means: NDArray[np.float64], k: int) -> NDArray[np.float64]:
        """Linearised contribution of each image to a score or a difference of scores, in points; it sums to zero.

        With equally many captions per image this is the centred contribution; with unequal counts it is that of the
        ratio estimator (hits over queries), where an image with more captions is expected to hit more.

        Args:
            numerators: (N,) of metric k.
            group_means: (G,) of the same score.
            k: the metric.

        Returns:
            (N,) float64.
        """
        return numerators * self.scale[k] - np.einsum("gn,g->n", self.groups, group_means)


def primary_metric(metrics: Sequence[str]) -> str:
    """The metric that verdicts and rankings are about: rSum if it is there, else the first."""
    return "rsum" if "rsum" in metrics else metrics[0]


def components(metric: str) -> tuple[Part, ...]:
    """The (direction, K) recalls that a metric sums: `rsum`, or one of `i2t_r<K>` and `t2i_r<K>`.

    Raises:
        UnknownName: another name.

    >>> components("t2i_r5")
    (('t2i', 5),)
    """
    if metric == "rsum":
        return tuple(part for recall in RECALLS for part in components(recall))
    found = re.fullmatch(r"(i2t|t2i)_r([1-9]\d{0,8})", metric)
    if not found:
        raise UnknownName("metric", metric, METRICS)
    return ((found[1], int(found[2])),)


def metric_name(metric: str) -> str:
    """A metric as tables and sentences name it.

    >>> metric_name("rsum"), metric_name("t2i_r1")
    ('rSum', 't2i R@1')
    """
    return "rSum" if metric == "rsum" else "{} R@{}".format(*components(metric)[0])


def decimals(metric: str) -> int:
    """Decimals of points: 1 for rSum, 2 for a recall."""
    return 1 if metric == "rsum" else 2


def query_counts(runs: MethodRuns) -> Counts:
    """Queries of each image by direction, each (N,): 0 or 1 image queries, and its number of captions."""
    captions = np.bincount(runs.caption_image, minlength=len(runs.image_ids)).astype(np.int64)
    return {"i2t": runs.image_queried.astype(np.int64), "t2i": captions}


def image_columns(methods: Sequence[MethodRuns], metrics: Sequence[str]) -> ImageColumns:
    """Aggregate the ranks of methods to images.

    Args:
        methods: M methods with identical ids, caption maps and folds, in one order (see `refusals.aligned`).
        metrics: K metric names.

    Raises:
        UnknownName: a metric that does not exist.
        InvalidRanks: a fold without queries in one direction.
    """
    first = methods[0]
    fold = np.unique(first.fold, return_inverse=True)[1].astype(np.int64)
    folds = int(fold.max()) + 1
    counts = query_counts(first)
    totals = {d: np.bincount(fold, weights=counts[d], minlength=folds).astype(np.int64) for d in DIRECTIONS}
    for direction, queries in totals.items():
        if (queries == 0).any():
            raise InvalidRanks(
                f"'{first.name}': {int((queries == 0).sum())} of {folds} folds have no {direction} query; "
                "give every fold queries in both directions"
            )
    parts = [components(metric) for metric in metrics]
    hits = [{part: _image_hits(run, *part) for part in sorted({p for ps in parts for p in ps})} for run in methods]
    common = math.lcm(*(len(run.seeds) for run in methods))
    whole = all(run.i2t_ties is None and run.t2i_ties is None for run in methods)

    numerators = np.zeros((len(methods), len(metrics), len(fold)), dtype=np.int64)
    group_means = np.zeros((len(methods), len(metrics), 2 * folds))
    scale = np.zeros(len(metrics))
    for j, recalls in enumerate(parts):
        asked = {d: totals[d] for d, _ in recalls}
        weights, unit = _whole_weights(asked)
        pieces = 1 if whole else _parts_of_a_hit(asked, weights)
        scale[j] = 100.0 * unit / (folds * common * pieces)
        for m, run in enumerate(methods):
            for d, k in recalls:
                parts_hit = np.rint(pieces * hits[m][d, k]).astype(np.int64)
                units = common // len(run.seeds) * weights[d][fold] * parts_hit.sum(axis=0)
                numerators[m, j] += units
                group = slice(0, folds) if d == "i2t" else slice(folds, 2 * folds)
                group_means[m, j, group] += scale[j] * np.bincount(fold, weights=units, minlength=folds) / totals[d]
    return ImageColumns(
        metrics=tuple(metrics),
        numerators=numerators,
        scale=scale,
        groups=np.stack([counts[d] * (fold == f) for d in DIRECTIONS for f in range(folds)]),
        group_means=group_means,
        fold=fold,
        seed_scores=tuple(np.stack([_seed_scores(own, ps, fold, totals) for ps in parts], axis=1) for own in hits),
    )


def _image_hits(runs: MethodRuns, direction: str, k: int) -> NDArray[np.float64]:
    """(S, N) hits at K of each seed, added up over the queries of each image."""
    hits = runs.hits(direction, k)
    if direction == "i2t":
        return hits
    size = len(runs.image_ids)
    return np.stack([np.bincount(runs.caption_image, weights=row, minlength=size) for row in hits])


def _seed_scores(
    hits: Mapping[Part, NDArray[np.float64]], parts: Sequence[Part], fold: NDArray[np.int64], totals: Counts
) -> NDArray[np.float64]:
    """(S,) points of each seed on the sum of some recalls, each averaged over folds."""
    one_hot = np.eye(len(totals["i2t"]), dtype=np.int64)[fold]  # (N, folds)
    return np.sum([(100.0 * (hits[d, k] @ one_hot) / totals[d]).mean(axis=1) for d, k in parts], axis=0)


def _whole_weights(totals: Counts) -> tuple[Counts, float]:
    """Whole weights proportional to 1 / queries of each direction and fold, and the value of one unit.

    With five captions per image an image query weighs 5 and a caption query 1. Folds of unequal sizes can make the
    common denominator astronomical; the weights are then rounded to `_EXACT_BITS` bits less those of the sums.
    """
    sizes = [int(n) for queries in totals.values() for n in queries]
    denominator = math.lcm(*sizes)
    weights = {d: [denominator // int(n) for n in queries] for d, queries in totals.items()}
    divisor = math.gcd(*(w for row in weights.values() for w in row))
    room = 2 ** _free_bits(sizes)
    largest = max(w for row in weights.values() for w in row) // divisor
    if largest <= room:
        whole = {d: np.asarray([w // divisor for w in row], dtype=np.int64) for d, row in weights.items()}
        return whole, divisor / denominator
    unit = 1.0 / (min(sizes) * room)
    return {d: np.asarray([round(1.0 / (n * unit)) for n in q], dtype=np.int64) for d, q in totals.items()}, unit


def _free_bits(sizes: Sequence[int]) -> int:
    """Bits that the weight of a query may have.

    A query adds at most 3 hits times the seeds' common denominator, taken as below 300, to a sum over all of them.
    """
    return _EXACT_BITS - math.ceil(math.log2(1000 * max(sizes) * len(sizes)))


def _parts_of_a_hit(totals: Counts, weights: Counts) -> int:
    sizes = [int(n) for queries in totals.values() for n in queries]
    largest = max(int(row.max()) for row in weights.values())
    return 2 ** int(np.clip(_free_bits(sizes) - math.ceil(math.log2(largest + 1)), *_PART_BITS))
