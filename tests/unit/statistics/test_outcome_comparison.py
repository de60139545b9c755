"""Methods compared on scores of outcomes: against `compare`, against scipy, and against made-up truth."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from harness.reports.statistics.comparison import compare
from harness.reports.statistics.errors import InvalidSetting, TooFewImages
from harness.reports.statistics.outcomes.comparison import Declared, Subject, compare_scores, default_claim
from harness.reports.statistics.outcomes.recalls import retrieval_score
from harness.reports.statistics.outcomes.scores import mean_score, relative, slope
from harness.reports.statistics.power import Part, detectable_at
from harness.reports.statistics.runs import MethodRuns


def rsum(runs: MethodRuns):
    size = len(runs.image_ids)
    return retrieval_score("rsum", (runs.i2t_ranks, np.arange(size)), (runs.t2i_ranks, runs.caption_image), size)


def constant(a: int, b: int):
    """A score of 1 in one method and of 0 in the other, of so many pictures."""
    return {"a": mean_score([[1.0] * a], range(a), a), "b": mean_score([[0.0] * b], range(b), b)}


def only(a, b, **settings):
    (row,) = compare_scores([Subject("x", {"a": a, "b": b}, True)], Declared([("a", "b")], **settings))
    return row


@pytest.mark.parametrize(("claim", "size"), [("checkpoint", 1), ("checkpoint", 2), ("method", 3)])
def test_rsum_of_the_same_ranks_is_compared_as_by_the_comparison_of_runs(make_runs, claim, size):
    methods = [make_runs(name, draw=n, size=size, images=60) for n, name in enumerate("abc")]
    pairs = list(combinations("abc", 2))
    own = compare_scores(
        [Subject("rsum", {runs.name: rsum(runs) for runs in methods}, True)],
        Declared(pairs, claim=claim, resamples=2000, seed=4),
    )
    theirs = compare(methods, metrics=["rsum"], claim=claim, resamples=2000, seed=4).rows
    for ours, other in zip(own, theirs, strict=True):
        assert (ours.a, ours.b) == (other.a, other.b)
        assert (ours.p, ours.p_adjusted) == (pytest.approx(other.p), pytest.approx(other.p_adjusted))
        assert (ours.wins, ours.ties, ours.losses) == (other.wins, other.ties, other.losses)
        assert [ours.difference, ours.se, ours.low, ours.high] == pytest.approx(
            [other.difference, other.se, other.low, other.high]
        )


def test_unequal_numbers_of_captions_have_the_errors_of_the_comparison_of_runs(make_runs):
    owner = np.sort(np.random.default_rng(0).integers(0, 40, 160)).tolist() + list(range(40))
    methods = [make_runs(name, draw=n, caption_image=owner) for n, name in enumerate("ab")]
    row = only(*map(rsum, methods))
    (other,) = compare(methods, metrics=["rsum"]).rows
    assert [row.difference, row.se, row.low, row.high] == pytest.approx(
        [other.difference, other.se, other.low, other.high]
    )
    assert row.p == pytest.approx(other.p, abs=0.03)


def test_one_item_per_picture_against_scipy():
    draw = np.random.default_rng(1)
    a, b = draw.random((2, 80)) ** 2
    row = only(mean_score([a], range(80), 80), mean_score([b], range(80), 80))
    test = stats.ttest_1samp(100 * (a - b), 0)
    assert (row.low, row.high) == pytest.approx(tuple(test.confidence_interval()))
    flips = stats.permutation_test(
        (a - b,), lambda x, axis: x.mean(axis=axis), permutation_type="samples", vectorized=True, n_resamples=10_000,
        rng=np.random.default_rng(0),
    ).pvalue  # fmt: skip
    assert row.p == pytest.approx(flips, abs=0.02)


def test_a_method_against_itself_is_zero_and_p_is_1():
    score = mean_score(np.random.default_rng(2).random((1, 50)), range(50), 50)
    row = only(score, score)
    assert (row.difference, row.p, row.p_adjusted, row.outcome) == (0, 1, 1, "same answers")


def test_swapping_two_methods_negates_the_difference():
    draw = np.random.default_rng(3)
    a, b = (mean_score(draw.random((1, 90)), np.repeat(range(45), 2), 45) for _ in range(2))
    row, back = only(a, b), only(b, a)
    assert (back.difference, back.low, back.high) == (-row.difference, -row.high, -row.low)
    assert (back.p, back.wins, back.losses) == (row.p, row.losses, row.wins)


def test_methods_are_compared_only_on_scores_that_both_have():
    score = {name: mean_score(np.random.default_rng(n).random((1, 40)), range(40), 40) for n, name in enumerate("abc")}
    subjects = [Subject("x", score, True), Subject("y", {"a": score["a"], "b": score["b"]}, False)]
    rows = compare_scores(subjects, Declared(list(combinations("abc", 2))))
    assert [(row.key, row.a, row.b, row.family, row.m) for row in rows] == [
        ("x", "a", "b", "primary", 3), ("x", "a", "c", "primary", 3), ("x", "b", "c", "primary", 3),
        ("y", "a", "b", "secondary", 1),
    ]  # fmt: skip
    assert rows[3].p_adjusted == pytest.approx(rows[3].p, abs=1e-12)


def test_pictures_without_a_part_in_a_score_do_not_count():
    draw = np.random.default_rng(4)
    values, owner = draw.random((2, 40)), np.arange(40)
    inside = [mean_score([row], owner, 40) for row in values]
    among = [mean_score([row], owner, 400) for row in values]
    row, wide = only(*inside), only(*among)
    assert (wide.difference, wide.se) == (pytest.approx(row.difference), pytest.approx(row.se))
    assert wide.variance.df == row.variance.df == 39
    assert wide.p == pytest.approx(row.p, abs=0.02)
    assert wide.ties == 360


@pytest.mark.parametrize(
    ("subjects", "error"),
    [
        ([Subject("x", {}, True)], InvalidSetting),
        ([Subject("x", constant(9, 9), True)], TooFewImages),
        ([Subject("x", constant(40, 41), True)], InvalidSetting),
    ],
)
def test_what_cannot_be_compared_is_refused(subjects, error):
    with pytest.raises(error):
        compare_scores(subjects, Declared([("a", "b")]))


def test_the_claim_follows_the_seeds():
    three, one = mean_score(np.eye(3), range(3), 3), mean_score([[1.0, 0.0, 1.0]], range(3), 3)
    assert default_claim([Subject("x", {"a": three, "b": three}, True)]) == "method"
    assert default_claim([Subject("x", {"a": three, "b": one}, True)]) == "checkpoint"
    assert default_claim([]) == "checkpoint"


def clutter(draw: np.random.Generator, steeper: float, pictures: int = 80):
    """Hits of two methods at 2, 4, 8 and 12 objects; pictures differ, and the second falls by `steeper` more per object."""
    easy = draw.normal(0, 0.1, pictures)
    made = []
    for extra in (0.0, steeper):
        levels = [
            (draw.random(pictures) < 0.75 - (0.03 + extra) * objects + easy).astype(float) for objects in (2, 4, 8, 12)
        ]
        made.append(slope([mean_score([hits], range(pictures), pictures) for hits in levels], [2, 4, 8, 12]))
    return made


def test_the_slope_test_rejects_as_often_as_it_says_where_slopes_are_equal():
    draw = np.random.default_rng(5)
    rejected = np.mean([only(*clutter(draw, 0.0), resamples=999).significant for _ in range(300)])
    assert 0.02 < rejected < 0.09  # 0.05 ± 3 standard errors of 300 draws


def test_the_slope_test_finds_a_difference_and_its_interval_covers_it():
    draw = np.random.default_rng(6)
    rows = [only(*clutter(draw, 0.03), resamples=999) for _ in range(60)]
    assert np.mean([row.significant and row.difference > 0 for row in rows]) > 0.8
    assert np.mean([row.low < 3 < row.high for row in rows]) > 0.85


def test_ratios_are_compared_too():
    draw = np.random.default_rng(7)
    clean = draw.random((2, 60)) < 0.8
    kept = [mean_score([clean[0]], range(60), 60), mean_score([clean[1]], range(60), 60)]
    lost = [mean_score([clean[m] & (draw.random(60) < keep)], range(60), 60) for m, keep in enumerate((0.9, 0.4))]
    row = only(relative(lost[0], kept[0]), relative(lost[1], kept[1]))
    assert row.outcome == "A higher"
    assert row.difference == pytest.approx(100 * (lost[0].mean / kept[0].mean - lost[1].mean / kept[1].mean))


def test_a_correction_never_lowers_the_p_of_a_claim_about_methods():
    """MaxT draws seed effects where the raw p is Satterthwaite's: with few seeds its tails may be the lighter ones."""
    draw = np.random.default_rng(7)
    scores = {}
    for name in "abc":
        shifts = draw.normal(0, 0.05, (3, 1))
        scores[name] = mean_score(draw.random((3, 60)) * 0.3 + 0.4 + shifts, range(60), 60)
    rows = compare_scores([Subject("x", scores, False)], Declared(list(combinations("abc", 2)), claim="method"))
    assert all(row.p_adjusted >= row.p for row in rows)


def test_the_detectable_difference_knows_how_few_the_seeds_are():
    """Of three seeds, whose standard error has hardly more degrees of freedom than four."""
    draw = np.random.default_rng(8)
    a, b = (
        mean_score(0.5 + 0.01 * draw.random((3, 60)) + draw.normal(0, 0.1, (3, 1)), range(60), 60) for _ in range(2)
    )
    row = only(a, b, claim="method")
    assert row.variance.df < 5
    assert row.detectable > 3.76 * row.se  # by the noncentral t of four degrees of freedom
    assert row.detectable == pytest.approx(
        detectable_at(
            [Part(v, df) for v, df in zip((row.variance.images, *row.variance.seeds), row.variance.dfs, strict=True)]
        ),
        rel=0.01,
    )
