"""Margins and right answers: AUROC equals scikit-learn's, AURC a plain loop, and both have the spread of a bootstrap."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from harness.reports.statistics.errors import InvalidSetting
from harness.reports.statistics.outcomes.selective import aurc_score, auroc_score


def drawn(queries=400, pictures=80, decimals=8, seed=0):
    """Margins that tell something, answers, and the picture of each query; queries of a picture are alike."""
    draw = np.random.default_rng(seed)
    cluster = np.sort(np.concatenate([np.arange(pictures), draw.integers(0, pictures, queries - pictures)]))
    skill = draw.normal(size=pictures)[cluster] + draw.normal(size=queries)
    correct = (skill > 0.3).astype(float)
    return np.round(np.exp(0.7 * skill + draw.normal(size=queries)), decimals), correct, cluster, pictures


def aurc(margins, correct):
    """Mean over coverages of the risk, over all orders of tied margins by many shuffles."""
    draw, found = np.random.default_rng(1), []
    for _ in range(300):
        shuffled = draw.permutation(len(margins))
        order = shuffled[np.argsort(-margins[shuffled], kind="stable")]
        wrong = 1 - correct[order]
        found.append(np.mean([wrong[: k + 1].mean() for k in range(len(wrong))]))
    return 100 * float(np.mean(found))


@pytest.mark.parametrize("decimals", [8, 0])
def test_the_values_are_those_of_others(decimals):
    margins, correct, cluster, size = drawn(decimals=decimals)
    assert auroc_score([margins], [correct], cluster, size).mean == pytest.approx(100 * roc_auc_score(correct, margins))
    found = aurc_score([margins], [correct], cluster, size).mean
    assert found == pytest.approx(aurc(margins, correct), abs=1e-9 if decimals else 0.05)


def test_ties_are_averaged_over_their_orders_exactly():
    margins, correct = np.array([2.0, 1.0, 1.0, 1.0, 0.0]), np.array([1.0, 0.0, 1.0, 1.0, 0.0])
    every = []
    for middle in itertools.permutations([1, 2, 3]):
        wrong = 1 - correct[[0, *middle, 4]]
        every.append(np.mean([wrong[: k + 1].mean() for k in range(5)]))
    assert aurc_score([margins], [correct], np.arange(5), 5).mean == pytest.approx(100 * np.mean(every))


@pytest.mark.parametrize("score", [auroc_score, aurc_score])
@pytest.mark.parametrize("decimals", [8, 1])
def test_the_spread_is_that_of_pictures_drawn_again(score, decimals):
    margins, correct, cluster, size = drawn(decimals=decimals)
    found = score([margins], [correct], cluster, size)
    assert found.influence.sum() == pytest.approx(0, abs=1e-9)
    assert found.support.all()
    draw = np.random.default_rng(2)
    own = [np.flatnonzero(cluster == picture) for picture in range(size)]
    again = []
    for _ in range(600):
        rows = np.concatenate([own[picture] for picture in draw.integers(0, size, size)])
        again.append(score([margins[rows]], [correct[rows]], np.zeros(len(rows), int), 1).mean)
    assert found.split().se == pytest.approx(np.std(again), rel=0.12)


def test_margins_that_know_everything_or_nothing():
    margins, correct, cluster, size = drawn()
    sure = auroc_score([correct + 0.0], [correct], cluster, size)
    assert (sure.mean, auroc_score([-correct], [correct], cluster, size).mean) == (100.0, 0.0)
    assert auroc_score([np.zeros(len(margins))], [correct], cluster, size).mean == 50.0
    even = aurc_score([np.zeros(len(margins))], [correct], cluster, size).mean
    assert even == pytest.approx(100 * (1 - correct.mean()))
    assert (
        aurc_score([correct], [correct], cluster, size).mean
        < aurc_score([margins], [correct], cluster, size).mean
        < even
    )


def test_queries_without_an_answer_take_no_part():
    margins, correct, cluster, size = drawn()
    holes = correct.copy()
    holes[::3] = np.nan
    there = ~np.isnan(holes)
    for score in (auroc_score, aurc_score):
        found = score([margins], [holes], cluster, size)
        assert found.mean == score([margins[there]], [correct[there]], cluster[there], size).mean


def test_what_cannot_be_is_refused():
    with pytest.raises(InvalidSetting, match="one kind alone"):
        auroc_score([[1.0, 2.0]], [[1.0, 1.0]], [0, 1], 2)
    with pytest.raises(InvalidSetting, match="same queries"):
        auroc_score([[1.0, 2.0]], [[1.0]], [0, 1], 2)
    with pytest.raises(InvalidSetting, match="a seed has none"):
        aurc_score([[np.nan]], [[1.0]], [0], 1)
