"""Does the machinery keep its promises? Type I error, coverage and family-wise error on simulated methods.

Run `python -m reports.statistics.calibration`; it prints a Markdown table. The tests run a short form of it.
"""

from __future__ import annotations

import argparse
import gc
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from reports.statistics.comparison import compare
from reports.statistics.hits import METRICS, RECALLS
from reports.statistics.simulation import World, naive_p

ALPHA = 0.05
# Standard deviations of a method's way with an image and with a caption, for a low to high intra-image correlation.
CORRELATIONS = ((0.22, 0.70), (0.36, 0.64), (0.50, 0.48), (0.58, 0.32))
SEED_COUNTS = (3, 5, 10)


@dataclass(frozen=True)
class Measured:
    """One line of the table: a rate over repetitions and the range in which it should lie."""

    what: str
    setting: str
    rate: float
    low: float
    high: float
    repetitions: int
    note: str = ""

    @property
    def within(self) -> bool:
        """Whether the promise was kept."""
        return self.low <= self.rate <= self.high


def monte_carlo_error(rate: float, repetitions: int) -> float:
    """Three standard errors of a rate estimated from independent repetitions."""
    return 3.0 * math.sqrt(rate * (1.0 - rate) / repetitions)


def type_one_error(world: World, repetitions: int, seed: int) -> list[Measured]:
    """Type I error of the image-cluster test on t2i R@1 and rSum, and of the per-caption test for contrast."""
    rejected = np.zeros((repetitions, 3))
    correlations = []
    for i, generator in enumerate(_generators(seed, repetitions)):
        runs = world.draw(generator)
        result = compare(runs, metrics=["rsum", "t2i_r1"], alpha=ALPHA, resamples=999, seed=i)
        hits = [(r.t2i_ranks[0] < 1).astype(float) for r in runs]
        rejected[i] = [*(row.p <= ALPHA for row in result.rows), naive_p(hits[0] - hits[1]) <= ALPHA]
        correlations.append(result.rows[1].diagnostics.icc)
    slack = monte_carlo_error(ALPHA, repetitions)
    setting = f"N = {world.images}, ICC {np.nanmean(correlations):.2f}"
    rates = rejected.mean(axis=0)
    return [
        Measured("type I, t2i R@1, image cluster", setting, rates[1], ALPHA - slack, ALPHA + slack, repetitions),
        Measured("type I, rSum, image cluster", setting, rates[0], ALPHA - slack, ALPHA + slack, repetitions),
        Measured("type I, t2i R@1, per caption", setting, rates[2], 0.0, 1.0, repetitions, "the trap, for contrast"),
    ]


def coverage(world: World, repetitions: int, seed: int) -> Measured:
    """Coverage of the 95 % interval of an rSum difference, the truth being known."""
    truth = world.true_rsum(0) - world.true_rsum(1)
    covered = 0
    for generator in _generators(seed, repetitions):
        row = compare(world.draw(generator), metrics=["rsum"], alpha=ALPHA, resamples=199).rows[0]
        covered += row.low <= truth <= row.high
    slack = max(0.01, monte_carlo_error(1 - ALPHA, repetitions))
    setting = f"N = {world.images}, true difference {truth:.1f}"
    return Measured(
        "coverage, rSum, cluster-t", setting, covered / repetitions, 0.95 - slack, 0.95 + slack, repetitions
    )


def family_wise_error(world: World, repetitions: int, seed: int) -> list[Measured]:
    """Chance that any of the pairs of equal methods is called different, by family and correction."""
    names = ("rSum pairs, Holm", "rSum pairs, maxT", "recall pairs, maxT", "all, uncorrected")
    errors = np.zeros((repetitions, len(names)))
    for i, generator in enumerate(_generators(seed, repetitions)):
        runs = world.draw(generator)
        holm = compare(runs, metrics=METRICS, correction="holm", alpha=ALPHA, resamples=1999, seed=i)
        maxt = compare(runs, metrics=["rsum"], correction="maxt", alpha=ALPHA, resamples=1999, seed=i)
        errors[i] = [
            any(row.significant for row in holm.of_metric("rsum")),
            any(row.significant for row in maxt.rows),
            any(row.significant for metric in RECALLS for row in holm.of_metric(metric)),
            any(row.p <= ALPHA for row in holm.rows),
        ]
    high = ALPHA + monte_carlo_error(ALPHA, repetitions)
    setting = f"{world.methods} equal methods, N = {world.images}"
    lines = [
        Measured(f"family-wise error, {name}", setting, rate, 0.0, high, repetitions)
        for name, rate in zip(names, errors.mean(axis=0).tolist(), strict=True)
    ]
    return [*lines[:3], replace(lines[3], high=1.0, note="for contrast")]


def method_claims(world: World, repetitions: int, seed: int) -> list[Measured]:
    """Type I error of claims about equal methods over seeds: raw for one pair, and joint by maxT over all pairs."""
    errors = np.zeros((repetitions, 2))
    for i, generator in enumerate(_generators(seed, repetitions)):
        runs = world.draw(generator)
        result = compare(runs, metrics=["rsum"], claim="method", correction="maxt", alpha=ALPHA, resamples=999, seed=i)
        errors[i] = [result.rows[0].p <= ALPHA, any(row.significant for row in result.rows)]
    setting = f"{world.seeds} seeds, N = {world.images}"
    slack = monte_carlo_error(ALPHA, repetitions)
    rates = errors.mean(axis=0).tolist()
    pair = Measured(
        "method claim, one pair", setting, rates[0], min(0.02, ALPHA - slack), max(0.07, ALPHA + slack), repetitions
    )
    joint = f"method claim, maxT over {world.methods * (world.methods - 1) // 2} pairs"
    return [pair, Measured(joint, setting, rates[1], 0.0, max(0.07, ALPHA + slack), repetitions)]


def table(repetitions: int, seed: int = 0) -> Iterator[Measured]:
    """The whole calibration, line by line as it is measured.

    Args:
        repetitions: draws for each setting; 2,000 put the Monte-Carlo error of 5 % at 1.5 points.
        seed: of everything.

    Yields:
        The lines.
    """
    for image_sd, caption_sd in CORRELATIONS:
        yield from type_one_error(World(method_image_sd=image_sd, method_caption_sd=caption_sd), repetitions, seed)
    for images in (1000, 200, 50):
        yield coverage(World(images=images, offset=0.05), repetitions, seed + 1)
    yield from family_wise_error(World(images=500, methods=5), repetitions, seed + 2)
    for seeds in SEED_COUNTS:
        world = World(images=500, methods=4, seeds=seeds, seed_sd=0.03, seed_query_sd=0.3)
        yield from method_claims(world, repetitions, seed + 3)


def markdown_row(line: Measured) -> str:
    """One line of the table, in percent."""
    promise = "-" if line.note else f"{100 * max(line.low, 0.0):.1f} to {100 * min(line.high, 1.0):.1f}"
    verdict = line.note or ("yes" if line.within else "NO")
    return f"| {line.what} | {line.setting} | {100 * line.rate:.1f} | {promise} | {verdict} |"


def _generators(seed: int, repetitions: int) -> Iterator[np.random.Generator]:
    for child in np.random.SeedSequence(seed).spawn(repetitions):
        yield np.random.default_rng(child)


def main(arguments: Sequence[str] | None = None, write: Callable[[str], None] = print) -> int:
    """Print the table; return 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m reports.statistics.calibration", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=2000, help="draws for each setting (default 2000)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    gc.freeze()  # statsmodels collects garbage at every Holm correction; this spares it the imported modules
    write(f"{options.repetitions} repetitions, alpha {ALPHA:g}, seed {options.seed}; rates in percent\n")
    write("| what | setting | measured | promised | kept |\n|---|---|---|---|---|")
    kept = True
    for line in table(options.repetitions, options.seed):
        write(markdown_row(line))
        kept = kept and line.within
    return 0 if kept else 1


if __name__ == "__main__":
    raise SystemExit(main())
