"""What a test finds, against the noncentral t, against simulated tests, and against what only seeds can give."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from harness.reports.statistics.power import (
    Part,
    detectable_at,
    detection_factor,
    images_needed,
    minimum_detectable,
    power_at,
)
from harness.reports.statistics.variance import VarianceSplit, combine

# Variances and degrees of freedom of the images and of the seeds of two methods.
DESIGNS = {
    "checkpoints": [(4.0, 499)],
    "few images": [(4.0, 29)],
    "three seeds": [(4.0, 499), (1.0, 2), (0.5, 2)],
    "three seeds that are everything": [(1e-6, 499), (1.0, 2), (1.0, 2)],
    "three seeds of a wild method": [(1.0, 499), (3.0, 2), (0.1, 2)],
    "five against three seeds": [(1.0, 199), (2.0, 4), (1.0, 2)],
    "ten seeds": [(1.0, 999), (2.0, 9), (1.0, 9)],
}


def simulated_power(difference: float, parts: list[tuple[float, float]], alpha: float, draws: int = 200_000) -> float:
    """How often a t test with Satterthwaite's degrees of freedom rejects, its variances drawn as chi-squares."""
    generator = np.random.default_rng(5)
    drawn = np.asarray([generator.chisquare(df, draws) / df * variance for variance, df in parts])
    df = drawn.sum(axis=0) ** 2 / sum(v**2 / own for v, (_, own) in zip(drawn, parts, strict=True))
    means = difference + math.sqrt(sum(v for v, _ in parts)) * generator.standard_normal(draws)
    return float((2 * stats.t.sf(np.abs(means) / np.sqrt(drawn.sum(axis=0)), df) <= alpha).mean())


@pytest.mark.parametrize("alpha", [0.05, 0.05 / 6])
@pytest.mark.parametrize("name", DESIGNS)
def test_the_detectable_difference_is_found_as_often_as_is_said(name, alpha):
    parts = DESIGNS[name]
    difference = detectable_at([Part(*part) for part in parts], alpha=alpha)
    assert simulated_power(difference, parts, alpha) == pytest.approx(0.8, abs=0.01)


def test_without_seeds_it_is_the_noncentral_t():
    for df in (4, 29, 499):
        factor = detection_factor(df=df)
        assert stats.nct.sf(stats.t.isf(0.025, df), df, factor) == pytest.approx(0.8, abs=1e-5)
    assert detectable_at([Part(9.0, 499)]) == pytest.approx(3 * detection_factor(df=499), rel=1e-4)
    assert detection_factor() == pytest.approx(2.80, abs=5e-3)
    assert detection_factor(0.05 / 10) == pytest.approx(stats.norm.isf(0.0025) + stats.norm.isf(0.2))


def test_a_method_against_itself_is_found_at_the_level_of_the_test():
    assert power_at(0.0, [Part(4.0, 1e6)]) == pytest.approx(0.05, abs=1e-4)
    # three seeds that are everything: Satterthwaite's degrees of freedom are careful
    assert 0.03 < power_at(0.0, [Part(1.0, 2), Part(1.0, 2)]) < 0.05


def test_a_smaller_true_variance_than_is_estimated_is_found_more_often():
    parts = [Part(4.0, 499), Part(1.0, 2), Part(1.0, 2)]
    assert power_at(6.0, parts, variance=5.0) > power_at(6.0, parts) > power_at(5.0, parts)
    assert detectable_at(parts, variance=5.0) < detectable_at(parts)


@pytest.mark.parametrize("comparisons", [1, 6])
@pytest.mark.parametrize("name", DESIGNS)
def test_reports_read_the_same_from_their_tables(name, comparisons):
    parts = DESIGNS[name]
    (images, df), *seeds = parts
    split = VarianceSplit(images, tuple(v for v, _ in seeds), math.nan, (df, *(d for _, d in seeds)))
    exact = detectable_at([Part(*part) for part in parts], alpha=0.05 / comparisons)
    assert minimum_detectable(split, comparisons=comparisons) == pytest.approx(exact, rel=0.01)
    swapped = VarianceSplit(images, split.seeds[::-1], math.nan, (df, *split.dfs[:0:-1]))
    assert minimum_detectable(swapped, comparisons=comparisons) == minimum_detectable(split, comparisons=comparisons)


def test_images_needed_make_the_target_detectable():
    split = combine(25.0, 999, [[500, 501, 502], [495, 496, 497]])
    needed = images_needed(split, 1000, 5.0)
    variances = [Part(25.0 * 1000 / needed, needed - 1), *(Part(v, 2) for v in split.seeds)]
    assert detectable_at(variances) == pytest.approx(5.0, rel=0.005)
    # With normal quantiles 2.5 points would seem within reach: 2.80 standard errors of the seeds alone are 2.29.
    assert images_needed(split, 1000, 2.5) == math.inf
    of_images = combine(25.0, 999, [])
    assert images_needed(of_images, 1000, 5.0) == pytest.approx(1000 * 25 * (2.8016 / 5) ** 2, rel=0.001)
    assert images_needed(of_images, 1000, 0.001) == pytest.approx(1000 * 25 * (2.8016 / 0.001) ** 2, rel=1e-4)


def test_nothing_to_see_is_seen_at_once():
    assert minimum_detectable(combine(0.0, 99, [])) == 0.0
    assert images_needed(combine(0.0, 99, []), 100, 5.0) == 1.0
    assert detectable_at([Part(0.0, 99)]) == 0.0
