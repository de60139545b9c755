"""Borda counts, win rates and their resampling, against naive loops and scipy, and by properties."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import rankdata

from harness.reports.statistics.borda import (
    DatasetRuns,
    borda_counts,
    dataset_ranks,
    resampled_scores,
    standings,
    win_rates,
)
from harness.reports.statistics.errors import DuplicateQueries, InvalidSetting, TooFewImages, TooFewSeeds
from harness.reports.statistics.hits import METRICS, image_columns
from harness.reports.statistics.runs import MethodRuns

QUICK = {"resamples": 199}


@pytest.fixture
def two(make_runs):
    """Three methods on two datasets of different sizes."""

    def make(size: int = 1) -> list[DatasetRuns]:
        return [
            DatasetRuns(
                name, name, [make_runs(m, draw=10 * d + n, size=size, images=images) for n, m in enumerate("abc")]
            )
            for d, (name, images) in enumerate((("small", 40), ("large", 60)))
        ]

    return make


def naive_borda(scores):
    counts = [0.0] * len(scores[0])
    for row in scores:
        for i, own in enumerate(row):
            for j, other in enumerate(row):
                if i != j:
                    counts[i] += 1.0 if own > other else 0.5 if own == other else 0.0
    return counts


def test_counts_ranks_and_rates_are_those_of_a_loop_and_of_scipy():
    scores = np.random.default_rng(3).integers(0, 5, (7, 6)).astype(float)  # many ties
    assert borda_counts(scores).tolist() == naive_borda(scores.tolist())
    assert np.array_equal(dataset_ranks(scores), [rankdata(-row) for row in scores])
    rates = win_rates(scores)
    assert rates[1, 4] == np.mean([1.0 if r[1] > r[4] else 0.5 if r[1] == r[4] else 0.0 for r in scores])
    assert np.allclose(
        np.nanmean(rates, axis=1), borda_counts(scores) / (7 * 5)
    )  # the mean win rate is the count's share
    off = ~np.eye(6, dtype=bool)
    assert np.allclose((rates + rates.T)[off], 1.0)


def test_a_resampled_score_is_that_of_the_images_written_out():
    owner = np.repeat(np.arange(30), np.random.default_rng(1).integers(1, 5, 30))  # unequal numbers of captions
    fold = np.arange(30) % 2
    queried = np.arange(30) % 7 > 0
    runs = [
        MethodRuns(
            name=name,
            seeds=[0, 1],
            i2t_ranks=np.random.default_rng(draw).integers(0, 15, (2, 30)),
            t2i_ranks=np.random.default_rng(draw + 9).integers(0, 15, (2, len(owner))),
            caption_image=owner,
            image_ids=[f"i{n}" for n in range(30)],
            caption_ids=[f"c{n}" for n in range(len(owner))],
            fold=fold,
            image_queried=queried,
        )
        for draw, name in enumerate("ab")
    ]
    found = resampled_scores(image_columns(runs, METRICS[:6]), 5, np.random.default_rng(4))
    generator = np.random.default_rng(4)
    draws = [generator.multinomial(15, np.full(15, 1 / 15), size=5) for _ in range(2)]
    for r in range(5):
        for m, run in enumerate(runs):
            total = 0.0
            for k in (1, 5, 10):
                for f in range(2):
                    hits = {"i2t": 0.0, "t2i": 0.0}
                    queries = {"i2t": 0, "t2i": 0}
                    for copies, image in zip(draws[f][r], np.flatnonzero(fold == f), strict=True):
                        for _ in range(copies):
                            if queried[image]:
                                queries["i2t"] += 1
                                hits["i2t"] += np.mean([run.i2t_ranks[s, image] < k for s in range(2)])
                            for caption in np.flatnonzero(owner == image):
                                queries["t2i"] += 1
                                hits["t2i"] += np.mean([run.t2i_ranks[s, caption] < k for s in range(2)])
                    total += sum(100 * hits[d] / queries[d] for d in hits) / 2
            assert found[r, m] == pytest.approx(total, abs=1e-9)


def test_the_interval_of_a_place_is_that_of_the_counts_of_every_draw(two):
    datasets = two()
    found = standings(datasets, **QUICK)
    drawn = []
    for number, dataset in enumerate(datasets):
        columns = image_columns(dataset.methods, METRICS[:6])
        drawn.append(resampled_scores(columns, 199, np.random.default_rng([0, number])))
    places = []
    for r in range(199):
        counts = naive_borda(np.round([scores[r] for scores in drawn], 9).tolist())
        places.append([(1 + sum(c > own for c in counts), 3 - sum(c < own for c in counts)) for own in counts])
    best, worst = np.sort(places, axis=0).transpose(2, 1, 0)  # (M, R) each, sorted
    # 199 draws: the 5th from either end bounds 2.5 %
    assert found.place_low.tolist() == np.minimum(best[:, 4], found.places).tolist()
    assert found.place_high.tolist() == np.maximum(worst[:, 194], found.places).tolist()
    assert found.first.sum() == pytest.approx(1.0)
    assert np.allclose(found.scores, [image_columns(d.methods, ["rsum"]).scores[:, 0] for d in datasets])


def test_the_order_of_methods_and_datasets_decides_nothing_but_their_order(two):
    datasets = two()
    found = standings(datasets, **QUICK)
    turned = [replace(d, methods=[d.methods[i] for i in (2, 0, 1)]) for d in datasets]
    other = standings(turned, **QUICK)
    back = [other.methods.index(name) for name in found.methods]
    for key in ("counts", "places", "place_low", "place_high", "first", "rates", "rate_low", "rate_high"):
        assert np.array_equal(getattr(other, key)[back], getattr(found, key)), key
    assert np.array_equal(other.ahead[np.ix_(back, back)], found.ahead, equal_nan=True)
    assert standings(datasets[::-1], **QUICK).counts.tolist() == found.counts.tolist()
    mixed = [datasets[0], replace(datasets[1], methods=datasets[1].methods[::-1])]
    assert np.array_equal(standings(mixed, **QUICK).place_high, found.place_high)


def test_identical_methods_share_their_places(two):
    datasets = [replace(d, methods=[*d.methods, replace(d.methods[0], name="twin")]) for d in two()]
    found = standings(datasets, **QUICK)
    assert found.counts[0] == found.counts[3]
    assert found.places[0] == found.places[3]
    assert (found.place_low[0], found.place_high[0]) == (found.place_low[3], found.place_high[3])
    assert found.place_high[0] - found.place_low[0] >= 1  # neither can be told to be the better one
    assert found.wins[0, 3] == found.ahead[0, 3] == 0.5
    assert found.first[0] == found.first[3]


def test_a_method_that_wins_every_image_is_first_in_every_draw(make_runs):
    def on(name, images, draw):
        runs = make_runs(draw=draw, images=images)
        best = replace(runs, name="best", i2t_ranks=0 * runs.i2t_ranks, t2i_ranks=0 * runs.t2i_ranks)
        return DatasetRuns(name, name, [runs, best])

    found = standings([on("x", 40, 1), on("y", 50, 2)], **QUICK)
    assert found.first.tolist() == [0.0, 1.0]
    assert found.ahead[1, 0] == 1.0
    assert (found.place_low.tolist(), found.place_high.tolist()) == ([2, 1], [2, 1])


def test_a_claim_about_methods_adds_what_seeds_would_move(make_runs):
    def on(name, draw):
        runs = make_runs("steady", draw=draw, size=3, images=200)
        fixed = np.repeat(runs.i2t_ranks[:1], 3, axis=0), np.repeat(runs.t2i_ranks[:1], 3, axis=0)
        steady = replace(runs, i2t_ranks=fixed[0], t2i_ranks=fixed[1])
        moved = np.array([[0], [2], [4]])
        shaky = replace(steady, name="shaky", i2t_ranks=fixed[0] + moved, t2i_ranks=fixed[1] + moved)
        return DatasetRuns(name, name, [steady, shaky])

    datasets = [on("x", 1), on("y", 2)]
    options = {"resamples": 999}
    alone, retrained = (standings(datasets, claim=claim, **options) for claim in ("checkpoint", "method"))
    assert alone.ahead[0, 1] == 1.0  # on the images alone there is no doubt
    assert 0.5 < retrained.ahead[0, 1] < 1.0


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (lambda ds: [ds[0], replace(ds[1], images="small")], DuplicateQueries, "small, large"),
        (lambda ds: ds[:1], InvalidSetting, "at least 2 of them, got 1"),
        (lambda ds: [ds[0], replace(ds[1], methods=ds[1].methods[:2])], InvalidSetting, "large has 2 and lacks c"),
        (lambda ds: [replace(d, methods=d.methods[:1]) for d in ds], InvalidSetting, "at least 2 and each once"),
        (lambda ds: [replace(d, methods=[*d.methods, d.methods[0]]) for d in ds], InvalidSetting, "each once"),
    ],
)
def test_what_cannot_be_ranked_is_refused(two, change, error, said):
    with pytest.raises(error, match=said):
        standings(change(two()), **QUICK)


def test_one_seed_says_nothing_of_retraining(two):
    with pytest.raises(TooFewSeeds, match="train more seeds"):
        standings(two(), claim="method", **QUICK)


def test_a_draw_without_a_query_is_refused(make_runs):
    few = [make_runs(name, draw=n, image_queried=np.arange(40) == 0) for n, name in enumerate("ab")]
    with pytest.raises(TooFewImages, match="no i2t query"):
        resampled_scores(image_columns(few, METRICS[:6]), 50, np.random.default_rng(0))
