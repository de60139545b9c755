"""The expected tie rule against every order of the tied items, one after the other, and against chance."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.metrics import RankCounts, count_ranks, ranks, relevance_metrics, retrieval_metrics
from harness.protocols import evaluate
from harness.records.ties import TiedRanks
from harness.reports.runs.groups import Gallery
from harness.reports.runs.loading import runs_of_table
from harness.reports.statistics.errors import InvalidRanks
from harness.reports.statistics.hits import METRICS, components, image_columns
from harness.reports.statistics.queries import QueryHits
from harness.reports.statistics.refusals import aligned
from harness.reports.statistics.runs import MethodRuns, joined_seeds

GALLERY = Gallery("data", "test", "0" * 64, "full")
KEYS = ("r1", "r5", "r10", "medr", "meanr")


def every_rank(scores: np.ndarray, positive: np.ndarray) -> list[int]:
    """0-based rank of the first positive in every order of the items that leaves the scores falling."""
    orders = permutations(range(len(scores)))
    falling = (order for order in orders if all(scores[a] >= scores[b] for a, b in pairwise(order)))
    return [next(place for place, item in enumerate(order) if positive[item]) for order in falling]


def every_metric(queries: list[list[int]]) -> dict[str, float]:
    """Expectations from the ranks of each query over all orders; the median is that of all ranks, queries weighing alike."""
    values = {f"r{k}": 100 * float(np.mean([np.mean(np.array(q) < k) for q in queries])) for k in (1, 5, 10)}
    values["meanr"] = float(np.mean([np.mean(q) for q in queries])) + 1
    common = int(np.lcm.reduce([len(q) for q in queries]))
    values["medr"] = float(np.floor(np.median(np.concatenate([np.repeat(q, common // len(q)) for q in queries]))) + 1)
    return values


@st.composite
def problems(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Up to 4 x 6 scores of few values, and relevance in which every row and column has a positive."""
    images, texts = draw(st.integers(1, 4)), draw(st.integers(1, 6))
    values = st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=images * texts, max_size=images * texts)
    relevant = st.lists(st.booleans(), min_size=images * texts, max_size=images * texts)
    similarity = np.array(draw(values)).reshape(images, texts)
    relevance = np.array(draw(relevant)).reshape(images, texts)
    relevance[np.arange(images), np.arange(images) % texts] = True
    relevance[np.arange(texts) % images, np.arange(texts)] = True
    return similarity, relevance


@settings(max_examples=40, deadline=None)
@given(problems())
def test_expected_metrics_are_means_over_all_orders(problem):
    similarity, relevance = problem
    got = relevance_metrics(similarity, relevance, "expected")
    for direction, scores, positive in (("i2t", similarity, relevance), ("t2i", similarity.T, relevance.T)):
        naive = every_metric([every_rank(*query) for query in zip(scores, positive, strict=True)])
        for key in KEYS:
            assert got[f"{direction}_{key}"] == pytest.approx(naive[key], abs=1e-9), (direction, key)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3), st.integers(0, 3), st.integers(0, 999))
def test_the_pair_form_is_the_relevance_form(images, more, seed):
    generator = np.random.default_rng(seed)
    owner = generator.permutation(np.r_[np.arange(images), generator.integers(0, images, more)])
    similarity = generator.integers(0, 2, (images, images + more)).astype(float)
    relevance = owner == np.arange(images)[:, None]
    pairs = retrieval_metrics(similarity, owner, "expected")
    several = relevance_metrics(similarity, relevance, "expected")
    assert pairs == pytest.approx({key: several[key] for key in pairs})


@pytest.mark.parametrize(
    ("above", "wrong", "correct", "k", "chance"),
    [
        (0, 19, 1, 1, 1 / 20),
        (0, 19, 1, 10, 10 / 20),
        (3, 2, 1, 3, 0.0),
        (3, 2, 1, 4, 1 / 3),
        (3, 2, 1, 6, 1.0),
        (0, 3, 2, 1, 2 / 5),  # 1 - (3/5)
        (0, 3, 2, 2, 1 - 3 / 10),  # both places wrong: C(3, 2) / C(5, 2) = 3 / 10
        (0, 3, 2, 4, 1.0),  # four places, three wrong items
        (0, 0, 1, 1, 1.0),
        (1, 0, 1, 1, 0.0),
    ],
)
def test_worked_chances(above, wrong, correct, k, chance):
    query = TiedRanks(*(np.array([value]) for value in (above, wrong, correct)))
    assert query.hits(k, "expected")[0] == pytest.approx(chance, abs=1e-12)


def test_a_constant_has_the_recalls_of_chance():
    got = retrieval_metrics(np.zeros((20, 20)), np.arange(20), "expected")
    for direction in ("i2t", "t2i"):
        assert [got[f"{direction}_{key}"] for key in KEYS] == pytest.approx([5.0, 25.0, 50.0, 10.0, 10.5])
    assert got["rsum"] == pytest.approx(160.0)


@pytest.mark.parametrize(("protocol", "captions"), [("full", 1), ("full", 5), ("coco_1k", 1)])
def test_a_constant_has_the_recalls_of_chance_under_every_gallery(protocol, captions):
    images = 5000 if protocol == "coco_1k" else 40
    gallery = 1000 if protocol == "coco_1k" else images
    owner = np.repeat(np.arange(images), captions)
    ids = [str(image) for image in range(images)]
    constant = np.broadcast_to(np.float32(0), (images, len(owner)))
    got = evaluate(protocol, constant, owner, ids, [f"c{c}" for c in range(len(owner))], "expected").metrics
    drawn = np.random.default_rng(0).hypergeometric(captions, captions * (gallery - 1), 10, 200_000) > 0
    assert got["t2i_r10"] == pytest.approx(100 * 10 / gallery)
    assert got["i2t_r10"] == pytest.approx(100 * drawn.mean(), rel=0.05)


def test_without_ties_the_rules_agree():
    similarity = np.random.default_rng(0).permutation(60).reshape(6, 10).astype(float)
    owner = np.arange(10) % 6
    metrics = [retrieval_metrics(similarity, owner, rule) for rule in ("pessimistic", "optimistic", "expected")]
    assert metrics[0] == pytest.approx(metrics[1])
    assert metrics[0] == pytest.approx(metrics[2])


def test_ranks_stay_the_mean_ranks():
    i2t, t2i = ranks(np.zeros((2, 5)), [0, 0, 1, 1, 1], "expected")
    assert i2t.tolist() == [1.0, 2 / 4]
    assert t2i.tolist() == [0.5] * 5


@pytest.mark.parametrize("ties", ["pessimistic", "optimistic", "expected"])
def test_ranks_and_counts_of_ties_give_the_counts_back(ties):
    similarity = np.random.default_rng(1).integers(0, 3, (7, 21))
    counts: RankCounts = count_ranks(similarity, np.arange(21) % 7)
    for queries in (counts.i2t, counts.t2i):
        again = TiedRanks.from_ranks(queries.ranks(ties), queries.wrong, queries.correct, ties)
        np.testing.assert_array_equal(again.above, queries.above)


@pytest.mark.parametrize("seeds", [2, 3])
@pytest.mark.parametrize("ties", ["pessimistic", "expected"])
def test_the_columns_of_every_test_hold_the_metrics(ties, seeds):
    """What tests and intervals are made of adds up to the recalls of the rule; parts of a hit are a millionth."""
    owner = np.arange(36) % 12
    ids, captions = [f"i{i}" for i in range(12)], [f"c{c}" for c in range(36)]
    runs, metrics = [], []
    for seed in range(seeds):
        scores = np.random.default_rng(seed).integers(0, 3, (12, 36)).astype(float)
        found = evaluate("full", scores, owner, ids, captions, ties)
        runs.append(runs_of_table(found.ranks, name=f"s{seed}", seed=seed, gallery=GALLERY, ties=ties))
        metrics.append([found.metrics[name] for name in METRICS])
    method = replace(runs[0], seeds=tuple(range(seeds)), **joined_seeds(aligned(runs)))
    columns = image_columns([method], METRICS)
    np.testing.assert_allclose(columns.seed_scores[0], metrics, rtol=0, atol=1e-9)
    np.testing.assert_allclose(columns.scores[0], np.mean(metrics, axis=0), rtol=0, atol=1e-3)
    assert columns.numerators.dtype == np.int64
    shares = [QueryHits([method], METRICS).shares[0][part] for part in components("rsum")]
    sums = sum(100 * share.mean() for share in shares)
    assert sums == pytest.approx(np.mean(metrics, axis=0)[-1])


def test_ties_that_cannot_be_are_refused():
    ids = {"image_ids": ["a"], "caption_ids": ["b"], "caption_image": [0]}
    with pytest.raises(InvalidRanks, match="at least 0 wrong and 1 correct"):
        MethodRuns(name="m", seeds=(0,), i2t_ranks=[0], t2i_ranks=[0], **ids, i2t_ties=[[0, 0]])
