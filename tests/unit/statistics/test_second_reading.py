"""The hierarchical reading of method claims: moments by hand, exact cases, an oracle of the sampler, a short calibration."""

from __future__ import annotations

import math
import sys
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from harness.errors import MissingPackage
from harness.reports.statistics.comparison import compare
from harness.reports.statistics.hierarchical.model import Diagnostics, require_library, seed_variances
from harness.reports.statistics.hierarchical.moments import moments
from harness.reports.statistics.hierarchical.reading import posterior_scores, second_reading
from harness.reports.statistics.hits import METRICS
from tests.studies import second_reading as study
from tests.studies.simulation import World


def hits_by_hand(run, metric):
    """(S, N, C) contribution of each caption to the score, and (S, N) of each image query, in points."""
    ks = (1, 5, 10) if metric == "rsum" else (int(metric.split("r")[-1]),)
    size = len(run.image_ids)
    captions = sum(100.0 * (run.t2i_ranks < k) for k in ks) / len(run.caption_ids)
    images = sum(100.0 * (run.i2t_ranks < k) for k in ks) / size
    with_images, with_captions = metric == "rsum" or "i2t" in metric, metric == "rsum" or "t2i" in metric
    return captions.reshape(len(run.seeds), size, -1) * with_captions, images * with_images


@pytest.mark.parametrize("metric", ["rsum", "i2t_r1", "t2i_r5"])
def test_moments_are_those_of_naive_loops(make_runs, metric):
    runs = [make_runs("a", draw=1, size=3), make_runs("b", draw=2, size=4)]
    found = moments(runs, metric)
    per_image, per_caption = [], []
    for m, run in enumerate(runs):
        captions, images = hits_by_hand(run, metric)
        totals = images + captions.sum(axis=2)  # (S, N)
        assert found.scores[m] == pytest.approx(totals.sum(axis=1).mean())
        assert found.between[m] == pytest.approx(np.var(totals.sum(axis=1), ddof=1))
        noise = sum(np.var(totals[:, i], ddof=1) for i in range(40)) * 40 / 39
        # Centring the seeds moves the noise by a part of 1 / N of what is between them.
        assert found.image_noise[m] == pytest.approx(noise - found.between[m] / 39)
        per_image.append(totals.mean(axis=0))
        per_caption.append(captions.mean(axis=0))
    assert found.images == pytest.approx(40 * np.cov(per_image))
    within = sum(5 * np.cov([own[i] for own in per_caption]) for i in range(40))
    assert found.captions == pytest.approx(within)
    assert (found.images_df, found.captions_df) == (39, 0 if metric == "i2t_r1" else 160)


def test_variance_from_images_is_that_of_the_tests_with_folds_and_unequal_captions(make_runs):
    uneven = np.sort(np.concatenate([np.arange(40), np.random.default_rng(0).integers(0, 40, 160)]))
    runs = [make_runs(n, draw=d, size=3, caption_image=uneven, fold=np.arange(40) % 2) for n, d in (("a", 1), ("b", 2))]
    row = compare(runs, metrics=["rsum"], claim="method", resamples=199).rows[0]
    found = moments(runs, "rsum")
    contrast = np.array([1.0, -1.0])
    assert contrast @ found.images @ contrast == pytest.approx(row.variance.images)
    assert (found.between / found.seeds).tolist() == pytest.approx(list(row.variance.seeds))


def test_without_seed_effects_a_pair_has_the_cluster_t_interval_whoever_else_is_compared(world):
    for methods in (2, 5):
        data = moments(world(3, methods=methods, seeds=3, seed_query_sd=0.3), "rsum")
        scores = posterior_scores(data, np.zeros((20_000, methods)), np.random.default_rng(0))
        contrast = np.eye(methods)[0] - np.eye(methods)[1]
        se = math.sqrt(contrast @ data.images @ contrast)
        standard = (scores @ contrast - data.scores @ contrast) / se
        for level in (0.9, 0.975, 0.995):
            assert np.quantile(standard, level) == pytest.approx(stats.t.ppf(level, data.images_df), rel=0.04)
        assert standard.mean() == pytest.approx(0.0, abs=1e-9)


def test_methods_with_the_same_answers_have_no_difference(make_runs):
    data = moments([make_runs("a", size=3), make_runs("b", size=3)], "rsum")
    scores = posterior_scores(data, np.zeros((100, 2)), np.random.default_rng(0))
    assert np.abs(scores[:, 0] - scores[:, 1]).max() < 1e-5


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (Diagnostics(1.003, 1500.0, 0, 4000), []),
        (Diagnostics(1.02, 1500.0, 0, 4000), ["R-hat 1.020"]),
        (Diagnostics(math.nan, math.nan, 0, 4000), ["R-hat nan", "size nan"]),
        (Diagnostics(1.0, 100.0, 3, 4000), ["size 100", "3 of 4000 draws diverged"]),
    ],
)
def test_a_fit_that_fails_says_why(found, words):
    assert len(found.failures) == len(words)
    assert all(word in line for word, line in zip(words, found.failures, strict=True))


def test_without_the_library_the_refusal_names_the_install_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "numpyro", None)
    with pytest.raises(MissingPackage, match=r"pip install -e '\.\[bayes\]'"):
        require_library()


def test_checkpoints_have_no_second_reading(world):
    reading = second_reading(world(0, seeds=2), "rsum")
    assert reading.pairs == ()
    assert "needs 3 seeds of each (method 0 has 2, method 1 has 2)" in reading.failures[0]


def test_a_failed_fit_is_no_result(world, monkeypatch):
    bad = (np.ones((10, 2)), Diagnostics(1.5, 20.0, 0, 10))
    monkeypatch.setattr("harness.reports.statistics.hierarchical.reading.seed_variances", lambda *_, **__: [bad] * 3)
    reading = second_reading(world(0, seeds=3, seed_query_sd=0.3), "rsum")
    assert (reading.pairs, reading.methods) == ((), ())
    assert any("R-hat" in failure for failure in reading.failures)


def test_seeds_that_answer_alike_need_no_sampler(make_runs):
    runs = [make_runs(n, draw=d, images=60) for n, d in (("a", 1), ("b", 2))]
    again = [
        replace(run, seeds=[0, 1, 2], i2t_ranks=run.i2t_ranks.repeat(3, 0), t2i_ranks=run.t2i_ranks.repeat(3, 0))
        for run in runs
    ]
    pair = second_reading(again, "rsum", margins={"rsum": 60.0}).pairs[0]
    row = compare(again, metrics=["rsum"], claim="method", resamples=199).rows[0]
    assert pair.seeds == 0.0
    assert (pair.low, pair.high) == pytest.approx((row.low, row.high), rel=0.05, abs=1.0)
    assert pair.equivalent == (pair.p_in_rope >= 0.95)


# All of these have one shape, three fits of two methods, so that the sampler is compiled once.


def weighted_quantiles(between, noise, seeds, scale):
    """Quantiles of the two seed SDs by weighting draws from the prior: an oracle that shares no code with the model."""
    generator = np.random.default_rng(5)
    tau = scale * np.abs(generator.standard_t(3, 1_000_000))
    omega = np.abs(0.5 * generator.standard_normal(len(tau)))
    own = tau * np.exp(omega * generator.standard_normal((2, len(tau))))
    log = np.zeros(len(tau))
    for m in range(2):
        variance = own[m] ** 2 + noise[m]
        log += stats.chi2.logpdf((seeds[m] - 1) * between[m] / variance, seeds[m] - 1) - np.log(variance)
    weight = np.exp(log - log.max())
    found = []
    for m in range(2):
        order = np.argsort(own[m])
        share = np.cumsum(weight[order]) / weight.sum()
        found.append(own[m][order][np.searchsorted(share, [0.1, 0.5, 0.9])])
    return np.asarray(found)


def test_the_sampler_agrees_with_weighted_draws_from_the_prior():
    pytest.importorskip("numpyro")
    between, noise, seeds = np.array([30.0, 2.0]), np.array([2.0, 2.5]), np.array([3.0, 5.0])
    scales = np.array([5.0, 2.5, 10.0])
    fits = seed_variances(between, noise, seeds, np.full(2, 1e5), scales=scales, rounding=1e-6, seed=1)
    for scale, (drawn, diagnostics) in zip(scales, fits, strict=True):
        assert diagnostics.failures == ()
        found = np.sqrt(np.quantile(drawn, [0.1, 0.5, 0.9], axis=0)).T
        assert found == pytest.approx(weighted_quantiles(between, noise, seeds, scale), rel=0.1, abs=0.15)


def test_the_reading_is_symmetric_seeded_and_beside_the_tests(world):
    pytest.importorskip("numpyro")
    runs = world(4, images=200, seeds=3, seed_sd=0.05, seed_query_sd=0.3, offset=-0.4)
    reading = second_reading(runs, "rsum", margins={"rsum": 10.0})
    row = compare(runs, metrics=METRICS, claim="method", resamples=199).of_metric("rsum")[0]
    pair = reading.of("method 0", "method 1")
    assert pair.mean == pytest.approx(row.difference)
    assert pair.low < row.difference < pair.high
    assert pair.p_a_better > 0.99
    assert pair.p_in_rope < 0.01
    assert not pair.equivalent
    assert pair.width_narrow < pair.high - pair.low < pair.width_wide
    assert pair.images + pair.captions == pytest.approx(row.variance.images)
    assert sum(one.p_best for one in reading.methods) == pytest.approx(1.0)
    assert second_reading(runs, "rsum", margins={"rsum": 10.0}) == reading


def test_short_calibration():
    pytest.importorskip("numpyro")
    world = World(images=100, seeds=3, seed_sd=0.05, seed_query_sd=0.3)
    line = study.measure(world, 30, seed=6, batch=3)
    assert line.failed <= 2  # at the first attempt
    assert line.coverage >= 0.83  # 95 % less three Monte Carlo errors
    assert line.one_sided <= 0.17
    assert line.centres < 1e-6
    assert 0.6 < line.width < 1.3
