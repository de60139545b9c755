"""Every refusal and every warning of the statistics page: which error, with which ids, counts and remedy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.errors import ItmError
from harness.reports.statistics import errors
from harness.reports.statistics.across import DatasetDifference, across_datasets, win_counts
from harness.reports.statistics.comparison import compare
from harness.reports.statistics.intervals import single_interval, tost
from harness.reports.statistics.ranking import tiers
from harness.reports.statistics.refusals import refuse_aggregate_only
from harness.reports.statistics.variance import combine


def changed(runs, field, index, value):
    array = getattr(runs, field).copy()
    array[index] = value
    return {field: array}


def other_ids(runs, count, field="image_ids"):
    ids = getattr(runs, field).copy()
    ids[:count] = [f"new{i}" for i in range(count)]
    return {field: ids}


PAIRWISE = {
    "other images": (
        lambda r: other_ids(r, 2),
        errors.DifferentQueries,
        r"2 \(i000, i001\) only in 'a'.*evaluate both",
    ),
    "other captions": (
        lambda r: other_ids(r, 1, "caption_ids"),
        errors.DifferentQueries,
        r"caption queries: 1 \(c000\)",
    ),
    "gallery": (lambda r: {"gallery": "coco_5k"}, errors.DifferentGalleries, "gallery '' and 'b' 'coco_5k'; compare"),
    "caption map": (
        lambda r: changed(r, "caption_image", 7, 30),
        errors.DifferentCaptionMaps,
        r"image of the captions for 1 \(c007\); evaluate both",
    ),
    "folds": (
        lambda r: changed(r, "fold", slice(3), 1),
        errors.DifferentCaptionMaps,
        r"fold of the images for 3 \(i000",
    ),
    "asked images": (
        lambda r: changed(r, "image_queried", 5, False),
        errors.DifferentCaptionMaps,
        r"choice of image queries for 1 \(i005\)",
    ),
    "best of several seeds": (lambda r: {"seed_selection": "best"}, errors.BestSeedRuns, r"1 \(b\).*give all seeds"),
    "one name": (lambda r: {"name": "a"}, errors.DuplicateQueries, r"methods named twice: 1 \(a\)"),
}


@pytest.mark.parametrize("case", PAIRWISE)
def test_runs_that_do_not_belong_together(make_runs, case):
    change, error, message = PAIRWISE[case]
    a, b = make_runs("a"), make_runs("b", draw=1)
    compare([a, b])
    with pytest.raises(error, match=message) as caught:
        compare([a, replace(b, **change(b))])
    assert isinstance(caught.value, errors.InvalidComparison)
    assert isinstance(caught.value, ItmError)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_missing_queries_are_listed_and_not_filled_in(make_runs):
    whole, part = make_runs("whole"), make_runs("part", images=39)
    with pytest.raises(errors.MissingQueries, match=r"'part' lacks image queries 1 \(i039\).*not filled in"):
        compare([whole, part])
    fewer = replace(whole, name="fewer", caption_ids=whole.caption_ids[:-7], caption_image=whole.caption_image[:-7],
                    t2i_ranks=whole.t2i_ranks[:, :-7])  # fmt: skip
    with pytest.raises(errors.MissingQueries, match=r"'fewer' lacks caption queries 7 \(c193, .*, \.\.\.\)"):
        compare([whole, fewer])


RANKS = np.arange(40.0)
SINGLE = {
    "duplicate image": ({"image_ids": ["x"] * 2 + list("abcdefghijklmnopqrstuvwyz") + list("ABCDEFGHIJKLM")},
                        errors.DuplicateQueries, r"repeated image ids: 1 \(x\)"),
    "NaN rank": ({"i2t_ranks": np.where(RANKS == 3, np.nan, RANKS)}, errors.InvalidRanks, r"queries 1 \(i003\)"),
    "infinite rank": ({"i2t_ranks": np.where(RANKS > 37, np.inf, RANKS)}, errors.InvalidRanks, r"2 \(i038, i039\)"),
    "negative rank": ({"i2t_ranks": RANKS - 1}, errors.InvalidRanks, r"1 \(i000\); ranks are counted from 0"),
    "missing ranks": ({"i2t_ranks": RANKS[:30]}, errors.InvalidRanks, r"1 seeds x 40 queries, got \(1, 30\)"),
    "map out of range": ({"caption_image": np.full(200, 40)}, errors.DifferentCaptionMaps, "rows 0 to 39, got 40"),
    "map of halves": ({"caption_image": np.full(200, 0.5)}, errors.DifferentCaptionMaps, "200 whole numbers"),
    "short folds": ({"fold": np.zeros(39)}, errors.DifferentCaptionMaps, r"40 images but folds \(39,\)"),
    "no seed": ({"seeds": []}, errors.DuplicateQueries, r"at least one seed is needed and each once, got \[\]"),
    "seed twice": ({"seeds": [1, 1]}, errors.DuplicateQueries, r"got \[1, 1\]"),
    "aggregates": ({"t2i_ranks": None}, errors.AggregateOnlyResults, "'a': no per-query ranks.*run the method here"),
    "selection": ({"seed_selection": "bst"}, errors.InvalidSetting, "seed_selection must be all or best, got 'bst'"),
    "flags": ({"image_queried": np.zeros(40, bool)}, errors.InvalidRanks, "at least one true"),
}  # fmt: skip


@pytest.mark.parametrize("case", SINGLE)
def test_runs_that_contradict_themselves(make_runs, case):
    change, error, message = SINGLE[case]
    with pytest.raises(error, match=message):
        make_runs("a", **change)


def test_seeds_that_cannot_carry_the_claim(make_runs):
    two = [make_runs(n, size=2, draw=d) for d, n in enumerate("ab")]
    with pytest.raises(errors.TooFewSeeds, match=r"needs 3 seeds .* 2 \('a' 2, 'b' 2\); train more seeds or claim"):
        compare(two, claim="method")
    unequal = [make_runs("a", size=3), make_runs("b", size=4, draw=1)]
    with pytest.raises(errors.UnequalSeeds, match=r"2 \('a' 3, 'b' 4\).*allow it by --allow-unequal-seeds"):
        compare(unequal, claim="method")
    assert compare(unequal, claim="method", allow_unequal_seeds=True).seeds == (3, 4)
    with pytest.raises(errors.TooFewSeeds, match="at least 2 seeds"):
        combine(1.0, 9, [[5.0]])


def test_too_few_images(make_runs):
    runs = [make_runs(n, images=29, draw=d) for d, n in enumerate("ab")]
    with pytest.raises(errors.TooFewImages, match="29 images are too few for a test, at least 30"):
        compare(runs)
    assert compare([make_runs(n, images=30, draw=d) for d, n in enumerate("ab")]).images == 30
    with pytest.raises(errors.TooFewImages, match="2 images in every fold, got 1"):
        single_interval(make_runs(fold=[0] * 39 + [1]), "rsum")


def test_too_few_resamples(world):
    runs = world(methods=5)
    with pytest.raises(errors.TooFewResamples, match="at least 4199999"):
        compare(runs, correction="bh", alpha=70 * 10 / 4_200_000)


def test_only_p_values_that_are_counted_among_resamples_ask_for_more(world):
    """Those of claims about methods are t's."""
    runs = world(methods=5, seeds=3)  # 10 pairs
    assert compare(runs, claim="checkpoint", resamples=100).resamples == 1999
    assert compare(runs, claim="method", resamples=1000).resamples == 1000
    many, few = (compare(runs, claim="method", resamples=count) for count in (4000, 1000))
    tested = [[row.p_adjusted for row in found.rows if row.metric == "rsum"] for found in (many, few)]
    assert tested[0] == tested[1]


@pytest.mark.parametrize("delta", [None, 0, -1.0, float("nan"), float("inf"), True, "5"])
def test_equivalence_without_a_margin(world, delta):
    with pytest.raises(errors.MissingEquivalenceBound, match=r"needs a margin in points.*declare"):
        tost(0.0, 1.0, 10, delta)
    if delta is not None:
        with pytest.raises(errors.MissingEquivalenceBound, match="rsum needs a margin"):
            compare(world(), equivalence=delta)


def test_published_averages_are_refused():
    refuse_aggregate_only([])
    with pytest.raises(
        errors.AggregateOnlyResults, match=r"2 \(SCAN, CHAN\): a test needs every query's rank.*run these"
    ):
        refuse_aggregate_only(["SCAN", "CHAN"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"claim": "both"}, "claim must be checkpoint or method, got 'both'"),
        ({"correction": "tukey"}, "correction must be one of holm, maxt, bh, got 'tukey'"),
        ({"alpha": 0.0}, "alpha must be a number above 0 and below 0.5, got 0.0"),
        ({"alpha": float("nan")}, "alpha must be a number"),
        ({"resamples": 0}, "resamples must be a whole number from 1 to 1,000,000, got 0"),
        ({"seed": -1}, "the seed of the resampling must be a whole number of at least 0, got -1"),
        ({"metrics": []}, "at least one metric"),
        ({"metrics": ["rsum", "rsum"]}, "each once"),
        ({"pairs": []}, "at least one pair"),
        ({"pairs": [("method 0", "method 0")]}, "two different methods"),
        ({"equivalence": {"medr": 5.0}}, "unknown metric 'medr'"),
    ],
)
def test_settings_out_of_range(world, settings, message):
    with pytest.raises(ItmError, match=message):
        compare(world(), **settings)


def test_one_method_is_no_comparison(make_runs):
    with pytest.raises(errors.InvalidSetting, match="at least 2 methods, got 1"):
        compare([make_runs()])


def test_tiers_need_all_pairs_and_family_wise_error(world):
    runs = world(methods=3)
    with pytest.raises(errors.InvalidSetting, match="need all 3 pairs, got 2"):
        tiers(compare(runs, pairs="method 0"))
    with pytest.raises(errors.InvalidSetting, match="family-wise correction, got bh"):
        tiers(compare(runs, correction="bh"))


def notices(runs):
    return {n.code: n.message for n in compare(runs).notices}


def test_warnings(make_runs, world):
    assert notices(world(images=200)) == {}
    few = [make_runs("a"), make_runs("b", draw=1, checkpoint_chosen_on="test")]
    found = notices(few)
    assert list(found) == ["few_images", "chosen_on_test"]
    assert "Only 40 images" in found["few_images"]
    assert "1 (b) were chosen on test data" in found["chosen_on_test"]
    unequal = np.repeat(np.arange(40), np.resize([4, 6], 40))
    found = notices([make_runs(n, draw=d, caption_image=unequal) for d, n in enumerate("ab")])
    assert "4 to 6 captions: the ratio estimator" in found["unequal_captions"]
    same = notices([make_runs("a"), make_runs("b"), make_runs("c", draw=1)])
    assert "No query tells 7 pairs apart (a and b on i2t_r1; " in same["no_discordance"]


def differences(values, images=None):
    names = images or [f"set{i}" for i in range(len(values))]
    return [DatasetDifference(f"d{i}", n, v, v > 2) for i, (n, v) in enumerate(zip(names, values, strict=True))]


def test_datasets_are_counted_and_tested_only_from_six_on():
    counts = win_counts(differences([1.5, 3.0, 0.0, -1.0, 2.5]))
    assert (counts.wins, counts.ties, counts.losses, counts.significant_wins, counts.significant_losses) == (
        3,
        1,
        1,
        2,
        0,
    )
    with pytest.raises(errors.TooFewDatasets, match=r"5 datasets cannot give a p below 0\.0625, at least 6"):
        across_datasets(differences([1, 1, 1, 1, 1]))
    assert across_datasets(differences([0.3, 1.2, 2.0, 0.1, 5.0, 1.0])) == 0.03125
    with pytest.raises(errors.DuplicateQueries, match=r"same images are one dataset: d0, d1"):
        across_datasets(differences([1, 1, 1, 1, 1, 1], ["coco", "coco", "f8k", "f30k", "scenes", "x"]))
