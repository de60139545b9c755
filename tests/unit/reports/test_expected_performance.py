"""The expected best of n trials: against enumeration, against the known truth, and that its interval holds it."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.reports.statistics.errors import InvalidSetting
from harness.reports.sweep.expected_performance import expected_performance, leaders, subset_weights

VALUES = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=8)


@given(VALUES)
@settings(max_examples=60, deadline=None)
def test_it_is_the_mean_of_the_maximum_over_all_subsets(values):
    curve = expected_performance(values)
    for n in range(1, len(values) + 1):
        every = [max(subset) for subset in combinations(values, n)]
        assert curve.expected[n - 1] == pytest.approx(np.mean(every), rel=1e-9, abs=1e-9)


@given(st.lists(st.floats(0, 600), min_size=2, max_size=7))
@settings(max_examples=40, deadline=None)
def test_the_interval_is_the_jackknife_of_that_mean(values):
    from scipy import stats

    curve, count = expected_performance(values), len(values)
    for n in range(1, count + 1):
        if n > count // 2:
            assert np.isnan(curve.low[n - 1])
            continue
        left_out = [values[:i] + values[i + 1 :] for i in range(count)]
        estimates = [np.mean([max(subset) for subset in combinations(rest, n)]) for rest in left_out]
        error = np.sqrt((count - 1) / count * np.sum((estimates - np.mean(estimates)) ** 2))
        half = stats.t.ppf(0.975, count - 1) * error
        assert curve.high[n - 1] - curve.expected[n - 1] == pytest.approx(half, rel=1e-6, abs=1e-7)
        assert curve.expected[n - 1] - curve.low[n - 1] == pytest.approx(half, rel=1e-6, abs=1e-7)


def test_the_order_of_the_trials_does_not_count():
    expected = expected_performance([3.0, 1.0, 2.0]).expected
    for order in permutations([1.0, 2.0, 3.0]):
        np.testing.assert_allclose(expected_performance(order).expected, expected)
    np.testing.assert_allclose(expected, [2.0, 8 / 3, 3.0])


def test_the_weights_of_a_budget_sum_to_one_also_for_many_trials():
    weights = subset_weights(2000)
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-8)
    assert weights[-1, -1] == pytest.approx(1)
    np.testing.assert_allclose(weights[0], 1 / 2000, rtol=1e-8)


def test_it_is_unbiased_where_drawing_with_replacement_is_too_low():
    generator, count, n = np.random.default_rng(0), 10, 5
    samples = generator.uniform(size=(4000, count))
    ours = np.array([expected_performance(sample).expected[n - 1] for sample in samples])
    truth = n / (n + 1)  # of the maximum of n uniform values
    assert ours.mean() == pytest.approx(truth, abs=4 * ours.std() / np.sqrt(len(ours)))
    cumulated = (np.arange(1, count + 1) / count) ** n
    naive = (np.sort(samples, 1) * np.diff(cumulated, prepend=0)).sum(1).mean()
    assert naive < truth - 0.01


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    generator, count = np.random.default_rng(1), 24
    hits = {1: 0, count // 4: 0, count // 2: 0}
    for _ in range(400):
        curve = expected_performance(generator.uniform(size=count))
        for n in hits:
            hits[n] += curve.low[n - 1] <= n / (n + 1) <= curve.high[n - 1]
    assert hits[1] / 400 == pytest.approx(0.95, abs=0.035)
    assert hits[count // 4] / 400 > 0.88
    assert hits[count // 2] / 400 > 0.78


def test_who_leads_at_which_budget():
    steady = expected_performance([5.0, 5.0, 5.0, 5.0])
    lucky = expected_performance([1.0, 2.0, 3.0, 9.0, 9.0])
    changes = leaders({"steady": steady, "lucky": lucky})
    assert changes == [(1, 1, "steady"), (2, 4, "lucky")]
    assert leaders({"steady": steady}) == [(1, 4, "steady")]


@pytest.mark.parametrize("values", [[], [1.0, float("nan")]])
def test_nothing_or_nan_is_refused(values):
    with pytest.raises(InvalidSetting, match="values must be"):
        expected_performance(values)
