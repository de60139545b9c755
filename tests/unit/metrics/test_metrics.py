"""Ranks and retrieval metrics against the authors' values, a naive sort, and hand-made ties."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness.errors import InvalidSimilarity
from harness.metrics import count_ranks, ranks, retrieval_metrics, sources

GOLDEN = Path(__file__).parents[2] / "golden" / "retrieval.npz"


def naive_ranks(similarity: np.ndarray, caption_image: np.ndarray, ties: str) -> tuple[np.ndarray, np.ndarray]:
    """Each query on its own, as one would explain it."""

    def rank(scores: np.ndarray, positive: np.ndarray) -> float:
        best = scores[positive].max()
        above = int((scores[~positive] > best).sum())
        tied = int((scores[~positive] == best).sum())
        tied_positives = int((scores[positive] == best).sum())
        return above + {"pessimistic": tied, "optimistic": 0, "expected": tied / (tied_positives + 1)}[ties]

    images, texts = similarity.shape
    i2t = [rank(similarity[i], caption_image == i) for i in range(images)]
    t2i = [rank(similarity[:, t], np.arange(images) == caption_image[t]) for t in range(texts)]
    return np.array(i2t), np.array(t2i)


@st.composite
def problems(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Small matrices of few distinct values (many ties) with unequal captions an image in any order."""
    images = draw(st.integers(1, 6))
    extra = draw(st.lists(st.integers(0, images - 1), max_size=8))
    owner = np.array(draw(st.permutations([*range(images), *extra])))
    values = hnp.arrays(np.float32, (images, len(owner)), elements=st.sampled_from([-1.0, 0.0, 0.5, 1.0]))
    return draw(values), owner


@given(problems(), st.sampled_from(["pessimistic", "optimistic", "expected"]))
def test_equal_to_the_naive_form_with_ties_and_unequal_captions(problem, ties):
    similarity, owner = problem
    for ours, naive in zip(ranks(similarity, owner, ties), naive_ranks(similarity, owner, ties), strict=True):
        np.testing.assert_allclose(ours, naive, rtol=0, atol=0)


def test_expected_rank_is_the_mean_over_all_orders_of_the_tied_items():
    similarity = np.zeros((2, 5), dtype=np.float32)  # image 0 has captions 0, 1; image 1 has 2, 3, 4
    owner = np.array([0, 0, 1, 1, 1])
    generator = np.random.default_rng(0)
    firsts = [np.flatnonzero(generator.permutation(owner) == 0)[0] for _ in range(20_000)]
    i2t, t2i = ranks(similarity, owner, "expected")
    assert i2t[0] == pytest.approx(np.mean(firsts), abs=0.02)
    assert i2t[0] == 1.0  # three tied negatives, two tied positives: 3 / (2 + 1)
    assert t2i.tolist() == [0.5] * 5


def test_golden_ranks_and_metrics():
    golden = np.load(GOLDEN)
    owner = np.arange(100) // 5
    i2t, t2i = ranks(golden["scores"], owner)
    np.testing.assert_array_equal(i2t, golden["i2t_ranks"])
    np.testing.assert_array_equal(t2i, golden["t2i_ranks"])
    ours = retrieval_metrics(torch.from_numpy(golden["scores"]), owner)
    for direction in ("i2t", "t2i"):
        got = [ours[f"{direction}_{key}"] for key in ("r1", "r5", "r10", "medr", "meanr")]
        np.testing.assert_allclose(got, golden[direction], rtol=0, atol=1e-9)
    assert ours["rsum"] == pytest.approx(golden["i2t"][:3].sum() + golden["t2i"][:3].sum(), abs=1e-9)
    assert ours["tie_rate"] == 0


@pytest.mark.parametrize(("ties", "r1"), [("pessimistic", 0.0), ("optimistic", 100.0), ("expected", 5.0)])
def test_a_constant_scorer_is_perfect_only_if_ties_are_broken_in_its_favour(ties, r1):
    constant = np.ones((20, 100), dtype=np.float32)
    got = retrieval_metrics(constant, np.arange(100) // 5, ties)
    assert (got["i2t_r1"], got["t2i_r1"], got["tie_rate"]) == pytest.approx((r1, r1, 1.0))


@pytest.mark.parametrize("block", [1, 7, 100, 10_000])
def test_blocks_do_not_matter(monkeypatch, block):
    similarity = torch.randn(13, 40, generator=torch.Generator().manual_seed(1)).round(decimals=1)
    owner = np.sort(np.r_[np.arange(13), np.random.default_rng(0).integers(0, 13, 27)])
    expected = naive_ranks(similarity.numpy(), owner, "pessimistic")
    monkeypatch.setattr(sources, "TILE_ELEMENTS", block)
    monkeypatch.setattr(sources, "SORTED_ELEMENTS", block)
    for ours, naive in zip(ranks(similarity, owner), expected, strict=True):
        np.testing.assert_array_equal(ours, naive)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_half_precision_matrices_are_ranked_by_their_own_values(dtype):
    similarity = torch.randn(6, 18, generator=torch.Generator().manual_seed(2)).to(dtype)
    owner = np.arange(18) % 6
    expected = naive_ranks(similarity.double().numpy(), owner, "pessimistic")
    for ours, naive in zip(ranks(similarity, owner), expected, strict=True):
        np.testing.assert_array_equal(ours, naive)


def test_a_memory_map_is_read_in_place(tmp_path):
    matrix = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
    np.save(tmp_path / "scores.npy", matrix)
    mapped = np.load(tmp_path / "scores.npy", mmap_mode="r")
    owner = np.arange(8) // 2
    np.testing.assert_array_equal(ranks(mapped, owner)[1], ranks(matrix, owner)[1])


def test_the_best_positive_is_named():
    similarity = np.array([[0.1, 0.9, 0.3], [0.5, 0.5, 0.2]])
    assert count_ranks(similarity, [0, 0, 1]).i2t_best.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("similarity", "owner", "message"),
    [
        (np.ones((2, 4)), [0, 0, 1], "one entry per caption"),
        (np.ones((2, 3)), [0, 1, 2], "belong to no image"),
        (np.ones((2, 3)), [0, -1, 1], "belong to no image"),
        (np.ones((2, 3)), [0, 0, 0], "1 images have no caption"),
        (np.ones((2, 3)), [0.0, 0.0, 1.0], "integers"),
        (np.array([[1.0, np.nan], [0, 1]]), [0, 1], "image 0, caption 1"),
        (np.array([[1.0, 0], [np.inf, 1]]), [0, 1], "image 1, caption 0"),
        (np.ones(3), [0, 0, 0], "matrix"),
        (np.ones((0, 3)), [0, 0, 0], "non-empty"),
    ],
)
def test_refusals(similarity, owner, message):
    with pytest.raises(InvalidSimilarity, match=message):
        ranks(similarity, owner)


def test_an_unknown_tie_rule_is_refused():
    with pytest.raises(InvalidSimilarity, match="pessimistic, optimistic, expected"):
        ranks(np.eye(2), [0, 1], "random")  # type: ignore[arg-type]
