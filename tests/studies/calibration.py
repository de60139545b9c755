"""Does the machinery keep its promises? Type I error, coverage and family-wise error on simulated methods.

Run `python -m tests.studies.calibration`; it prints a Markdown table. The tests run a short form of it. Two kinds of
made-up methods are drawn: queries that depend on each other through their image only (`simulation.World`), and methods
that search one gallery, so that queries also depend on each other through what they all rank (`gallery.SharedGallery`).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy import stats

from harness.errors import counted
from harness.records.ties import RECALLS
from harness.reports.statistics.checks import number, whole
from harness.reports.statistics.comparison import compare
from harness.reports.statistics.errors import InvalidSetting
from harness.reports.statistics.hits import METRICS, image_columns
from harness.reports.statistics.hubs import gallery_counted
from harness.reports.statistics.noninferiority import non_inferiority
from harness.reports.statistics.power import POWER
from tests.studies.gallery import SharedGallery
from tests.studies.promises import FLICKR8K, QUICKSTART, found_in_hits, found_in_scores
from tests.studies.simulation import World, naive_p

ALPHA = 0.05
# Standard deviations of a method's way with an image and with a caption, for a low to high intra-image correlation.
CORRELATIONS = ((0.22, 0.70), (0.36, 0.64), (0.50, 0.48), (0.58, 0.32))
SEED_COUNTS = (3, 5, 10)
KINDS = ("queries", "gallery", "plans")
# Near-perfect methods whose few errors all come from hubs of their own: what the image as the unit cannot see.
HUBS = SharedGallery(dimension=32, method_image_sd=0.5, hub_sd=0.1)
MadeUp = World | SharedGallery


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

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Monte-Carlo interval of the rate (Clopper-Pearson)."""
        count = round(self.rate * self.repetitions)
        found = stats.binomtest(count, self.repetitions).proportion_ci(0.95, method="exact")
        return float(found.low), float(found.high)


def monte_carlo_error(rate: float, repetitions: int) -> float:
    """Three standard errors of a rate estimated from independent repetitions."""
    number(rate, "a rate", least=0, most=1)
    whole(repetitions, "repetitions", least=1)
    return 3.0 * math.sqrt(rate * (1.0 - rate) / repetitions)


def type_one_error(world: MadeUp, repetitions: int, seed: int) -> list[Measured]:
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
    setting = f"N = {world.images}, ICC {np.nanmean(correlations):.2f}{_of(world)}"
    rates = rejected.mean(axis=0)
    return [
        Measured("type I, t2i R@1, image cluster", setting, rates[1], ALPHA - slack, ALPHA + slack, repetitions),
        Measured("type I, rSum, image cluster", setting, rates[0], ALPHA - slack, ALPHA + slack, repetitions),
        Measured("type I, t2i R@1, per caption", setting, rates[2], 0.0, 1.0, repetitions, "the trap, for contrast"),
    ]


def hub_error(world: SharedGallery, repetitions: int, seed: int) -> list[Measured]:
    """Type I error on rSum where hubs make the errors: of the image-cluster test, and with the gallery counted."""
    kept = replace(world, keep_rivals=True)
    rejected = np.zeros((repetitions, 2))
    for i, generator in enumerate(_generators(seed, repetitions)):
        runs = kept.draw(generator)
        row = compare(runs, metrics=["rsum"], alpha=ALPHA, resamples=999, seed=i).rows[0]
        counted = gallery_counted(image_columns(runs, ["rsum"]), runs, row)
        rejected[i] = row.p <= ALPHA, counted.p <= ALPHA
    setting = f"N = {world.images}{_of(world)} of near-perfect methods"
    cluster, gallery = rejected.mean(axis=0).tolist()
    # A variance from few changes with heavy tails is approximate, and promised as such.
    high = max(0.08, ALPHA + monte_carlo_error(ALPHA, repetitions))
    return [
        Measured("type I, rSum, image cluster", setting, cluster, 0.0, 1.0, repetitions, "the limit, see below"),
        Measured("type I, rSum, gallery counted", setting, gallery, 0.0, high, repetitions),
    ]


def coverage(world: MadeUp, repetitions: int, seed: int) -> Measured:
    """Coverage of the 95 % interval of an rSum difference, the truth being known.

    With a shared gallery the truth has no formula: it is the mean over all draws, whose error is a `1 / sqrt(repetitions)`
    part of the interval's.
    """
    found = np.asarray(
        [
            (row.difference, row.low, row.high)
            for generator in _generators(seed, repetitions)
            for row in compare(world.draw(generator), metrics=["rsum"], alpha=ALPHA, resamples=199).rows
        ]
    )
    known = world.true_rsum(0) - world.true_rsum(1) if isinstance(world, World) else None
    truth = float(found[:, 0].mean()) if known is None else known
    covered = float(((found[:, 1] <= truth) & (truth <= found[:, 2])).mean())
    slack = max(0.01, monte_carlo_error(1 - ALPHA, repetitions))
    setting = f"N = {world.images}, true difference {truth:.1f}{_of(world)}"
    return Measured("coverage, rSum, cluster-t", setting, covered, 0.95 - slack, 0.95 + slack, repetitions)


def family_wise_error(world: MadeUp, repetitions: int, seed: int) -> list[Measured]:
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
    setting = f"{world.methods} equal methods, N = {world.images}{_of(world)}"
    lines = [
        Measured(f"family-wise error, {name}", setting, rate, 0.0, high, repetitions)
        for name, rate in zip(names, errors.mean(axis=0).tolist(), strict=True)
    ]
    return [*lines[:3], replace(lines[3], high=1.0, note="for contrast")]


def method_claims(world: MadeUp, repetitions: int, seed: int) -> list[Measured]:
    """Type I error of claims about equal methods over seeds: raw for one pair, and joint by maxT over all pairs."""
    errors = np.zeros((repetitions, 2))
    for i, generator in enumerate(_generators(seed, repetitions)):
        runs = world.draw(generator)
        result = compare(runs, metrics=["rsum"], claim="method", correction="maxt", alpha=ALPHA, resamples=999, seed=i)
        errors[i] = [result.rows[0].p <= ALPHA, any(row.significant for row in result.rows)]
    setting = f"{world.seeds} seeds, N = {world.images}{_of(world)}"
    slack = monte_carlo_error(ALPHA, repetitions)
    rates = errors.mean(axis=0).tolist()
    pair = Measured(
        "method claim, one pair", setting, rates[0], min(0.02, ALPHA - slack), max(0.07, ALPHA + slack), repetitions
    )
    joint = f"method claim, maxT over {world.methods * (world.methods - 1) // 2} pairs"
    return [pair, Measured(joint, setting, rates[1], 0.0, max(0.07, ALPHA + slack), repetitions)]


def gate_error(world: World, repetitions: int, seed: int) -> Measured:
    """How often `itm gate` passes a method that is worse than the baseline by exactly the margin."""
    margin = world.true_rsum(0) - world.true_rsum(1)
    passed = [
        non_inferiority(*world.draw(generator), min_delta=margin).outcome == "non-inferior"
        for generator in _generators(seed, repetitions)
    ]
    claim = "method" if world.seeds >= 3 else "checkpoint"
    setting = f"N = {world.images}, {counted(world.seeds, 'seed')}, margin {margin:.1f}"
    high = ALPHA + monte_carlo_error(ALPHA, repetitions)
    return Measured(f"gate, type I, {claim} claim", setting, float(np.mean(passed)), 0.0, high, repetitions)


def table(repetitions: int, seed: int = 0, kinds: Sequence[str] = KINDS) -> Iterator[Measured]:
    """The whole calibration, line by line as it is measured.

    Args:
        repetitions: draws for each setting; 2,000 put the Monte-Carlo error of 5 % at 1.5 points.
        seed: of everything.
        kinds: `queries` that depend on each other through their image, `gallery` for a shared gallery, `plans` for
            `itm gate` and `itm power`.

    Yields:
        The lines.
    """
    if "queries" in kinds:
        yield from _query_lines(repetitions, seed)
    if "gallery" in kinds:
        yield from _gallery_lines(repetitions, seed)
    if "plans" in kinds:
        yield from _plan_lines(repetitions, seed)


def _query_lines(repetitions: int, seed: int) -> Iterator[Measured]:
    for image_sd, caption_sd in CORRELATIONS:
        yield from type_one_error(World(method_image_sd=image_sd, method_caption_sd=caption_sd), repetitions, seed)
    yield from type_one_error(World(images=200, method_image_sd=0.26, method_caption_sd=0.68), repetitions, seed)
    for images in (1000, 200, 50):
        yield coverage(World(images=images, offset=0.05), repetitions, seed + 1)
    for images in (500, 300):
        yield from family_wise_error(World(images=images, methods=5), repetitions, seed + 2)
    for seeds in SEED_COUNTS:
        world = World(images=500, methods=4, seeds=seeds, seed_sd=0.03, seed_query_sd=0.3)
        yield from method_claims(world, repetitions, seed + 3)


def _plan_lines(repetitions: int, seed: int) -> Iterator[Measured]:
    for seeds in (1, *SEED_COUNTS):
        world = World(images=500, seeds=seeds, seed_sd=0.03 * (seeds > 1), seed_query_sd=0.3, offset=0.05)
        yield gate_error(world, repetitions, seed + 4)
    for name, components, images, comparisons in (("quickstart", QUICKSTART, 500, 6), ("flickr8k", FLICKR8K, 1000, 21)):
        for seeds in (1, *SEED_COUNTS):
            of = f"{name}, {counted(seeds, 'seed')}, N = {images}, {comparisons} comparisons"
            sized = {"images": images, "seeds": seeds, "comparisons": comparisons, "repetitions": repetitions}
            yield kept_power(found_in_scores(components, seed=seed + 5, **sized), of, repetitions)
    for seeds in (1, 3, 5):
        of = f"ranks to verdict, {counted(seeds, 'seed')}, N = 150"
        yield kept_power(found_in_hits(seeds=seeds, repetitions=repetitions, seed=seed + 6), of, repetitions)


def kept_power(rate: float, setting: str, repetitions: int) -> Measured:
    """How often the difference is found of which `itm power` says that 80 % of experiments find it."""
    slack = monte_carlo_error(POWER, repetitions)
    return Measured("planned difference found", setting, rate, POWER - slack, POWER + slack, repetitions)


def _gallery_lines(repetitions: int, seed: int) -> Iterator[Measured]:
    yield from type_one_error(SharedGallery(), repetitions, seed)
    for hub_sd in (0.05, 0.08):  # hubs that spoil good and bad queries alike make the test careful, which is no fault
        for line in type_one_error(SharedGallery(hub_sd=hub_sd), repetitions, seed):
            yield replace(line, low=0.0)
    yield from hub_error(HUBS, repetitions, seed)
    yield coverage(SharedGallery(offset=0.05), repetitions, seed + 1)
    yield from family_wise_error(SharedGallery(images=300, methods=5), repetitions, seed + 2)
    world = SharedGallery(images=300, methods=4, seeds=3, seed_sd=0.3, seed_level_sd=0.2)
    yield from method_claims(world, repetitions, seed + 3)


def _of(world: MadeUp) -> str:
    return f", {world.kind}" if world.kind else ""


def markdown_row(line: Measured) -> str:
    """One line of the table, in percent."""
    low, high = line.interval
    promise = "-" if line.note else f"{100 * max(line.low, 0.0):.1f} to {100 * min(line.high, 1.0):.1f}"
    verdict = line.note or ("yes" if line.within else "NO")
    measured = f"{100 * line.rate:.1f} | {100 * low:.1f} to {100 * high:.1f}"
    return f"| {line.what} | {line.setting} | {measured} | {promise} | {verdict} |"


def _generators(seed: int, repetitions: int) -> Iterator[np.random.Generator]:
    for child in np.random.SeedSequence(seed).spawn(repetitions):
        yield np.random.default_rng(child)


def main(arguments: Sequence[str] | None = None, write: Callable[[str], None] | None = None) -> int:
    """Print the table; return 1 if a promise was broken."""
    write = write or partial(print, flush=True)  # a line may take minutes, and a file would wait for several
    parser = argparse.ArgumentParser(prog="python -m tests.studies.calibration", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=2000, help="draws for each setting (default 2000)")
    parser.add_argument("--seed", type=int, default=0, help="random seed of all draws (default 0)")
    parser.add_argument(
        "--kind", choices=[*KINDS, "all"], default="all", help="made-up methods to draw (default all): see the module"
    )
    options = parser.parse_args(arguments)
    try:
        whole(options.repetitions, "--repetitions", least=1, most=1_000_000)
        whole(options.seed, "--seed")
    except InvalidSetting as error:
        parser.error(str(error))
    write(f"{options.repetitions} repetitions, alpha {ALPHA:g}, seed {options.seed}; rates in percent\n")
    write("| what | setting | measured | 95 % Monte-Carlo | promised | kept |\n|---|---|---|---|---|---|")
    kept = True
    for line in table(options.repetitions, options.seed, KINDS if options.kind == "all" else (options.kind,)):
        write(markdown_row(line))
        kept = kept and line.within
    return 0 if kept else 1


if __name__ == "__main__":
    raise SystemExit(main())
