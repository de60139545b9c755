"""Is the second reading calibrated? The hierarchical model against the truth and against the tests, on simulated methods.

Run `python -m tests.studies.second_reading`; it prints a Markdown table. Needs the extra `bayes`. Each setting is drawn
many times, and all of its posteriors are sampled at once.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from harness.reports.statistics.comparison import compare
from harness.reports.statistics.hierarchical.model import seed_variances
from harness.reports.statistics.hierarchical.moments import Moments, moments
from harness.reports.statistics.hierarchical.reading import posterior_scores
from harness.reports.statistics.settings import RSUM_TARGET
from tests.studies.simulation import World

#: Fits that are sampled together; more than that fill the memory for no gain.
BATCH = 50
#: Seed SD on the latent scale: none (seeds differ in their queries only), and about 5 points of rSum.
SEED_SDS = (0.0, 0.03)


@dataclass(frozen=True)
class Agreement:
    """One line: both readings of the first pair, over repetitions of one setting."""

    world: World
    repetitions: int
    scale: float  # of the prior on the seed SD, in points
    coverage: float  # of the 95 % posterior interval
    coverage_tests: float  # of the tests' interval
    width: float  # median of posterior width / tests' width
    centres: float  # largest |posterior mean - difference|, in points
    one_sided: float  # rate of P(A > B) > .975 or < .025
    rejected: float  # rate of p <= .05
    rope: float  # rate of P(in ROPE) >= .95
    tost: float  # rate of equivalence by TOST
    failed: int  # fits whose first attempt failed its diagnostics; they are in no rate


def measure(
    world: World, repetitions: int, seed: int, *, scale: float = RSUM_TARGET, margin: float = 15.0, batch: int = BATCH
) -> Agreement:
    """Draw a setting many times and read each draw twice, on rSum; `batch` draws are sampled at once."""
    generators = [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(repetitions)]
    truth = world.true_rsum(0) - world.true_rsum(1)
    found, failed = [], 0
    for start in range(0, repetitions, batch):
        runs = [world.draw(generator) for generator in generators[start : start + batch]]
        data = [moments(own, "rsum") for own in runs]
        for own, known, (seeds, diagnostics) in zip(runs, data, _fits(data, scale, seed + start, batch), strict=True):
            if diagnostics.failures:
                failed += 1
                continue
            row = compare(own, metrics=["rsum"], claim="method", resamples=199, equivalence=margin).rows[0]
            scores = posterior_scores(known, seeds, np.random.default_rng([seed, start]))
            draws = scores[:, 0] - scores[:, 1]
            low, high = np.quantile(draws, [0.025, 0.975])
            better = (draws > 0).mean()
            found.append(
                (
                    low <= truth <= high,
                    row.low <= truth <= row.high,
                    (high - low) / (row.high - row.low),
                    abs(draws.mean() - row.difference),
                    not 0.025 <= better <= 0.975,
                    row.p <= 0.05,
                    (np.abs(draws) < margin).mean() >= 0.95,
                    row.equivalence is not None and row.equivalence.equivalent,
                )
            )
    values = np.asarray(found, dtype=np.float64)
    means = values.mean(axis=0).tolist()
    means[2], means[3] = float(np.median(values[:, 2])), float(values[:, 3].max())
    return Agreement(world, len(found), scale, *means, failed)


def _fits(data: Sequence[Moments], scale: float, seed: int, batch: int) -> list:
    """One fit for every draw; a short last batch is filled up, since another shape would be compiled anew."""
    short = batch - len(data)
    padded = [*data, *[data[-1]] * short] if len(data) > short else list(data)
    first = padded[0]
    return seed_variances(
        np.stack([one.between for one in padded]),
        np.stack([one.image_noise for one in padded]),
        first.seeds.astype(np.float64),
        first.images_df * (first.seeds - 1.0),
        scales=np.full(len(padded), scale),
        rounding=(100.0 / first.size) ** 2 / 12.0,
        seed=seed,
        attempts=1,  # a second one would sample the whole batch again
    )[: len(data)]


def table(repetitions: int, seed: int = 0) -> Iterator[Agreement]:
    """Null and alternative, 3 and 5 seeds, 100 and 1,000 images; then other scales of the prior."""
    for images in (100, 1000):
        for seeds in (3, 5):
            for seed_sd in SEED_SDS:
                yield measure(_world(images, seeds, seed_sd), repetitions, seed)
    yield measure(_world(1000, 3, 0.03, offset=0.05), repetitions, seed + 1)
    yield measure(_world(1000, 3, 0.12), repetitions, seed + 2)
    for factor in (0.5, 2.0):
        yield measure(_world(1000, 3, 0.03), repetitions, seed, scale=factor * RSUM_TARGET)


def _world(images: int, seeds: int, seed_sd: float, offset: float = 0.0) -> World:
    return World(images=images, seeds=seeds, seed_sd=seed_sd, seed_query_sd=0.3, offset=offset)


def markdown_row(line: Agreement) -> str:
    """One line of the table; rates in percent."""
    world = line.world
    difference = world.true_rsum(0) - world.true_rsum(1)
    sd = world.seed_sd * _points_per_unit(world)
    rates = [line.coverage, line.coverage_tests, line.one_sided, line.rejected, line.rope, line.tost]
    shown = [f"{100 * rate:.1f}" for rate in rates]
    setting = f"{world.images:,} | {world.seeds} | {sd:.1f} | {difference:.1f} | {line.scale:g}"
    return f"| {setting} | {shown[0]} | {shown[1]} | {line.width:.2f} | {' | '.join(shown[2:])} | {line.failed} |"


def _points_per_unit(world: World) -> float:
    """Points of rSum by which a small shift of the latent scale moves a method."""
    step = 0.001
    moved = World(**{**world.__dict__, "offset": step})
    return (moved.true_rsum(1) - moved.true_rsum(0)) / step


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.studies.second_reading", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=200, help="draws for each setting (default 200)")
    parser.add_argument("--seed", type=int, default=0, help="random seed of all draws (default 0)")
    options = parser.parse_args()
    print(
        "| N | seeds | seed SD | difference | prior | coverage, model | coverage, tests | width | P(A > B) beyond "
        "| p <= .05 | ROPE | TOST | failed |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|"
    )
    for line in table(options.repetitions, options.seed):
        print(markdown_row(line), flush=True)


if __name__ == "__main__":
    main()
