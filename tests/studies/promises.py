"""Does `itm power` keep its promise? Plans, and experiments of the planned size in which a true difference of that size is.

Two simulations. `found_in_scores` draws the contributions of images and seeds as the components say, with the variances
that trained models had. `found_in_hits` knows nothing of components: it draws ranks (`simulation.World`), plans from a
large recorded experiment, and sends whole new experiments through `compare`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from scipy import optimize, stats

from harness.reports.statistics.comparison import compare
from harness.reports.statistics.planning import Components, Target, of_runs
from tests.studies.simulation import World

#: Components of rSum that `itm power` finds in the runs of `itm leaderboard quickstart` (4 methods x 3 seeds, 500 images)
#: and `itm leaderboard flickr8k_pretrained` (7 methods x 3 seeds, 1,000 images).
QUICKSTART = Components(images=5072.7, interactions=(13528.3, 13528.3), seeds=(484.8, 484.8))
FLICKR8K = Components(images=5199.8, interactions=(6602.2, 6602.2), seeds=(2.18, 2.18))


def found_in_scores(
    components: Components, *, images: int, seeds: int, comparisons: int, repetitions: int, seed: int
) -> float:
    """How often the difference that is said to be found in 80 % is found, of tests as a report makes them.

    Args:
        components: of the pair; both methods alike.
        images, seeds: of the planned experiment.
        comparisons: tests in the family; the level is alpha / comparisons.
        repetitions: experiments.
        seed: of the draws.
    """
    target = Target(comparisons=comparisons)
    truth = target.detectable(components, images, seeds)
    generator, p = np.random.default_rng(seed), np.empty(repetitions)
    for i in range(repetitions):
        sides = [_scores(components, which, images, seeds, generator) for which in (0, 1)]
        difference = sides[0].mean(axis=0) - sides[1].mean(axis=0) + truth  # (N,)
        variances = [(difference.var(ddof=1) / images, images - 1.0)]
        if seeds > 1:
            variances += [(side.mean(axis=1).var(ddof=1) / seeds, seeds - 1.0) for side in sides]
        total = sum(v for v, _ in variances)
        df = total**2 / sum(v**2 / own for v, own in variances)
        p[i] = 2 * stats.t.sf(abs(difference.mean()) / np.sqrt(total), df)
    return float((p <= target.level).mean())


def found_in_hits(*, seeds: int, repetitions: int, seed: int, images: int = 150) -> float:
    """How often a planned difference between two methods is found, from ranks to the verdict of `compare`.

    The plan rests on eight pilots of 60 seeds each, so that only the promise is tried, not how well a small pilot knows its
    variances. Seeds of a claim about checkpoints do not differ as a whole, or the truth would not be the planned one.
    """
    world = World(images=600, seeds=60, seed_sd=0.06 if seeds > 1 else 0.0, seed_query_sd=0.5, offset=-0.25)
    pilots = [of_runs(world.draw(draw), "rsum") for draw in _generators(seed + 1000, 8)]
    planned = Target().detectable(_mean([found for pilot in pilots for found in pilot.values()]), images, seeds)
    offset = float(optimize.brentq(lambda x: _true(replace(world, offset=x)) - planned, -1.5, 0.0))
    experiment = replace(world, images=images, seeds=seeds, offset=offset)
    claim = "method" if seeds > 1 else "checkpoint"
    resamples = 199 if seeds > 1 else 1999  # the sign flips of a claim about checkpoints cost power where they are few
    verdicts = [
        compare(experiment.draw(draw), metrics=["rsum"], claim=claim, resamples=resamples).rows[0].significant
        for draw in _generators(seed, repetitions)
    ]
    return float(np.mean(verdicts))


def _mean(found: Sequence[Components]) -> Components:
    """The mean of several pilots."""
    interactions = np.mean([one.interactions for one in found], axis=0).tolist()
    seeds = np.mean([one.seeds for one in found], axis=0).tolist()
    images = float(np.mean([one.images for one in found]))
    return Components(images, (interactions[0], interactions[1]), (seeds[0], seeds[1]))


def _true(world: World) -> float:
    return world.true_rsum(0) - world.true_rsum(1)


def _scores(components: Components, which: int, images: int, seeds: int, generator: np.random.Generator) -> np.ndarray:
    """(S, N) contributions of images to a method's score in each seed; what two methods share cancels out, and is left out."""
    common = np.sqrt(components.images / 2) * generator.standard_normal(images)
    further = np.sqrt(components.interactions[which]) * generator.standard_normal((seeds, images))
    of_seed = 0.0 if components.seeds is None or seeds == 1 else np.sqrt(components.seeds[which])
    return common + further + of_seed * generator.standard_normal((seeds, 1))


def _generators(seed: int, repetitions: int) -> Iterator[np.random.Generator]:
    for child in np.random.SeedSequence(seed).spawn(repetitions):
        yield np.random.default_rng(child)
