"""The made-up methods with a shared gallery: their ranks, their marginals, and a null that is null."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.metrics import ranks
from harness.reports.statistics.comparison import compare
from harness.reports.statistics.hits import METRICS, components, image_columns
from harness.reports.statistics.queries import QueryHits
from harness.reports.statistics.rivals import gallery_ranks
from tests.studies.calibration import HUBS
from tests.studies.gallery import SharedGallery


def scores(world: SharedGallery, draws: int, metrics=METRICS, seed: int = 0) -> np.ndarray:
    """(draws, M, K) points."""
    generators = [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(draws)]
    return np.stack([image_columns(world.draw(generator), metrics).scores for generator in generators])


@pytest.mark.parametrize("levels", [0, 3])  # continuous scores, and scores full of ties
@pytest.mark.parametrize("owner", [np.repeat(np.arange(7), 3), np.array([0, 0, 0, 1, 2, 2, 3, 4, 5, 6, 6])])
def test_ranks_are_those_of_the_metrics(levels, owner):
    generator = np.random.default_rng(0)
    similarity = generator.standard_normal((7, len(owner)))
    similarity = np.rint(similarity * levels) if levels else similarity
    for ours, theirs in zip(gallery_ranks(similarity, owner), ranks(similarity, owner), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_methods_that_see_nothing_are_at_chance():
    """Drawing K of T captions, 5 of them positive, and K of N images, 1 of them positive."""
    world = SharedGallery(images=30, method_image_sd=1e6, method_caption_sd=1e6)
    found = scores(world, 200)
    for metric, points in zip(METRICS, found.transpose(2, 0, 1), strict=True):
        chance = [
            1 - math.comb(145, k) / math.comb(150, k) if direction == "i2t" else k / 30
            for direction, k in components(metric)
        ]
        error = points.mean(axis=1).std(ddof=1) / math.sqrt(len(points))
        assert abs(points.mean() - 100 * sum(chance)) < 4 * error, metric


def test_methods_without_noise_are_perfect():
    world = SharedGallery(images=50, caption_sd=1e-3, method_image_sd=1e-3, method_caption_sd=1e-3)
    assert scores(world, 1, ["rsum"]).tolist() == [[[600.0], [600.0]]]


@pytest.mark.parametrize(
    "world", [SharedGallery(images=40, methods=3), SharedGallery(images=40, methods=3, hub_sd=0.2)]
)
def test_equal_methods_are_equal_on_average(world):
    found = scores(world, 300)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        difference = found[:, first] - found[:, second]  # (draws, K)
        error = difference.std(axis=0, ddof=1) / math.sqrt(len(difference))
        assert (np.abs(difference.mean(axis=0)) < 4 * error).all()


def test_the_offset_makes_the_first_method_worse():
    found = scores(SharedGallery(images=40, offset=0.3), 50, ["rsum"])
    assert (found[:, 0] < found[:, 1]).mean() > 0.9


def test_captions_of_an_image_are_alike_where_methods_differ_in_images():
    def correlation(**noise) -> float:
        runs = SharedGallery(images=1000, **noise).draw(np.random.default_rng(0))
        return QueryHits(runs, ["t2i_r1"]).diagnose(0, 1, "t2i_r1", 1.0).icc

    alike = [correlation(method_image_sd=i, method_caption_sd=c) for i, c in ((0.1, 0.8), (0.65, 0.5), (1.0, 0.1))]
    assert alike == sorted(alike)
    assert alike[0] < 0.03
    assert alike[2] > 0.1


def spread(world: SharedGallery, draws: int) -> float:
    """Standard deviation of the rSum difference over galleries, in units of the cluster standard error."""
    rows = [
        compare(world.draw(np.random.default_rng(child)), metrics=["rsum"], resamples=199).rows[0]
        for child in np.random.SeedSequence(0).spawn(draws)
    ]
    return math.sqrt(np.mean([r.difference**2 for r in rows]) / np.mean([r.se**2 for r in rows]))


def test_hubs_tie_the_queries_of_different_images_together():
    assert spread(HUBS, 150) > 1.15
    assert 0.85 < spread(SharedGallery(images=100), 200) < 1.15


def test_seeds_of_a_method_differ_and_some_are_better():
    def seed_sd(**settings) -> float:
        runs = SharedGallery(images=60, seeds=8, **settings).draw(np.random.default_rng(0))
        return float(np.mean([own.std(ddof=1) for own in image_columns(runs, ["rsum"]).seed_scores]))

    assert seed_sd() == 0.0
    assert 0.0 < seed_sd(seed_sd=0.3) < seed_sd(seed_sd=0.3, seed_level_sd=0.8)


def test_the_same_generator_gives_the_same_runs():
    first, again = (SharedGallery(images=20).draw(np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first[1].t2i_ranks, again[1].t2i_ranks)
    assert not np.array_equal(first[0].t2i_ranks, first[1].t2i_ranks)
