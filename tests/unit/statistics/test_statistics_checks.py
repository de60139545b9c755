"""What cannot be computed is refused by name: NaN, infinity, fractions, negative counts, wrong shapes, endless work."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.errors import ItmError
from harness.reports.published.compare import build
from harness.reports.statistics import errors
from harness.reports.statistics.across import DatasetDifference, across_datasets, smallest_p, win_counts
from harness.reports.statistics.checks import array, codes, level, number, resample_count, whole
from harness.reports.statistics.comparison import compare
from harness.reports.statistics.corrections import adjust, checked_resamples, needed_resamples
from harness.reports.statistics.hits import components
from harness.reports.statistics.intervals import single_interval, t_interval, t_p_value, tost
from harness.reports.statistics.permutation import critical_value, flip_test
from harness.reports.statistics.power import (
    Part,
    detectable_at,
    detection_factor,
    images_needed,
    minimum_detectable,
    power_at,
)
from harness.reports.statistics.queries import design_effect, disagreement, icc
from harness.reports.statistics.variance import VarianceSplit, clustered_variance, combine
from tests.studies.calibration import monte_carlo_error
from tests.studies.gallery import SharedGallery
from tests.studies.simulation import World, naive_p

NAN, INF = math.nan, math.inf
SPLIT = VarianceSplit(4.0, (), 99.0)


def by_dataset(value):
    return [DatasetDifference(f"d{i}", f"images {i}", value, False) for i in range(6)]


REFUSED = {
    "flips of NaN": (lambda: flip_test([NAN, 1.0]), "whole finite numbers .* got nan"),
    "flips of infinity": (lambda: flip_test([INF, 1.0]), "whole finite numbers .* got inf"),
    "flips of fractions": (lambda: flip_test([0.5, 1.0]), "whole finite numbers"),
    "flips of words": (lambda: flip_test(["a", "b"]), "must be numbers"),
    "flips of a cube": (lambda: flip_test(np.ones((2, 2, 2))), r"got shape \(2, 2, 2\)"),
    "flips of one number": (lambda: flip_test(3), r"got shape \(\)"),
    "flips beyond exact sums": (lambda: flip_test([2.0**51, 1.0]), "less than 2\\^51"),
    "no flips": (lambda: flip_test([1, 2], resamples=0), "from 1 to 1,000,000, got 0"),
    "endless flips": (lambda: flip_test([1, 2], resamples=10**12), "from 1 to 1,000,000, got 1000000000000"),
    "flips from seed -1": (lambda: flip_test([1, 2], seed=-1), "seed of the resampling .* got -1"),
    "critical value at NaN": (lambda: critical_value(np.arange(99.0), NAN), "alpha must be a number above 0 and below 1"),
    "critical value at 1": (lambda: critical_value(np.arange(99.0), 1.0), "alpha must be a number above 0 and below 1, got 1.0"),
    "critical value of NaN": (lambda: critical_value(np.array([NAN]), 0.05), "without NaN"),
    "p-values of NaN": (lambda: adjust([NAN, 0.5], "holm"), "p-values must be finite from 0 to 1, got nan"),
    "p-values above 1": (lambda: adjust([0.5, 1.5], "bh"), r"got 1.5 \(1 of 2 values\)"),
    "one negative p-value": (lambda: adjust([-0.5], "holm"), "got -0.5"),
    "a square of p-values": (lambda: adjust(np.ones((2, 2)), "holm"), r"dimension 1, got shape \(2, 2\)"),
    "resamples for no test": (lambda: needed_resamples(0, 0.05, "holm"), "number of comparisons .* got 0"),
    "resamples at alpha 0": (lambda: needed_resamples(3, 0.0, "holm"), "alpha must be a number above 0 and below 1, got 0.0"),
    "resamples for a word": (lambda: needed_resamples(3, 0.05, "tukey"), "one of holm, maxt, bh, got 'tukey'"),
    "equivalence of NaN": (lambda: tost(NAN, 1.0, 9, 1.0), "a difference must be a number, got nan"),
    "equivalence with SE -1": (lambda: tost(0.0, -1.0, 9, 1.0), "standard error must be a number of at least 0"),
    "equivalence at alpha 0.5": (lambda: tost(0.0, 1.0, 9, 1.0, alpha=0.5), "above 0 and below 0.5, got 0.5"),
    "t without freedom": (lambda: t_p_value(1.0, 1.0, 0), "degrees of freedom must be a number above 0, got 0"),
    "t of NaN": (lambda: t_p_value(1.0, NAN, 9), "standard error .* got nan"),
    "interval at alpha 1": (lambda: t_interval(0.0, 1.0, 9, 1.0), "alpha must be a number above 0 and below 1"),
    "variance of NaN": (lambda: clustered_variance([NAN, 1.0], [0, 0]), "contributions must be finite"),
    "variance in half folds": (lambda: clustered_variance([1.0, -1.0], [0, 0.5]), "folds must be whole numbers"),
    "variance in fewer folds": (lambda: clustered_variance([1.0, -1.0], [0]), "folds must have length 2, got 1"),
    "negative variance": (lambda: combine(-1.0, 9, []), "variance of the images .* got -1.0"),
    "variance without freedom": (lambda: combine(1.0, 0, []), "degrees of freedom"),
    "NaN of a seed": (lambda: combine(1.0, 9, [[NAN, 1.0]]), "scores of the seeds must be finite"),
    "ICC of NaN": (lambda: icc([NAN, 1.0, 1.0, 0.0], [0, 0, 1, 1]), "values must be finite"),
    "ICC of short groups": (lambda: icc([1.0, 1.0, 0.0], [0, 1]), "groups must have length 3, got 2"),
    "ICC of negative groups": (lambda: icc([1.0, 0.0], [-1, 0]), "groups must be finite of at least 0, got -1"),
    "design effect of no caption": (lambda: design_effect(0.1, 0), "captions per image"),
    "design effect of 2": (lambda: design_effect(2.0), "correlation must be a number from -1 to 1"),
    "power 1": (lambda: detection_factor(0.05, 1.0), "power must be a number above 0 and below 1, got 1.0"),
    "detection at NaN": (lambda: detection_factor(NAN), "alpha must be a number"),
    "detection of half a test": (lambda: minimum_detectable(SPLIT, comparisons=0.5), "whole number of at least 1"),
    "power of a NaN": (lambda: power_at(NAN, [Part(1.0, 9)]), "the difference must be a number"),
    "power of a part of NaN": (lambda: power_at(1.0, [Part(NAN, 9)]), "a part of the variance must be a number of at least 0"),
    "power without variance": (lambda: power_at(1.0, []), "the variance must be a number above 0"),
    "power with no degrees of freedom": (lambda: Part(1.0, 0), "degrees of freedom must be a number above 0"),
    "power below alpha": (lambda: detectable_at([Part(1.0, 9)], power=0.01), "power must be a number above 0.05"),
    "target 0": (lambda: images_needed(SPLIT, 100, 0.0), "difference to find must be a number above 0"),
    "target NaN": (lambda: images_needed(SPLIT, 100, NAN), "difference to find"),
    "half an image": (lambda: images_needed(SPLIT, 0.5, 1.0), "images must be a whole number"),
    "shares of 2": (lambda: disagreement([0.0, 2.0], [0.0, 1.0]), "shares must be finite from 0 to 1, got 2"),
    "uneven shares": (lambda: disagreement([0.0, 1.0], [0.0]), "shares must have length 2, got 1"),
    "datasets of NaN": (lambda: across_datasets(by_dataset(NAN)), "differences in points must be finite"),
    "wins of NaN": (lambda: win_counts(by_dataset(NAN)), "differences in points must be finite"),
    "p of no pair": (lambda: smallest_p(0), "number of pairs"),
    "a recall at a huge K": (lambda: components("i2t_r" + "9" * 5000), "unknown metric"),
    "a world of NaN": (lambda: World(image_sd=NAN), "image_sd must be a number of at least 0, got nan"),
    "a world of half an image": (lambda: World(images=0.5), "images must be a whole number of at least 2"),
    "a gallery of one image": (lambda: SharedGallery(images=1), "images must be a whole number of at least 2, got 1"),
    "a gallery with negative noise": (lambda: SharedGallery(seed_sd=-0.1), "seed_sd must be a number of at least 0"),
    "the trap on NaN": (lambda: naive_p(np.array([NAN])), "differences of hits must be finite from -1 to 1"),
    "an error of a rate above 1": (lambda: monte_carlo_error(1.5, 10), "a rate must be a number from 0 to 1"),
    "an error without repetitions": (lambda: monte_carlo_error(0.5, 0), "repetitions must be a whole number"),
    "a tolerance of NaN": (lambda: build(None, [], tolerance=NAN), "tolerance in points must be a number of at least 0"),
    "a negative tolerance": (lambda: build(None, [], tolerance=-1.0), "tolerance in points"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case):
    call, message = REFUSED[case]
    with pytest.raises(ItmError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400 or "huge K" in case
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": 0}, "alpha must be a number above 0 and below 0.5, got 0"),
        ({"alpha": 1}, "alpha must be a number above 0 and below 0.5, got 1"),
        ({"alpha": NAN}, "alpha must be a number above 0 and below 0.5, got nan"),
        ({"alpha": "5 %"}, "alpha must be a number above 0 and below 0.5, got '5 %'"),
        ({"alpha": True}, "alpha must be a number above 0 and below 0.5, got True"),
        ({"resamples": 10**12}, "resamples must be a whole number from 1 to 1,000,000, got 1000000000000"),
        ({"resamples": 1e4}, "resamples must be a whole number .* got 10000.0"),
        ({"resamples": NAN}, "resamples must be a whole number .* got nan"),
        ({"seed": 0.5}, "seed of the resampling must be a whole number of at least 0, got 0.5"),
        ({"pairs": [("method 0", "method 1", "method 2")]}, "pairs must be 'all', a reference's name or pairs"),
        ({"pairs": ["ab"]}, "pairs must be 'all'"),
    ],
)
def test_settings_of_a_comparison(world, settings, message):
    with pytest.raises(errors.InvalidSetting, match=message):
        compare(world(), **settings)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"seeds": [0.5]}, errors.InvalidSetting, "'a': each seed must be a whole number"),
        ({"seeds": [True]}, errors.InvalidSetting, "got True"),
        ({"fold": [0.0] * 39 + [NAN]}, errors.DifferentCaptionMaps, "folds must be whole numbers, got nan"),
        ({"fold": [0.0] * 39 + [0.5]}, errors.DifferentCaptionMaps, "folds must be whole numbers, got 0.5"),
        ({"i2t_ranks": ["first"] * 40}, errors.InvalidRanks, "i2t ranks must be numbers"),
        ({"i2t_ranks": [[1, 2], [3]]}, errors.InvalidRanks, "i2t ranks must be numbers"),
    ],
)
def test_runs(make_runs, change, error, message):
    with pytest.raises(error, match=message):
        make_runs("a", **change)


@pytest.mark.parametrize("alpha", [0.0, 1.0, NAN, -0.1, "a"])
def test_level_of_a_single_interval(make_runs, alpha):
    with pytest.raises(errors.InvalidSetting, match="alpha must be a number above 0 and below 1"):
        single_interval(make_runs(), "rsum", alpha=alpha)


def test_resamples_are_raised_up_to_the_limit_and_no_further():
    assert checked_resamples(10, 3, 0.05, "holm") == 599
    with pytest.raises(errors.TooFewResamples, match="at least 1999999 are needed"):
        checked_resamples(10, 10_000, 0.05, "holm")


def test_what_the_checks_let_through():
    assert number(np.float32(0.5), "x", above=0) == 0.5
    assert number(0, "x", least=0) == 0.0
    assert whole(np.int64(3), "x", least=3, most=3) == 3
    assert level(0.05) == 0.05
    assert resample_count(1_000_000) == 1_000_000
    np.testing.assert_array_equal(array([[1, 2]], "x", dimensions=(2,)), [[1.0, 2.0]])
    np.testing.assert_array_equal(codes([0.0, 2.0], "x"), [0, 2])
