"""The sign-flip engine against scipy, against loops, and its properties."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from harness.reports.statistics.errors import InvalidSetting, TooFewResamples
from harness.reports.statistics.permutation import MaxT, critical_value, flip_test, sign_sums


def scipy_p(column, resamples=np.inf, seed=0):
    return stats.permutation_test(
        (np.asarray(column),),
        lambda x, axis: x.sum(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=resamples,
        rng=np.random.default_rng(seed),
    ).pvalue


@pytest.mark.parametrize("draw", range(5))
def test_exact_p_equals_scipys(draw):
    columns = np.random.default_rng(draw).integers(-5, 6, (10, 3))
    expected = [scipy_p(column) for column in columns.T]
    np.testing.assert_allclose(flip_test(columns).p, expected, atol=1e-12)


def test_sampled_p_agrees_with_scipys():
    columns = np.random.default_rng(7).integers(-5, 7, (300, 4))
    resamples = 20_000
    expected = np.asarray([scipy_p(column, resamples) for column in columns.T])
    error = np.sqrt(2 * expected * (1 - expected) / resamples)
    assert (np.abs(flip_test(columns, resamples=resamples).p - expected) < 4 * error).all()


def test_exact_maxt_equals_a_loop_over_all_signs():
    columns = np.random.default_rng(2).integers(-3, 5, (7, 3)).astype(float)
    root = np.sqrt((columns**2).sum(axis=0))
    observed = np.abs(columns.sum(axis=0)) / root
    draws = [np.abs(np.asarray(s) @ columns) / root for s in itertools.product((1, -1), repeat=7)]
    single = [np.mean([d.max() >= t - 1e-9 for d in draws]) for t in observed]
    order = np.argsort(-observed)
    step, running = np.empty(3), 0.0
    for place, j in enumerate(order):
        running = max(running, np.mean([d[order[place:]].max() >= observed[j] - 1e-9 for d in draws]))
        step[j] = running
    result = flip_test(columns)
    np.testing.assert_allclose(result.p_single_step, single, atol=1e-12)
    np.testing.assert_allclose(result.p_step_down, step, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(-9, 9), min_size=3, max_size=3), min_size=2, max_size=30), st.integers(0, 99))
def test_order_of_the_p_values(rows, seed):
    result = flip_test(rows, resamples=99, seed=seed)
    assert (result.p > 0).all()
    assert (result.p_step_down <= result.p_single_step).all()
    assert (result.p_step_down <= 1).all()
    negated = flip_test(-np.asarray(rows), resamples=99, seed=seed)
    np.testing.assert_array_equal(negated.p, result.p)
    np.testing.assert_array_equal(negated.p_step_down, result.p_step_down)


@pytest.mark.parametrize("size", [5, 16, 17, 64, 65, 200])
def test_sums_do_not_depend_on_the_blocks(size):
    columns = np.random.default_rng(0).integers(-4, 5, (size, 3))
    whole = np.concatenate(list(sign_sums(columns, 50, seed=3)))
    pieces = np.concatenate(list(sign_sums(columns, 50, seed=3, block_rows=7)))
    np.testing.assert_array_equal(whole, pieces)
    assert not np.array_equal(whole, np.concatenate(list(sign_sums(columns, 50, seed=4)))) or size <= 16


@pytest.mark.parametrize("scale", [1, 2**26])  # beyond 2^24 the product must leave float32
def test_sums_are_exact(scale):
    columns = np.random.default_rng(1).integers(1, 9, (40, 2)) * scale + 1
    for sums in sign_sums(columns, 200, seed=0):
        assert (sums == np.rint(sums)).all()
        assert ((sums.astype(np.int64) - columns.sum(axis=0)) % 2 == 0).all()  # flipping x changes a sum by 2x


def test_signs_are_fair_and_independent_between_images():
    signs = np.concatenate(list(sign_sums(np.eye(20, dtype=int), 20_000, seed=5)))
    assert set(np.unique(signs)) == {-1.0, 1.0}
    correlation = signs.T @ signs / len(signs)
    assert np.abs(signs.mean(axis=0)).max() < 5 / np.sqrt(20_000)
    assert np.abs(correlation - np.eye(20)).max() < 5 / np.sqrt(20_000)


def test_zero_columns_have_p_one_and_do_not_disturb_others():
    column = [3, 2, 2, 1, 0, -1]
    result = flip_test(np.column_stack([column, np.zeros(6)]))
    assert result.p.tolist() == [0.1875, 1.0]
    assert result.p_step_down.tolist() == [0.1875, 1.0]


@pytest.mark.parametrize("bad", [[0.5, 1.0], [np.nan, 1.0], []])
def test_differences_that_cannot_be_counted_are_refused(bad):
    with pytest.raises(InvalidSetting, match="whole finite numbers"):
        flip_test(bad)


def test_critical_value_is_an_order_statistic():
    assert critical_value(np.arange(1.0, 20.0), 0.05) == 19.0
    with pytest.raises(TooFewResamples, match="18 resamples"):
        critical_value(np.arange(18.0), 0.05)


def test_maxt_of_one_hypothesis_is_its_own_p():
    draws = np.abs(np.random.default_rng(0).standard_normal((999, 1)))
    family = MaxT(np.array([1.5]))
    for part in (draws[:500], draws[500:]):
        largest = family.update(len(part), lambda which, floor, part=part: (slice(None), part.T[which]))
        assert (largest == part[:, 0]).all()
    step_down, single_step = family.p_values(999, exact=False)
    assert step_down[0] == single_step[0] == ((draws >= 1.5).sum() + 1) / 1000


THREADS = """
import numpy as np
from harness.reports.statistics.comparison import compare
from tests.studies.simulation import World
runs = World(images=301, methods=4, seeds=3, seed_sd=0.05).draw(np.random.default_rng(0))
for claim in ("checkpoint", "method"):
    for row in compare(runs, claim=claim, resamples=3000, correction="maxt").rows:
        print(row)
"""


def test_one_and_two_threads_give_the_same_bytes(capsys):
    """In this process, and in one whose environment names another number of threads."""
    other = "1" if os.environ.get("OMP_NUM_THREADS") == "2" else "2"
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": other, "OMP_NUM_THREADS": other}
    done = subprocess.run([sys.executable, "-c", THREADS], env=environment, capture_output=True, check=True, text=True)
    exec(THREADS, {})
    ours = capsys.readouterr().out
    assert ours == done.stdout
    assert ours.count("PairRow") == 84
