"""Aggregation to images against definitions written out as loops: seeds, unequal captions, folds, unasked images."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from harness.errors import UnknownName
from harness.reports.statistics.hits import METRICS, components, image_columns
from harness.reports.statistics.intervals import single_interval
from harness.reports.statistics.variance import clustered_variance


def recall(runs, direction, k, seed):
    """Mean over folds of percent hits, by the definition."""
    values = []
    for fold in np.unique(runs.fold):
        hits = []
        for row in range(len(runs.image_ids)):
            if runs.fold[row] != fold:
                continue
            if direction == "i2t":
                hits += [runs.i2t_ranks[seed, row] < k] if runs.image_queried[row] else []
            else:
                hits += [runs.t2i_ranks[seed, c] < k for c in np.flatnonzero(runs.caption_image == row)]
        values.append(100 * np.mean(hits))
    return float(np.mean(values))


def score(runs, metric, seed):
    return sum(recall(runs, direction, k, seed) for direction, k in components(metric))


UNEQUAL = np.repeat(np.arange(40), np.resize([3, 5, 7, 5, 6], 40))[:200]
SHAPES = {
    "five captions": {},
    "three seeds": {"size": 3},
    "unequal captions": {"caption_image": UNEQUAL},
    "five folds": {"fold": np.repeat(np.arange(5), 8)},
    "unequal folds": {"fold": np.repeat(np.arange(3), [7, 13, 20]), "size": 2},
    "unequal both": {"fold": np.repeat(np.arange(3), [7, 13, 20]), "caption_image": UNEQUAL},
    "images not asked": {"image_queried": np.arange(40) % 3 > 0},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_scores_follow_the_definition(make_runs, shape):
    runs = make_runs(**SHAPES[shape])
    columns = image_columns([runs], METRICS)
    for j, metric in enumerate(METRICS):
        expected = [score(runs, metric, s) for s in range(len(runs.seeds))]
        np.testing.assert_allclose(columns.seed_scores[0][:, j], expected, rtol=1e-9)
        assert columns.scores[0, j] == pytest.approx(np.mean(expected), rel=1e-9)
        influence = columns.influence(columns.numerators[0, j], columns.group_means[0, j], j)
        by_fold = np.bincount(columns.fold, weights=influence)
        np.testing.assert_allclose(by_fold, 0.0, atol=1e-9)


def test_rsum_numerator_is_five_to_one(make_runs):
    runs = make_runs()
    columns = image_columns([runs], METRICS)
    parts = columns.numerators[0, :6]
    np.testing.assert_array_equal(columns.numerators[0, 6], 5 * parts[:3].sum(axis=0) + parts[3:].sum(axis=0))
    assert columns.scale[6] == pytest.approx(100 / 200)


def test_unequal_seed_numbers_share_a_denominator(make_runs):
    few, many = make_runs("few", size=2), make_runs("many", size=3, draw=1)
    columns = image_columns([few, many], ["t2i_r5"])
    np.testing.assert_allclose(columns.scores[:, 0], [s.mean() for s in columns.seed_scores], rtol=1e-12)


def test_equal_captions_variance_is_that_of_the_mean(make_runs):
    runs = make_runs()
    columns = image_columns([runs], ["t2i_r5"])
    variance = clustered_variance(
        columns.influence(columns.numerators[0, 0], columns.group_means[0, 0], 0), columns.fold
    )
    shares = (runs.t2i_ranks[0] < 5).reshape(40, 5).mean(axis=1) * 100
    assert variance == pytest.approx(shares.var(ddof=1) / 40)


def test_ratio_variance_agrees_with_the_cluster_bootstrap(make_runs):
    runs = make_runs(images=40, caption_image=UNEQUAL)
    columns = image_columns([runs], ["t2i_r5"])
    se = np.sqrt(
        clustered_variance(columns.influence(columns.numerators[0, 0], columns.group_means[0, 0], 0), columns.fold)
    )
    hits = np.bincount(UNEQUAL, weights=runs.t2i_ranks[0] < 5, minlength=40)
    sizes = np.bincount(UNEQUAL, minlength=40)
    boot = stats.bootstrap(
        (hits, sizes),
        lambda h, n, axis: 100 * h.sum(axis=axis) / n.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=4000,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    assert se == pytest.approx(boot.standard_error, rel=0.06)


def test_folds_are_strata(make_runs):
    fold = np.repeat(np.arange(2), 20)
    ranks = np.where(np.repeat(fold, 5) == 0, 0, 15)  # every caption of fold 0 hits, none of fold 1
    pooled = single_interval(make_runs(t2i_ranks=ranks), "t2i_r5")
    stratified = single_interval(make_runs(t2i_ranks=ranks, fold=fold), "t2i_r5")
    assert pooled.mean == stratified.mean == 50.0
    assert pooled.se > 7
    assert stratified.se == 0.0


@pytest.mark.parametrize("name", ["r1", "t2i_r0", "rSum", "i2t_medr"])
def test_unknown_metrics_are_named(make_runs, name):
    with pytest.raises(UnknownName, match="unknown metric"):
        single_interval(make_runs(), name)


def test_single_interval_of_one_and_of_many_seeds(make_runs):
    one = single_interval(make_runs(), "i2t_r5")
    hits = (make_runs().i2t_ranks[0] < 5) * 100.0
    expected = stats.ttest_1samp(hits, 0).confidence_interval(0.95)
    assert (one.low, one.high) == pytest.approx((max(expected.low, 0.0), expected.high))
    assert one.sd is None
    runs = make_runs(size=4)
    many = single_interval(runs, "i2t_r5")
    scores = [score(runs, "i2t_r5", s) for s in range(4)]
    images = ((runs.i2t_ranks < 5).mean(axis=0) * 100).var(ddof=1) / 40
    assert many.mean == pytest.approx(np.mean(scores))
    assert many.sd == pytest.approx(np.std(scores, ddof=1))
    assert many.se**2 == pytest.approx(images + np.var(scores, ddof=1) / 4)


def test_interval_is_cut_to_the_metrics_range(make_runs):
    ranks = np.zeros(40)
    ranks[0] = 30
    assert single_interval(make_runs(i2t_ranks=ranks), "i2t_r1").high == 100.0
