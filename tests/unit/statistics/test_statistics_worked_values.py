"""The worked values of the statistics page, each against our function; scipy and statsmodels stand beside them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from harness.reports.statistics.across import smallest_p
from harness.reports.statistics.corrections import adjust
from harness.reports.statistics.hits import image_columns
from harness.reports.statistics.intervals import t_p_value, tost
from harness.reports.statistics.joint import Hypotheses
from harness.reports.statistics.permutation import flip_test, root_sum_squares
from harness.reports.statistics.queries import design_effect, icc
from harness.reports.statistics.variance import clustered_variance, combine

DARWIN = [6, 8, 14, 16, 23, 24, 28, 29, 41, -48, 49, 56, 60, -67, 75]


def t_test(values):
    values = np.asarray(values, dtype=float)
    return t_p_value(values.mean(), values.std(ddof=1) / math.sqrt(len(values)), len(values) - 1)


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        (DARWIN, 1726 / 32768),
        ([5, 4, 3, 2, 1, -1], 6 / 64),
        ([5, 5, 5, 5, 5], 0.0625),
        ([3, 2, 2, 1, 0, -1], 0.1875),
        ([1] * 8 + [-1] * 2, 0.109375),  # McNemar b = 2, c = 8
        ([1, 1, 1], 0.25),
        ([1, 1, 1, 1], 0.125),
        ([1, 1, 1, 1, 1], 0.0625),
        ([1, 1, 1, 1, 1, 1], 0.03125),
    ],
)
def test_exact_sign_flip(differences, p):
    assert flip_test(differences).p[0] == pytest.approx(p, abs=1e-12)


def test_darwin_by_t():
    assert t_test(DARWIN) == pytest.approx(0.0497029, abs=5e-8)


@pytest.mark.parametrize("pairs", [3, 4, 5, 6])
def test_smallest_p_is_that_of_unanimous_pairs(pairs):
    assert smallest_p(pairs) == flip_test([1] * pairs).p[0]


def caption_runs(make_runs, name, hits):
    """Runs whose t2i R@1 hits an image are given and whose i2t queries all miss."""
    ranks = [0 if caption < n else 9 for n in hits for caption in range(5)]
    return make_runs(name, images=len(hits), i2t_ranks=[9] * len(hits), t2i_ranks=ranks)


def test_cluster_t_on_captions(make_runs):
    a, b = caption_runs(make_runs, "a", [5, 4, 3, 2, 1, 0]), caption_runs(make_runs, "b", [0, 0, 0, 0, 0, 1])
    columns = image_columns([a, b], ["t2i_r1"])
    pair = Hypotheses(np.array([0]), np.array([1]), np.array([0]))
    numerators = pair.numerators(columns)[0]
    assert numerators.tolist() == [5, 4, 3, 2, 1, -1]
    difference = numerators.sum() * columns.scale[0]
    se = math.sqrt(clustered_variance(pair.influence(columns)[0], columns.fold))
    assert difference == pytest.approx(46.667, abs=5e-4)
    assert se == pytest.approx(17.6383, abs=5e-5)
    assert difference / se == pytest.approx(math.sqrt(7))
    assert t_p_value(difference, se, 5) == pytest.approx(0.0456591, abs=5e-8)


def test_naive_trap_is_what_the_cluster_test_avoids():
    assert stats.binomtest(1, 16).pvalue == pytest.approx(0.00051880, abs=5e-9)
    assert stats.binomtest(0, 25).pvalue == pytest.approx(5.96e-8, rel=1e-3)
    assert flip_test([5, 4, 3, 2, 1, -1]).p[0] > 100 * stats.binomtest(1, 16).pvalue


def test_single_step_maxt():
    result = flip_test([[3, 1], [2, 2], [2, 0], [1, -1], [1, 3], [1, 1]])
    assert (result.p * 64).tolist() == [2, 16]
    assert (result.p_single_step * 64).tolist() == [2, 20]
    assert (result.p_step_down * 64).tolist() == [2, 16]  # alone in the last step, the second column keeps its own p


def test_statistic_is_mcnemars():
    differences = np.asarray([1] * 150 + [-1] * 86)[:, None]
    chi_square = (differences.sum() / root_sum_squares(differences)[0]) ** 2
    table = [[794, 86], [150, 570]]
    assert chi_square == pytest.approx(mcnemar(table, exact=False, correction=False).statistic)
    assert chi_square == pytest.approx(17.3559, abs=5e-5)
    assert mcnemar(table, exact=False, correction=True).statistic == pytest.approx(16.8178, abs=5e-5)
    exact = mcnemar(table, exact=True).pvalue
    assert exact == pytest.approx(3.71594e-5, rel=1e-5)
    sampled = flip_test(differences, resamples=200_000, seed=1).p[0]
    assert abs(sampled - exact) < 4 * math.sqrt(exact / 200_000)


@pytest.mark.parametrize(
    ("p_values", "correction", "expected"),
    [
        ([0.01, 0.04, 0.03, 0.005], "holm", [0.03, 0.06, 0.06, 0.02]),
        ([0.01, 0.04, 0.03, 0.005], "bh", [0.02, 0.04, 0.04, 0.02]),
        ([0.01, 0.02, 0.03, 0.04, 0.05], "holm", [0.05, 0.08, 0.09, 0.09, 0.09]),
        ([0.03, 0.01, 0.02], "holm", [0.04, 0.03, 0.04]),
    ],
)
def test_corrections(p_values, correction, expected):
    np.testing.assert_allclose(adjust(p_values, correction), expected, atol=1e-12)


@pytest.mark.parametrize(("correction", "method"), [("holm", "holm"), ("bh", "fdr_bh")])
def test_corrections_are_those_of_statsmodels_to_the_last_bit(correction, method, monkeypatch):
    """Small, large, equal and rounded p-values, and families of many sizes."""
    monkeypatch.setattr("gc.collect", lambda: 0)  # which `multipletests` calls each time
    random = np.random.default_rng(0)
    for draw in range(100):
        p_values = random.random(random.integers(2, 40)) ** random.integers(1, 6)
        p_values = np.round(p_values, 1 + draw % 3) if draw % 2 else p_values
        np.testing.assert_array_equal(adjust(p_values, correction), multipletests(p_values, method=method)[1])


def test_tost():
    values = np.array([0.5, 1, 1.5, 2, -0.5, -1, -1.5, -2])
    se = values.std(ddof=1) / math.sqrt(8)
    assert tost(0.0, se, 7, 1.5).p == pytest.approx(0.0115213, abs=5e-8)


def test_method_claim():
    split = combine(25.0, 999, [[500, 502, 504], [495, 497, 499]])
    assert split.se == pytest.approx(5.25991, abs=5e-6)
    assert split.df == pytest.approx(318.484, abs=5e-4)
    assert 5 / split.se == pytest.approx(0.950586, abs=5e-7)
    assert t_p_value(5.0, split.se, split.df) == pytest.approx(0.342535, abs=5e-7)
    assert stats.ttest_ind([500, 502, 504], [495, 497, 499], equal_var=False).pvalue == pytest.approx(0.0376, abs=5e-5)
    assert split.seed_share == pytest.approx((8 / 3) / (25 + 8 / 3))


def test_icc():
    rows = ["11110", "00000", "11011", "01000"]
    values = [int(c) for row in rows for c in row]
    assert icc(values, np.repeat(np.arange(4), 5)) == pytest.approx(0.482759, abs=5e-7)


def test_design_effect():
    assert design_effect(0.25) == 2.0
