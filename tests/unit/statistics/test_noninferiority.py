"""The gate's decision: its interval against scipy's, its error rates under simulation, and what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from harness.reports.statistics.errors import InvalidSetting, TooFewSeeds
from harness.reports.statistics.noninferiority import non_inferiority
from tests.studies.calibration import gate_error
from tests.studies.simulation import World


def image_rsum(runs):
    i2t = sum((runs.i2t_ranks[0] < k) for k in (1, 5, 10))
    t2i = sum((runs.t2i_ranks[0] < k) for k in (1, 5, 10)).reshape(-1, 5)
    return 100.0 * (i2t + t2i.mean(axis=1))


def test_the_bounds_are_those_of_scipys_one_sided_test(world):
    a, b = world(images=120)
    found = non_inferiority(a, b, min_delta=-20.0)
    oracle = stats.ttest_1samp(image_rsum(a) - image_rsum(b), -20.0, alternative="greater")
    assert found.lower == pytest.approx(oracle.confidence_interval(0.95).low)
    assert found.upper - found.difference == pytest.approx(found.difference - found.lower)
    assert found.p == pytest.approx(oracle.pvalue)
    assert (found.lower >= -20.0) == (found.p <= 0.05) == (found.outcome == "non-inferior")
    assert found.difference == pytest.approx(found.a_score - found.b_score)


@pytest.mark.parametrize(
    ("min_delta", "outcome"), [(-60.0, "non-inferior"), (-10.0, "not enough evidence"), (60.0, "worse")]
)
def test_failing_has_two_reasons(world, min_delta, outcome):
    a, b = world(images=120)
    assert non_inferiority(a, b, min_delta=min_delta).outcome == outcome


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_method_that_is_worse_by_the_whole_margin_passes_at_most_at_5_percent(seeds):
    line = gate_error(World(images=150, seeds=seeds, seed_sd=0.03 * (seeds > 1), offset=0.05), 500, seed=3)
    assert line.within
    assert line.rate > 0.01  # it is a test, not a wall


def test_how_often_an_equal_method_passes_is_what_is_said():
    """The figure that a gate gives beside its verdict, against gates of equal methods."""
    made = World(images=150)
    said, passed = [], []
    for child in np.random.SeedSequence(9).spawn(400):
        found = non_inferiority(*made.draw(np.random.default_rng(child)), min_delta=-15.0)
        said.append(found.pass_if_equal)
        passed.append(found.outcome == "non-inferior")
    assert np.mean(passed) == pytest.approx(np.mean(said), abs=3 * math.sqrt(0.25 / 400))


def test_the_same_answers_pass_whatever_is_claimed(world):
    a, _ = world(images=60, seeds=3, seed_sd=0.2)
    found = non_inferiority(a, type(a)(**{**vars(a), "name": "again"}), min_delta=0.0)
    assert (found.claim, found.same_answers, found.outcome) == ("method", True, "non-inferior")
    assert (found.lower, found.upper) == (0.0, 0.0)


def test_a_claim_about_methods_is_wider(world):
    a, b = world(images=100, seeds=3, seed_sd=0.2)
    method, checkpoint = (non_inferiority(a, b, min_delta=-5.0, claim=claim) for claim in (None, "checkpoint"))
    assert method.claim == "method"
    assert method.lower < checkpoint.lower
    assert method.detectable > checkpoint.detectable


@pytest.mark.parametrize(
    ("error", "settings", "message"),
    [
        (InvalidSetting, {"min_delta": math.nan}, "smallest acceptable difference must be a number"),
        (InvalidSetting, {"min_delta": -1, "confidence": 0.5}, "the confidence must be a number above 0.5"),
        (TooFewSeeds, {"min_delta": -1, "claim": "method"}, "needs 3 seeds"),
    ],
)
def test_refusals(world, error, settings, message):
    with pytest.raises(error, match=message):
        non_inferiority(*world(), **settings)
