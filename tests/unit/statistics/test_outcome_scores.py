"""Scores of outcomes: their values by hand, their intervals against the jackknife and the bootstrap."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from harness.reports.statistics.errors import InvalidSetting
from harness.reports.statistics.outcomes import scores
from harness.reports.statistics.outcomes.recalls import recall, retrieval_score
from harness.reports.statistics.outcomes.scores import Score, average, mean_score, relative, total, weighted


def drawn(seed: int, pictures: int = 60, seeds: int = 1, most: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Hits (S, Q) of items whose number per picture varies, likelier in some pictures, and the pictures (Q,)."""
    draw = np.random.default_rng(seed)
    owner = np.repeat(np.arange(pictures), draw.integers(1, most + 1, pictures))
    chance = draw.uniform(0.1, 0.9, pictures)
    return (draw.random((seeds, len(owner))) < chance[owner]).astype(np.float64), owner


def jackknife(statistic, values: np.ndarray, owner: np.ndarray, pictures: int) -> float:
    """Standard error of a statistic of (values, owner) by leaving out one picture at a time."""
    left = np.array([statistic(values[..., owner != i], owner[owner != i]) for i in range(pictures)])
    return math.sqrt((pictures - 1) / pictures * np.square(left - left.mean()).sum())


def test_a_mean_is_that_of_its_items_and_its_parts_sum_to_it():
    values, owner = drawn(0, seeds=2)
    score = mean_score(values, owner, 60)
    np.testing.assert_allclose(score.values, 100 * values.mean(axis=1))
    assert score.parts.sum() == pytest.approx(100 * values.mean())
    np.testing.assert_allclose(score.influence.sum(axis=1), 0, atol=1e-9)


def test_the_standard_error_of_a_mean_is_the_jackknife_of_pictures():
    values, owner = drawn(1, pictures=200)
    score = mean_score(values, owner, 200)
    by_hand = jackknife(lambda v, _: 100 * v.mean(), values, owner, 200)
    assert score.split().se == pytest.approx(by_hand, rel=0.02)


def test_the_standard_error_of_a_mean_is_the_bootstrap_of_pictures():
    values, owner = drawn(2, pictures=150)
    sums, counts = (np.bincount(owner, weights=w) for w in (values[0], np.ones(len(owner))))
    found = stats.bootstrap(
        (sums, counts), lambda s, n, axis: 100 * s.sum(axis=axis) / n.sum(axis=axis), paired=True, vectorized=True,
        n_resamples=4000, method="percentile", rng=np.random.default_rng(0),
    )  # fmt: skip
    assert mean_score(values, owner, 150).split().se == pytest.approx(found.standard_error, rel=0.06)


def test_worked_value_of_six_pictures_with_five_captions_each():
    """46.667 points with SE 17.6383 (docs of the statistics, section 5)."""
    hits = np.array([[n >= 5 - d for n in range(5)] for d in (5, 4, 3, 2, 1)] + [[False] * 5])
    minus = np.array([[False] * 5] * 5 + [[True, False, False, False, False]])
    owner = np.repeat(np.arange(6), 5)
    score = mean_score(hits.reshape(1, -1), owner, 6) - mean_score(minus.reshape(1, -1), owner, 6)
    assert score.mean == pytest.approx(46.667, abs=5e-4)
    assert score.split().se == pytest.approx(17.6383, abs=5e-5)


def three(a: np.ndarray, b: np.ndarray) -> list[float]:
    return [a.mean(), b.mean(), b.mean()]


def test_items_without_a_value_take_no_part():
    values, owner = drawn(3)
    some = owner % 3 > 0
    hidden = np.where(some, values, np.nan)
    score, own = mean_score(hidden, owner, 60), mean_score(values[:, some], owner[some], 60)
    assert score.mean == own.mean
    np.testing.assert_array_equal(score.influence, own.influence)
    assert score.pictures == len(set(owner[some]))


@pytest.mark.parametrize(
    ("make", "statistic"),
    [
        (lambda a, b: relative(b, a), lambda a, b: 100 * b.mean() / a.mean()),
        (lambda a, b: b - a, lambda a, b: 100 * (b.mean() - a.mean())),
        (lambda a, b: average([a, b]), lambda a, b: 50 * (b.mean() + a.mean())),
        (lambda a, b: scores.slope([a, b, b], [1, 2, 6]), lambda a, b: 100 * np.polyfit([1, 2, 6], three(a, b), 1)[0]),
        (lambda a, b: scores.area([a, b, b], [0, 1, 5]), lambda a, b: 20 * np.trapezoid(three(a, b), [0, 1, 5])),
        (lambda a, b: relative(scores.area([a, b], [0, 1]), a), lambda a, b: 50 * (a.mean() + b.mean()) / a.mean()),
    ],
    ids=["relative", "difference", "average", "slope", "area", "relative area"],
)  # fmt: skip
def test_what_is_made_of_scores_has_the_right_value_and_the_jackknife_error(make, statistic):
    clean, owner = drawn(4, pictures=250)
    perturbed = clean * (np.random.default_rng(5).random(clean.shape) < 0.7)
    made = make(mean_score(clean, owner, 250), mean_score(perturbed, owner, 250))
    assert made.mean == pytest.approx(statistic(clean[0], perturbed[0]))
    both = np.stack([clean[0], perturbed[0]])
    by_hand = jackknife(lambda v, _: statistic(v[0], v[1]), both, owner, 250)
    assert made.split().se == pytest.approx(by_hand, rel=0.03)
    assert made.parts.sum() == pytest.approx(made.mean)


def test_strata_are_centred_each_in_itself():
    """The error of a difference of two strata is that of two independent means, however far apart they lie."""
    high, low = np.array([[1, 1, 1, 1, 0, 1]]), np.array([[0, 0, 0, 1, 0, 0]])
    first, second = mean_score(high, range(6), 12), mean_score(low, range(6, 12), 12)
    difference = first - second
    expected = first.split().images * 5 / 6 + second.split().images * 5 / 6
    assert difference.split().images == pytest.approx(expected * 12 / 11)


def test_rsum_is_the_sum_of_six_recalls():
    draw = np.random.default_rng(6)
    i2t = draw.integers(0, 15, (2, 40)).astype(float)
    t2i = draw.integers(0, 15, (2, 80)).astype(float)
    owner = np.repeat(np.arange(40), 2)
    score = retrieval_score("rsum", (i2t, np.arange(40)), (t2i, owner), 40)
    by_hand = [100 * sum((row < k).mean() for row in (i2t[s], t2i[s]) for k in (1, 5, 10)) for s in range(2)]
    np.testing.assert_allclose(score.values, by_hand)
    assert recall(t2i, owner, 40, 5).mean == pytest.approx(100 * (t2i < 5).mean())


def test_several_seeds_add_their_variance():
    values, owner = drawn(7, seeds=3)
    score = mean_score(values, owner, 60)
    split, alone = score.split(), score.split(seeds=False)
    assert split.seeds == (pytest.approx(score.values.var(ddof=1) / 3),)
    assert split.total == pytest.approx(alone.images + split.seeds[0])
    assert score.interval().sd == pytest.approx(score.values.std(ddof=1))


def test_an_interval_is_cut_to_the_range_of_the_score():
    score = mean_score([[1.0] * 29 + [0.0]], range(30), 30)
    assert score.interval().high > 100
    assert score.interval(low=0, high=100).high == 100


@pytest.mark.parametrize(
    "call",
    [
        lambda: mean_score([[np.nan]], [0], 1),
        lambda: mean_score([[np.inf]], [0], 1),
        lambda: mean_score([[1.0]], [1], 1),
        lambda: mean_score([[1.0, 0.0], [np.nan, np.nan]], [0, 1], 2),
        lambda: relative(mean_score([[1.0]], [0], 1), mean_score([[0.0]], [0], 1)),
        lambda: relative(mean_score([[1.0]], [0], 1), mean_score([[1.0]], [0], 2)),
        lambda: weighted([], []),
        lambda: total([mean_score([[1.0]], [0], 1), mean_score([[1.0], [1.0]], [0], 1)]),
        lambda: scores.slope_weights([2, 2]),
        lambda: scores.area_weights([1]),
        lambda: scores.area_weights([np.nan, 1]),
    ],
)
def test_what_has_no_score_is_refused(call):
    with pytest.raises(InvalidSetting):
        call()


def test_parts_are_whole_multiples_where_a_denominator_says_so():
    values = np.random.default_rng(8).integers(0, 2, (1, 120)).astype(float)
    mean = mean_score(values, np.repeat(np.arange(40), 3), 40)
    both: Score = average([mean, mean])
    for score in (mean, both):
        units = score.parts * score.denominator / 100
        np.testing.assert_allclose(units, np.rint(units), atol=1e-9)
    assert (mean.denominator, both.denominator) == (120, 240)
    uneven = mean_score(values[:, :5], [0, 0, 1, 2, 3], 40)
    assert (uneven.denominator, (mean - uneven).denominator, relative(mean, mean).denominator) == (0, 0, 0)
