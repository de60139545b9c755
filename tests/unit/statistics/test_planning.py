"""Components of variance against an analysis of variance written out, and plans against what is found in simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from harness.reports.statistics.comparison import compare
from harness.reports.statistics.errors import InvalidSetting
from harness.reports.statistics.planning import Components, Target, of_guess, of_runs, pool, sd_of_disagreement
from tests.studies.promises import FLICKR8K, QUICKSTART, found_in_hits, found_in_scores


def contributions(runs):
    """(S, N) points of rSum that each image contributes in each seed; five captions an image."""
    i2t = sum((runs.i2t_ranks < k) for k in (1, 5, 10))
    t2i = sum((runs.t2i_ranks < k) for k in (1, 5, 10)).reshape(len(runs.seeds), -1, 5)
    return 100.0 * (i2t + t2i.mean(axis=2))


def interaction(table):
    """Mean square of the seeds by images interaction, the textbook's two-way table."""
    seeds, images = table.shape
    left = table - table.mean(axis=0) - table.mean(axis=1, keepdims=True) + table.mean()
    return (left**2).sum() / ((seeds - 1) * (images - 1))


def test_components_are_those_of_an_analysis_of_variance(world):
    a, b = world(images=90, seeds=4, seed_sd=0.6, seed_query_sd=0.4)
    (found,) = of_runs([a, b], "rsum").values()
    tables = [contributions(runs) for runs in (a, b)]
    own = [interaction(table) for table in tables]
    assert found.interactions == pytest.approx(own)
    difference = tables[0].mean(axis=0) - tables[1].mean(axis=0)
    assert found.images == pytest.approx(difference.var(ddof=1) - sum(own) / 4)
    between = [table.mean(axis=1).var(ddof=1) - each / 90 for table, each in zip(tables, own, strict=True)]
    assert found.seeds == pytest.approx(between)


def test_at_the_recorded_size_a_plan_is_the_report(world):
    methods = world(images=120, seeds=3, methods=3, seed_sd=0.3, seed_query_sd=0.3)
    pairs = of_runs(methods, "rsum")
    for row in compare(methods, metrics=["rsum"], claim="method").rows:
        found = pairs[row.a, row.b]
        assert sum(part.variance for part in found.parts(120, 3)) == pytest.approx(row.se**2)
        detectable = Target(comparisons=3)
        parts = found.parts(120, 3)
        assert [part.variance for part in parts] == pytest.approx([row.variance.images, *row.variance.seeds])
        # a little less than the report says, which does not know that the interaction is counted twice
        planned = detectable.detectable(found, 120, 3)
        assert 0.9 * row.detectable_corrected < planned <= 1.01 * row.detectable_corrected


def test_one_seed_tells_of_checkpoints_only(world):
    methods = world(images=120)
    (found,) = of_runs(methods, "rsum").values()
    row = compare(methods, metrics=["rsum"]).rows[0]
    assert found.seeds is None
    assert Target().detectable(found, 120, 1) == pytest.approx(row.detectable, rel=1e-4)
    assert Target().seeds_needed(found, 120, 5.0) is None
    pooled = pool({("a", "b"): found}, methods, "rsum")
    assert (pooled.components.seeds, pooled.sd_seeds) == (None, None)


def test_few_seeds_are_not_taken_for_little_variance():
    """The pooled variance over seeds is right in the median, where the plain median of s² is 31 % low at three seeds."""
    from tests.studies.simulation import World

    generator = np.random.default_rng(3)
    found = []
    for _ in range(60):
        methods = World(images=40, methods=4, seeds=3, seed_sd=0.3).draw(generator)
        found.append(pool(of_runs(methods, "rsum"), methods, "rsum").sd_seeds)
    truth = []
    for _ in range(4):
        (big,) = World(images=40, methods=1, seeds=400, seed_sd=0.3).draw(generator)
        truth.append(contributions(big).mean(axis=1).std())
    assert np.median(found) == pytest.approx(np.mean(truth), rel=0.15)


@pytest.mark.parametrize("captions", [1, 5])
def test_disagreement_and_icc_say_how_images_vary(captions):
    """Against captions drawn one by one: agreement, or a hit of either method, alike for an image's captions or not."""
    generator = np.random.default_rng(0)
    images, share, alike = 200_000, 0.3, 0.4
    signs = generator.choice([-1, 0, 1], p=[share / 2, 1 - share, share / 2], size=(images, captions))
    common = generator.random((images, 1)) < alike  # all captions of such an image share one draw: the ICC is `alike`
    drawn = np.where(common, signs[:, :1], signs)
    expected = 100 * drawn.mean(axis=1).std()
    assert sd_of_disagreement(share, alike if captions > 1 else 0.0, captions) == pytest.approx(expected, rel=0.01)
    # the formula of the field: 280 sqrt(disagreement (1 + 4 ICC) / (5 N))
    found = Target().detectable(of_guess(sd_of_disagreement(0.2, 0.25)), 5000, 1)
    assert found == pytest.approx(280 * math.sqrt(0.2 * 2 / (5 * 5000)), rel=2e-3)


def test_needed_seeds_and_images_are_the_fewest_that_do():
    guess, target = of_guess(60.0, 2.0), Target(comparisons=3)
    seeds = target.seeds_needed(guess, 2000, 6.0)
    assert target.chance(guess, 2000, seeds - 1, 6.0) < 0.8 <= target.chance(guess, 2000, seeds, 6.0)
    images = target.images_needed(guess, 10, 6.0)
    assert target.chance(guess, images - 1, 10, 6.0) < 0.8 <= target.chance(guess, images, 10, 6.0)
    assert target.images_needed(guess, 3, 3.0) is None
    assert target.seeds_needed(guess, 100, 3.0) is None


@pytest.mark.parametrize(("components", "seeds"), [(QUICKSTART, 3), (QUICKSTART, 5), (FLICKR8K, 5), (FLICKR8K, 1)])
def test_the_promise_is_kept_with_recorded_variances(components, seeds):
    """What a plan says is found in 80 % of simulated experiments is found in 80 %, to the error of 3,000 of them."""
    found = found_in_scores(components, images=300, seeds=seeds, comparisons=6, repetitions=3000, seed=1)
    low, high = stats.binomtest(round(3000 * found), 3000).proportion_ci(0.999)
    assert low <= 0.8 <= high


def test_the_promise_is_kept_from_hits_to_verdict():
    """A plan made from many recorded seeds, then whole experiments of new images and seeds through `compare`."""
    found = found_in_hits(seeds=3, repetitions=300, seed=2)
    low, high = stats.binomtest(round(300 * found), 300).proportion_ci(0.999)
    assert low <= 0.8 <= high


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Target(alpha=0.0), "alpha must be a number above 0"),
        (lambda: Target(power=0.01), "power must be a number above 0.05"),
        (lambda: Target(comparisons=0), "comparisons must be a whole number of at least 1"),
        (lambda: of_guess(0.0), "the SD over images must be a number above 0"),
        (lambda: of_guess(1.0, -1.0), "the SD over seeds must be a number of at least 0"),
        (lambda: sd_of_disagreement(0.0, 0.1), "the disagreement must be a number of at most 1 and above 0"),
        (lambda: sd_of_disagreement(0.2, -0.5), "the intra-image correlation must be a number from -0.25 to 1"),
        (lambda: Target().detectable(Components(1.0), 1, 1), "degrees of freedom must be a number above 0"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(InvalidSetting, match=message):
        make()
