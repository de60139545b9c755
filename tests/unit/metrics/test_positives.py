"""Relevance sets against queries ordered by hand: every tie rule is a statement about orders of the tied items."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness.errors import InvalidSimilarity
from harness.metrics import Positives, count_positives, relevance_metrics, retrieval_metrics, sources


def of_order(correct: list[bool], relevant: int) -> tuple[float, float, float]:
    """Rank of the first correct item, R-Precision and mAP@R of one ordered list, as the papers define them."""
    hits = [sum(correct[: place + 1]) for place in range(len(correct))]
    top = range(min(relevant, len(correct)))
    precision = [hits[place] / (place + 1) if correct[place] else 0.0 for place in top]
    wrong_before = correct.index(True)
    return wrong_before, hits[max(top)] / relevant, sum(precision) / relevant


def orders(scores: np.ndarray, correct: np.ndarray):
    """Every order of a query's items that its scores allow."""
    groups = [np.flatnonzero(scores == value) for value in sorted(set(scores.tolist()), reverse=True)]
    for chosen in itertools.product(*(itertools.permutations(group) for group in groups)):
        yield [bool(correct[i]) for i in itertools.chain(*chosen)]


def naive(scores: np.ndarray, correct: np.ndarray, relevant: int, ties: str) -> tuple[float, ...]:
    results = np.array([of_order(order, relevant) for order in orders(scores, correct)])
    if ties == "expected":
        return tuple(results.mean(axis=0))
    rank, r_precision, average = results.T
    if ties == "pessimistic":
        return rank.max(), r_precision.min(), average.min()
    return rank.min(), r_precision.max(), average.max()


@st.composite
def problems(draw: st.DrawFn):
    images, captions = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    scores = draw(hnp.arrays(np.float32, (images, captions), elements=st.sampled_from([-1.0, 0.0, 0.5, 1.0])))
    relevance = draw(hnp.arrays(np.bool_, (images, captions)))
    relevance[draw(st.integers(0, images - 1)), draw(st.integers(0, captions - 1))] = True
    return scores, relevance


@settings(max_examples=60, deadline=None)
@given(problems(), st.sampled_from(["pessimistic", "optimistic", "expected"]), st.sampled_from(["i2t", "t2i"]))
def test_equal_to_all_orders_of_tied_items(problem, ties, direction):
    scores, relevance = problem
    wanted = Positives.from_relevance(relevance, direction)
    counts = count_positives(scores, wanted, direction)
    rows, flags = (scores, relevance) if direction == "i2t" else (scores.T, relevance.T)
    assert wanted.queries.tolist() == np.flatnonzero(flags.any(axis=1)).tolist()
    expected = [naive(rows[q], flags[q], int(flags[q].sum()), ties) for q in wanted.queries]
    got = np.stack([counts.first.ranks(ties), counts.r_precision(ties), counts.average_precision_at_r(ties)], axis=1)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("ties", ["pessimistic", "optimistic", "expected"])
def test_correct_items_that_the_gallery_lacks_count_in_r(ties):
    scores = np.array([[0.9, 0.8, 0.8, 0.1]])
    wanted = Positives.from_pairs([0, 0, 0, 7], [0, 2, -1, -1])  # a third correct caption is not there; 7 has no other
    assert (wanted.queries.tolist(), wanted.absent.tolist()) == ([0], [1])
    counts = count_positives(scores, wanted, "i2t")
    expected = naive(scores[0], np.array([True, False, True, False]), 3, ties)
    got = counts.first.ranks(ties)[0], counts.r_precision(ties)[0], counts.average_precision_at_r(ties)[0]
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("ties", ["pessimistic", "optimistic", "expected"])
def test_the_own_pairs_alone_give_the_metrics_of_retrieval(ties):
    scores = torch.randn(8, 24, generator=torch.Generator().manual_seed(0)).round(decimals=1)
    owner = np.arange(24) % 8
    relevance = owner[None] == np.arange(8)[:, None]
    got = relevance_metrics(scores, relevance, ties)
    for key, value in retrieval_metrics(scores, owner, ties).items():
        assert got[key] == pytest.approx(value, abs=1e-9), key


@pytest.mark.parametrize("block", [1, 20, 10_000])
def test_blocks_and_dtypes_do_not_matter(monkeypatch, block):
    scores = torch.randn(9, 20, generator=torch.Generator().manual_seed(1)).to(torch.bfloat16)
    relevance = np.random.default_rng(0).random((9, 20)) < 0.2
    expected = relevance_metrics(scores.double().numpy(), relevance)
    monkeypatch.setattr(sources, "TILE_ELEMENTS", block)
    monkeypatch.setattr(sources, "SORTED_ELEMENTS", block)
    assert relevance_metrics(scores, relevance) == expected


def test_a_memory_map_is_read_in_place(tmp_path):
    scores = np.random.default_rng(0).normal(size=(7, 15)).astype(np.float32)
    np.save(tmp_path / "scores.npy", scores)
    relevance = np.random.default_rng(1).random((7, 15)) < 0.3
    mapped = np.load(tmp_path / "scores.npy", mmap_mode="r")
    assert relevance_metrics(mapped, relevance) == relevance_metrics(scores, relevance)


@pytest.mark.parametrize(
    ("scores", "relevance", "message"),
    [
        (np.zeros((2, 3)), np.ones((3, 2), dtype=bool), "got bool of shape"),
        (np.zeros((2, 3)), np.ones((2, 3)), "got float64"),
        (np.zeros((2, 3)), np.zeros((2, 3), dtype=bool), "no i2t query has a correct item"),
        (np.array([[0.0, np.nan]]), np.ones((1, 2), dtype=bool), "nan at image 0, caption 1"),
    ],
)
def test_refusals(scores, relevance, message):
    with pytest.raises(InvalidSimilarity, match=message):
        relevance_metrics(scores, relevance)


def test_nan_in_a_column_is_named_by_image_and_caption():
    scores = np.zeros((4, 3))
    scores[2, 1] = np.inf
    with pytest.raises(InvalidSimilarity, match="image 2, caption 1"):
        count_positives(scores, Positives.from_pairs([1], [0]), "t2i")


def test_an_unknown_tie_rule_is_refused():
    counts = count_positives(np.eye(2), Positives.from_pairs([0], [0]), "i2t")
    for measure in (counts.first.ranks, counts.r_precision, counts.average_precision_at_r):
        with pytest.raises(InvalidSimilarity, match="pessimistic, optimistic, expected"):
            measure("random")  # type: ignore[arg-type]
