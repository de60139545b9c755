"""What a planned set-up would find: from the components of the variance to detectable differences, images and seeds.

The variance of a difference has three components: images, alike for all seeds; how each seed's results on an image differ
(interaction); and how seeds differ as a whole. More seeds average out the second and third, more images the first and the
second. Recorded runs give all three, and so say what other numbers of seeds and images would do.

Source: Brennan, Generalizability Theory, 2001 (decision studies), with the image as the unit.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from harness.reports.statistics.checks import number, whole
from harness.reports.statistics.hits import image_columns
from harness.reports.statistics.power import POWER, Part, detectable_at, power_at
from harness.reports.statistics.refusals import aligned, refuse_few_images
from harness.reports.statistics.runs import MethodRuns

MOST_SEEDS = 100
MOST_IMAGES = 10_000_000


@dataclass(frozen=True)
class Components:
    """Components of the variance of a difference between two methods; points squared.

    Args:
        images: variance of an image's contribution to the difference, common to all seeds; its mean over N images has
            1/N of it.
        interactions: of each method, the further variance of an image's contribution from seed to seed.
        seeds: of each method, the variance of its score from seed to seed on infinitely many images; None = unknown.
        strata: folds, each of which takes a degree of freedom.
    """

    images: float
    interactions: tuple[float, float] = (0.0, 0.0)
    seeds: tuple[float, float] | None = None
    strata: int = 1

    def parts(self, images: int, seeds: int) -> list[Part]:
        """What a test of that size estimates, on average: one seed is a claim about checkpoints, more one about methods."""
        across = (self.images + sum(self.interactions) / seeds) / images
        if seeds == 1:
            return [Part(across, images - self.strata)]
        return [
            Part(across, images - self.strata),
            *(Part(term, seeds - 1) for term in self.of_seeds(images, seeds)),
        ]

    def of_seeds(self, images: int, seeds: int) -> tuple[float, float]:
        """What seeds add to the variance of the difference, by method; scores on N images differ by their noise, too."""
        assert self.seeds is not None
        first, second = zip(self.seeds, self.interactions, strict=True)
        return (first[0] + first[1] / images) / seeds, (second[0] + second[1] / images) / seeds

    def variance(self, images: int, seeds: int) -> float:
        """The true variance of the difference: the interaction counts once, where the test counts it twice."""
        if seeds == 1:
            return self.parts(images, seeds)[0].variance
        return self.images / images + sum(self.of_seeds(images, seeds))


@dataclass(frozen=True)
class Target:
    """What a plan is to achieve: a power at a level, divided by the number of comparisons."""

    alpha: float = 0.05
    power: float = POWER
    comparisons: int = 1

    def __post_init__(self) -> None:
        number(self.alpha, "alpha", above=0, below=0.5)
        number(self.power, "power", above=self.alpha, below=1)
        whole(self.comparisons, "the number of comparisons", least=1)

    @property
    def level(self) -> float:
        """Of each test: as the strictest of Holm's, so that the plan holds whatever the other pairs give."""
        return self.alpha / self.comparisons

    def detectable(self, components: Components, images: int, seeds: int) -> float:
        """Smallest true difference that is found, in points."""
        parts, variance = components.parts(images, seeds), components.variance(images, seeds)
        return detectable_at(parts, alpha=self.level, power=self.power, variance=variance)

    def chance(self, components: Components, images: int, seeds: int, difference: float) -> float:
        """Chance that a true difference is found."""
        parts, variance = components.parts(images, seeds), components.variance(images, seeds)
        return 1.0 if variance == 0 else power_at(difference, parts, alpha=self.level, variance=variance)

    def images_needed(self, components: Components, seeds: int, difference: float) -> int | None:
        """Fewest images with which it is found; None where that takes more than ten million."""
        fewest = max(30, 2 * components.strata)
        return _first(lambda n: self.chance(components, n, seeds, difference) >= self.power, fewest, MOST_IMAGES)

    def seeds_needed(self, components: Components, images: int, difference: float) -> int | None:
        """Fewest seeds of each method, from 3, with which it is found; None where more than a hundred are needed."""
        if components.seeds is None:
            return None
        return _first(lambda s: self.chance(components, images, s, difference) >= self.power, 3, MOST_SEEDS)


def of_guess(sd_images: float, sd_seeds: float | None = None) -> Components:
    """Components from a stated guess: the SD of the images' contributions, and of a method's score over seeds.

    >>> of_guess(60.0, 2.0).parts(1000, 1)[0].variance
    3.6
    """
    number(sd_images, "the SD over images", above=0)
    seeds = None if sd_seeds is None else number(sd_seeds, "the SD over seeds", least=0) ** 2
    return Components(float(sd_images) ** 2, seeds=None if seeds is None else (seeds, seeds))


def sd_of_disagreement(disagreement: float, icc: float, captions: int = 5) -> float:
    """SD over images of a t2i recall's difference, in points, from the share of captions on which two methods disagree.

    Args:
        disagreement: share of captions that one method finds and the other does not.
        icc: correlation of the differences of an image's captions.
        captions: per image.

    >>> round(280 / 100 * sd_of_disagreement(0.2, 0.25) / 1000**0.5, 4)  # 280 sqrt(D (1 + 4 ICC) / (5 N)) at N = 1,000
    2.5044
    """
    number(disagreement, "the disagreement", above=0, most=1)
    number(icc, "the intra-image correlation", least=-1.0 / max(captions - 1, 1), most=1)
    whole(captions, "captions per image", least=1)
    return 100.0 * math.sqrt(disagreement * (1.0 + (captions - 1) * icc) / captions)


def of_runs(methods: Sequence[MethodRuns], metric: str) -> dict[tuple[str, str], Components]:
    """The components of every pair of recorded methods; a method of one seed has no seed variance and no interaction.

    Args:
        methods: two or more that answered the same queries.
        metric: `rsum` or a recall.

    Raises:
        InvalidComparison, UnknownName: see `compare`.
    """
    ordered = aligned(methods)
    size = len(ordered[0].image_ids)
    refuse_few_images(size)
    singles = [_one_seed(runs, row) for runs in ordered for row in range(len(runs.seeds))]
    columns = image_columns(singles, [metric])
    influence = np.stack(
        [columns.influence(columns.numerators[i, 0], columns.group_means[i, 0], 0) for i in range(len(singles))]
    )
    folds = np.bincount(columns.fold)
    weights = (folds / (folds - 1.0))[columns.fold]
    covariance = size * np.einsum("in,jn,n->ij", influence, influence, weights)
    rows = np.cumsum([0, *(len(runs.seeds) for runs in ordered)])
    blocks = [slice(start, stop) for start, stop in itertools.pairwise(rows.tolist())]
    own = [_within(covariance[block, block]) for block in blocks]
    scores = [columns.scores[block, 0] for block in blocks]
    seeds = [_seed_variance(values, interaction / size) for values, (_, interaction) in zip(scores, own, strict=True)]
    found = {}
    for a in range(len(ordered)):
        for b in range(a + 1, len(ordered)):
            between = float(covariance[blocks[a], blocks[b]].mean())
            pair = (seeds[a], seeds[b])
            found[ordered[a].name, ordered[b].name] = Components(
                images=max(own[a][0] + own[b][0] - 2.0 * between, 0.0),
                interactions=(own[a][1], own[b][1]),
                seeds=None if None in pair else pair,  # type: ignore[arg-type]
                strata=len(folds),
            )
    return found


@dataclass(frozen=True)
class Pooled:
    """The components of a typical pair of recorded methods, and what is known of them."""

    components: Components
    sd_seeds: float | None  # of a method's score at the recorded number of images, points
    df_seeds: int  # degrees of freedom behind it, over all methods

    @property
    def seed_range(self) -> tuple[float, float]:
        """Factors between which the true SD over seeds lies with 90 % confidence."""
        df = self.df_seeds
        return math.sqrt(df / stats.chi2.isf(0.05, df)), math.sqrt(df / stats.chi2.isf(0.95, df))


def pool(pairs: dict[tuple[str, str], Components], methods: Sequence[MethodRuns], metric: str) -> Pooled:
    """A typical pair: the median over pairs for images, the median over methods for seeds and their interaction.

    Medians, so that one wild method does not decide. A variance from few seeds lies below the true one more often than
    not; its median is divided by that of chi²(S - 1) / (S - 1).

    Args:
        pairs: of `of_runs`.
        methods: the same methods.
        metric: the same metric.
    """
    images = float(np.median([pair.images for pair in pairs.values()]))
    strata = next(iter(pairs.values())).strata
    several = [runs for runs in methods if len(runs.seeds) > 1]
    if not several:
        return Pooled(Components(images, strata=strata), None, 0)
    interactions = {
        name: value for names, pair in pairs.items() for name, value in zip(names, pair.interactions, strict=True)
    }
    interaction = float(np.median([interactions[runs.name] for runs in several]))
    unbiased = []
    for runs in several:
        df = len(runs.seeds) - 1
        scores = image_columns([runs], [metric]).seed_scores[0][:, 0]
        unbiased.append(float(scores.var(ddof=1)) / (float(stats.chi2.median(df)) / df))
    total = float(np.median(unbiased))
    alone = max(total - interaction / len(methods[0].image_ids), 0.0)
    made = Components(images, (interaction, interaction), (alone, alone), strata)
    return Pooled(made, math.sqrt(total), sum(len(runs.seeds) - 1 for runs in several))


def _one_seed(runs: MethodRuns, row: int) -> MethodRuns:
    """One of the seeds as runs of their own."""
    keep = slice(row, row + 1)
    return replace(
        runs,
        name=f"{runs.name} seed {runs.seeds[row]}",
        seeds=tuple(runs.seeds)[keep],
        i2t_ranks=runs.i2t_ranks[keep],
        t2i_ranks=runs.t2i_ranks[keep],
        i2t_ties=None if runs.i2t_ties is None else runs.i2t_ties[keep],
        t2i_ties=None if runs.t2i_ties is None else runs.t2i_ties[keep],
        rivals=None,
    )


def _within(block: NDArray[np.float64]) -> tuple[float, float]:
    """Variance of an image's contribution that a method's seeds share, and that of each seed beyond it."""
    size = len(block)
    mean = float(np.trace(block)) / size
    if size == 1:
        return mean, 0.0
    shared = float(block.sum() - np.trace(block)) / (size * (size - 1))
    return shared, max(mean - shared, 0.0)


def _seed_variance(scores: NDArray[np.float64], noise: float) -> float | None:
    return max(float(scores.var(ddof=1)) - noise, 0.0) if len(scores) > 1 else None


def _first(holds: Callable[[int], bool], least: int, most: int) -> int | None:
    """The first number from `least` at which something holds, searched in steps that double and then halved."""
    low, high = least - 1, least
    while not holds(high):
        if high >= most:
            return None
        low, high = high, min(max(high + 1, math.floor(1.5 * high)), most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
