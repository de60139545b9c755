"""Distributions against Python's own statistics."""

from __future__ import annotations

import statistics

import numpy as np
import pytest

from harness.metrics.distributions import distribution, ends, means_by_column, means_by_key

VALUES = np.random.default_rng(0).random((40, 7)).astype(np.float32)
VALUES[::3, 4:] = np.nan
REAL = sorted(float(v) for v in VALUES.ravel() if not np.isnan(v))


def test_the_figures_are_those_of_the_values_that_are_there():
    found = distribution(VALUES)
    assert found["count"] == len(REAL)
    assert found["mean"] == pytest.approx(statistics.fmean(REAL))
    assert found["sd"] == pytest.approx(statistics.pstdev(REAL))
    deciles = [REAL[0], *statistics.quantiles(REAL, n=10, method="inclusive"), REAL[-1]]
    assert found["deciles"] == pytest.approx(deciles)


def test_no_value_has_no_distribution():
    assert distribution(np.full((2, 3), np.nan)) is None
    assert distribution(np.empty((3, 0))) is None


def test_columns_and_keys_are_averaged_over_what_is_there():
    columns = [statistics.fmean(float(v) for v in column if not np.isnan(v)) for column in VALUES.T]
    assert means_by_column(VALUES) == pytest.approx(columns)
    keys = np.arange(VALUES.size).reshape(VALUES.shape) % 5
    groups = {
        key: [float(v) for v, k in zip(VALUES.ravel(), keys.ravel(), strict=True) if k == key] for key in range(5)
    }
    groups = {key: [v for v in group if not np.isnan(v)] for key, group in groups.items()}
    fewest = sorted(len(group) for group in groups.values())[1]
    expected = {key: statistics.fmean(group) for key, group in groups.items() if len(group) >= fewest}
    found = means_by_key(VALUES, keys, fewest)
    assert [mean for _, mean, _ in found] == sorted(mean for _, mean, _ in found)
    assert {key: mean for key, mean, _ in found} == pytest.approx(expected)
    assert {key: count for key, _, count in found} == {key: len(groups[key]) for key in expected}


@pytest.mark.parametrize(("rows", "most"), [(0, 3), (1, 3), (2, 3), (5, 3), (9, 3)])
def test_no_row_is_in_both_ends(rows, most):
    all_rows = [(key, key / 10, 1) for key in range(rows)]
    first, last = ends(all_rows, most)
    assert first == all_rows[: len(first)]
    assert last == all_rows[::-1][: len(last)]
    assert len(first) == len(last) == min(most, rows // 2)
