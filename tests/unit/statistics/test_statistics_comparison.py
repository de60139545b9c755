"""`compare` as a whole: its numbers against independent calculations, its families, and the properties it must keep."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from harness.errors import UnknownName
from harness.records.ties import RECALLS
from harness.reports.statistics.comparison import compare
from harness.reports.statistics.corrections import adjust, needed_resamples
from harness.reports.statistics.errors import InvalidSetting
from harness.reports.statistics.hits import METRICS, image_columns
from harness.reports.statistics.joint import Hypotheses
from harness.reports.statistics.permutation import flip_test
from harness.reports.statistics.refusals import aligned


def image_rsum(runs):
    """rSum points that each image adds, times N, for five captions per image and one seed."""
    i2t = sum((runs.i2t_ranks[0] < k) for k in (1, 5, 10))
    t2i = sum((runs.t2i_ranks[0] < k) for k in (1, 5, 10)).reshape(-1, 5)
    return 100.0 * (i2t + t2i.mean(axis=1))


def test_one_pair_against_scipy(world):
    a, b = world(images=120)
    row = compare([a, b], metrics=["rsum"]).rows[0]
    difference = image_rsum(a) - image_rsum(b)
    t = stats.ttest_1samp(difference, 0)
    interval = t.confidence_interval(0.95)
    assert row.difference == pytest.approx(difference.mean())
    assert row.se == pytest.approx(stats.sem(difference))
    assert (row.low, row.high) == pytest.approx((interval.low, interval.high))
    assert row.p_cluster_t == pytest.approx(t.pvalue)
    flips = stats.permutation_test(
        (difference,), lambda x, axis: x.mean(axis=axis), permutation_type="samples", vectorized=True,
        n_resamples=10_000, rng=np.random.default_rng(0),
    ).pvalue  # fmt: skip
    assert abs(row.p - flips) < 4 * math.sqrt(2 * flips * (1 - flips) / 10_000)
    assert (row.wins, row.ties, row.losses) == tuple(int((np.sign(difference) == s).sum()) for s in (1, 0, -1))
    found = stats.nct.sf(stats.t.isf(0.025, 119), 119, row.detectable / row.se)
    assert found == pytest.approx(0.8, abs=1e-4)


def test_shared_signs_give_what_the_plain_engine_gives(world):
    runs = aligned(world(methods=4))
    result = compare(runs, correction="maxt", metrics=METRICS, resamples=2000, seed=9)
    columns = image_columns(runs, METRICS)
    pairs = [(i, j) for i in range(4) for j in range(i + 1, 4)]
    for metrics in (["rsum"], list(RECALLS)):
        differences = [columns.numerators[i, METRICS.index(k)] - columns.numerators[j, METRICS.index(k)]
                       for k in metrics for i, j in pairs]  # fmt: skip
        plain = flip_test(np.stack(differences, axis=1), resamples=2000, seed=9)
        rows = [row for row in result.rows if row.metric in metrics]
        np.testing.assert_array_equal([row.p for row in rows], plain.p)
        np.testing.assert_allclose([row.p_adjusted for row in rows], plain.p_step_down, atol=1e-12)


def test_families_and_their_corrections(world):
    runs = world(methods=3)
    result = compare(runs)
    primary, secondary = result.families
    assert (primary.name, primary.metrics, primary.correction, primary.m) == ("primary", ("rsum",), "holm", 3)
    assert (secondary.name, secondary.metrics, secondary.correction, secondary.m) == ("secondary", RECALLS, "maxt", 18)
    rows = result.of_metric("rsum")
    np.testing.assert_allclose([r.p_adjusted for r in rows], adjust([r.p for r in rows], "holm"))
    (family,) = compare(runs, correction="bh").families
    assert (family.name, family.correction, family.m) == ("exploratory", "bh", 21)


def test_pairs_all_reference_and_named(world):
    runs = world(methods=3)
    both = {p: [(r.a, r.b) for r in compare(runs, metrics=["rsum"], pairs=p).rows] for p in ("all", "method 1")}
    assert both["all"] == [("method 0", "method 1"), ("method 0", "method 2"), ("method 1", "method 2")]
    assert both["method 1"] == [("method 0", "method 1"), ("method 2", "method 1")]
    (row,) = compare(runs, metrics=["rsum"], pairs=[("method 2", "method 0")]).rows
    assert (row.a, row.b) == ("method 2", "method 0")
    with pytest.raises(UnknownName, match="did you mean 'method 0'"):
        compare(runs, pairs="methods 0")
    with pytest.raises(InvalidSetting, match="each pair once"):
        compare(runs, pairs=[("method 0", "method 1"), ("method 1", "method 0")])


@pytest.mark.parametrize("claim", ["checkpoint", "method"])
def test_swapping_negates_and_keeps_p(world, claim):
    a, b = world(seeds=3, seed_sd=0.1)
    for one, other in zip(compare([a, b], claim=claim).rows, compare([b, a], claim=claim).rows, strict=True):
        assert one.difference == -other.difference
        assert (one.low, one.high) == (-other.high, -other.low)
        assert one.p == other.p
        assert (one.wins, one.losses) == (other.losses, other.wins)
        if claim == "checkpoint":  # a method claim draws seed effects method by method, in the order given
            assert one.p_adjusted == other.p_adjusted


def test_a_against_itself(world):
    (a, _) = world()
    result = compare([a, replace(a, name="again")], equivalence=1.0)
    for row in result.rows:
        assert (row.difference, row.p, row.p_adjusted, row.low, row.high) == (0.0, 1.0, 1.0, 0.0, 0.0)
        assert not row.significant
    assert [n.code for n in result.notices] == ["few_images", "no_discordance"]


def test_a_difference_without_any_variance_is_found(make_runs):
    every, none = (make_runs(n, size=3, i2t_ranks=np.full((3, 40), r)) for n, r in (("every", 0), ("none", 9)))
    for claim in ("checkpoint", "method"):
        for correction in ("holm", "maxt"):
            row = compare([every, none], metrics=["i2t_r1"], claim=claim, correction=correction).rows[0]
            assert (row.difference, row.low, row.high) == (100.0, 100.0, 100.0)
            assert row.significant


def test_duplicating_captions_leaves_p_unchanged(world):
    def doubled(runs):
        return replace(
            runs,
            t2i_ranks=np.tile(runs.t2i_ranks, 2),
            caption_image=np.tile(runs.caption_image, 2),
            caption_ids=[f"{half}{i}" for half in "xy" for i in runs.caption_ids],
        )

    runs = world(methods=3)
    for one, two in zip(compare(runs).rows, compare([doubled(r) for r in runs]).rows, strict=True):
        assert (one.p, one.p_adjusted) == (two.p, two.p_adjusted)
        assert (one.low, one.high) == pytest.approx((two.low, two.high))


def test_the_order_of_rows_in_a_file_does_not_matter(world):
    def shuffled(runs, seed):
        images, captions = (np.random.default_rng(seed).permutation(n) for n in (60, 300))
        place = np.argsort(images)
        return replace(
            runs,
            i2t_ranks=runs.i2t_ranks[:, images],
            t2i_ranks=runs.t2i_ranks[:, captions],
            caption_image=place[runs.caption_image[captions]],
            image_ids=runs.image_ids[images],
            caption_ids=runs.caption_ids[captions],
            fold=runs.fold[images],
            image_queried=runs.image_queried[images],
        )

    runs = world()
    mixed = compare([shuffled(runs[0], 1), shuffled(runs[1], 1)])
    assert mixed.rows == compare(runs).rows or [str(r) for r in mixed.rows] == [str(r) for r in compare(runs).rows]


def test_the_same_seed_gives_the_same_rows_and_another_does_not(world):
    runs = world(methods=3)
    one, two, other = (compare(runs, seed=s) for s in (4, 4, 5))
    assert [str(r) for r in one.rows] == [str(r) for r in two.rows]
    assert [r.p for r in one.rows] != [r.p for r in other.rows]
    assert [r.low for r in one.rows] == [r.low for r in other.rows]


def test_method_claim_adds_seed_variance(world):
    runs = world(images=200, seeds=3, seed_sd=0.15)
    row = compare(runs, metrics=["rsum"], claim="method").rows[0]
    checkpoint = compare(runs, metrics=["rsum"]).rows[0]
    scores = image_columns(runs, ["rsum"]).seed_scores
    seeds = [s[:, 0].var(ddof=1) / 3 for s in scores]
    assert row.variance.images == pytest.approx(checkpoint.se**2)
    np.testing.assert_allclose(row.variance.seeds, seeds)
    total = checkpoint.se**2 + sum(seeds)
    df = total**2 / (checkpoint.se**4 / 199 + sum(s**2 / 2 for s in seeds))
    assert row.se == pytest.approx(math.sqrt(total))
    assert row.df == pytest.approx(df)
    assert row.p == pytest.approx(2 * stats.t.sf(abs(row.difference) / row.se, df))
    assert row.p_cluster_t == pytest.approx(checkpoint.p_cluster_t)
    assert "add seeds" in row.variance.advice()


def test_one_method_claim_by_maxt_agrees_with_satterthwaite(world):
    runs = world(images=100, seeds=5, seed_sd=0.1, offset=0.12)
    row = compare(runs, metrics=["rsum"], claim="method", correction="maxt", resamples=20_000).rows[0]
    assert row.p_adjusted == pytest.approx(row.p, abs=0.02)
    assert row.simultaneous_high - row.simultaneous_low == pytest.approx(row.high - row.low, rel=0.06)


def test_simultaneous_interval_of_one_pair_is_the_t_interval_and_of_many_is_wider(world):
    one = compare(world(images=100), metrics=["rsum"], resamples=20_000).rows[0]
    assert one.simultaneous_high - one.simultaneous_low == pytest.approx(one.high - one.low, rel=0.03)
    for row in compare(world(images=100, methods=5), metrics=["rsum"]).rows:
        ratio = (row.simultaneous_high - row.simultaneous_low) / (row.high - row.low)
        tukey = stats.studentized_range.ppf(0.95, 5, np.inf) / math.sqrt(2) / stats.t.ppf(0.975, 99)
        assert ratio == pytest.approx(tukey, rel=0.06)  # equal methods with exchangeable errors are Tukey's case


def test_folds_reduce_the_degrees_of_freedom(make_runs):
    fold = np.repeat(np.arange(5), 8)
    rows = compare([make_runs("a", fold=fold), make_runs("b", fold=fold, draw=1)]).rows
    assert {row.df for row in rows} == {35.0}


def test_unequal_folds_still_give_the_exact_p_of_their_weights(make_runs):
    fold = np.repeat(np.arange(3), [7, 13, 20])
    runs = [make_runs(n, fold=fold, draw=d) for d, n in enumerate("ab")]
    row = compare(runs, metrics=["i2t_r5"], resamples=5000, seed=2).rows[0]
    weights = np.array([1 / 7, 1 / 13, 1 / 20])[fold] * 7 * 13 * 20
    hits = [(r.i2t_ranks[0] < 5) * weights for r in runs]
    assert row.p == flip_test(np.rint(hits[0] - hits[1]), resamples=5000, seed=2).p[0]


def test_folds_whose_common_denominator_is_astronomical(make_runs):
    fold = np.repeat(np.arange(8), [11, 13, 17, 19, 23, 29, 31, 37])
    runs = [make_runs(n, images=180, captions=7, fold=fold, draw=d) for d, n in enumerate("ab")]
    columns = image_columns(runs, METRICS)
    assert np.abs(columns.numerators).sum(axis=2).max() < 2**51
    pair = Hypotheses(np.zeros(7, int), np.ones(7, int), np.arange(7))
    np.testing.assert_allclose(pair.influence(columns).sum(axis=1), 0.0, atol=1e-8)
    shares = [[(r.i2t_ranks[0][fold == f] < 5).mean() for f in range(8)] for r in runs]
    expected = 100 * (np.mean(shares[0]) - np.mean(shares[1]))
    assert compare(runs, metrics=["i2t_r5", "rsum"]).rows[0].difference == pytest.approx(expected, abs=1e-9)


def test_resamples_are_raised_to_what_the_family_needs(world):
    runs = world(methods=5)
    assert compare(runs, metrics=["rsum"], resamples=100).resamples == needed_resamples(10, 0.05, "holm") == 1999
    assert compare(runs, metrics=["rsum"], resamples=100, correction="maxt").resamples == 199
    assert compare(runs, metrics=["rsum"], resamples=5000).resamples == 5000


def test_equivalence_and_images_needed(world):
    runs = world(images=400, method_image_sd=0.02, method_caption_sd=0.02)
    result = compare(runs, equivalence={"rsum": 30.0, "t2i_r1": 0.001})
    rsum, t2i = result.of_metric("rsum")[0], result.of_metric("t2i_r1")[0]
    assert rsum.equivalence is not None
    assert rsum.equivalence.equivalent
    assert -30 < rsum.equivalence.low < rsum.equivalence.high < 30
    assert t2i.equivalence is not None
    assert not t2i.equivalence.equivalent
    assert (rsum.target, t2i.target) == (5.0, 1.0)
    needed = rsum.images_needed  # so few that the degrees of freedom matter
    power = [
        stats.nct.sf(stats.t.isf(0.025, n - 1), n - 1, 5 / (rsum.se * (400 / n) ** 0.5)) for n in (needed - 1, needed)
    ]
    assert power[0] < 0.8 <= power[1]
    assert result.of_metric("i2t_r1")[0].equivalence is None


def test_diagnostics(world):
    a, b = world(images=2000, method_image_sd=0.6, method_caption_sd=0.3)
    rows = {row.metric: row for row in compare([a, b], resamples=1).rows}
    hits = [(r.t2i_ranks[0] < 1) for r in (a, b)]
    assert rows["t2i_r1"].diagnostics.disagreement == pytest.approx((hits[0] != hits[1]).mean())
    naive = 1e4 * (hits[0].astype(float) - hits[1]).var(ddof=1) / 10_000
    # The design effect is what the image-level variance shows against the caption-level one.
    assert rows["t2i_r1"].diagnostics.design_effect == pytest.approx(rows["t2i_r1"].se ** 2 / naive, rel=0.01)
    assert rows["t2i_r1"].diagnostics.design_effect > 1.5
    assert rows["i2t_r1"].diagnostics.design_effect == 1.0
    assert rows["rsum"].diagnostics.design_effect > 1.5


def test_p_matrix(world):
    result = compare(world(methods=3), metrics=["rsum"], pairs="method 0")
    matrix = result.p_matrix("rsum")
    assert np.diag(matrix).tolist() == [1, 1, 1]
    np.testing.assert_array_equal(matrix, matrix.T)
    assert matrix[0, 1] == result.rows[0].p_adjusted
    assert np.isnan(matrix[1, 2])


def test_a_correction_never_makes_a_claim_about_methods_surer(world):
    """Drawn seed effects have lighter tails than Satterthwaite's t: alone, maxT gave p below the raw one here."""
    runs = world(images=300, methods=3, seeds=3, seed_sd=0.1, offset=0.6)
    for correction in ("maxt", "holm"):
        result = compare(runs, claim="method", correction=correction, resamples=999)
        assert all(row.p_adjusted >= row.p for row in result.rows)
        assert all(row.simultaneous_low <= row.low and row.high <= row.simultaneous_high for row in result.rows)
