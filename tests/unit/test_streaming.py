"""Streamed ranks and top-k against the whole matrix, and the memory that they take."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import InvalidFragments, InvalidSimilarity
from harness.fragments import Fragments
from harness.metrics import count_ranks
from harness.registry import create
from harness.scorer import Scorer
from harness.scoring import similarity_matrix
from harness.scoring.streaming import streaming_counts, top_k


def fragments(items: int, longest: int, seed: int, width: int = 6) -> Fragments:
    generator = torch.Generator().manual_seed(seed)
    features = torch.nn.functional.normalize(torch.randn(items, longest, width, generator=generator), dim=-1)
    mask = torch.rand(items, longest, generator=generator) < 0.6
    mask[:, 0] = True
    return Fragments(features, mask)


def owners(images: int, texts: int, seed: int) -> np.ndarray:
    """Every image has a caption, in no order, and the counts differ."""
    generator = np.random.default_rng(seed)
    return generator.permutation(np.concatenate([np.arange(images), generator.integers(0, images, texts - images)]))


class Coarse(Scorer):
    """Scores in few steps, so that most of them tie."""

    def score(self, images, texts):
        return torch.round(2 * images.features[:, 0] @ texts.features[:, 0].T) / 2


SCORERS = {"coarse": Coarse, "chan": lambda: create("chan"), "scan": lambda: create("scan", direction="both")}


def assert_equal_counts(got, expected):
    for name in ("i2t_above", "i2t_tied", "i2t_best_tied", "i2t_best", "t2i_above", "t2i_tied"):
        np.testing.assert_array_equal(getattr(got, name), getattr(expected, name), err_msg=name)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 999), st.sampled_from(sorted(SCORERS)), st.integers(1, 9), st.integers(0, 20), st.integers(1, 30))
def test_counts_are_those_of_the_whole_matrix(seed, name, n_images, more, chunk):
    images, texts = fragments(n_images, 4, seed), fragments(n_images + more, 5, seed + 1)
    owner = owners(n_images, n_images + more, seed)
    scorer = SCORERS[name]()
    expected = count_ranks(similarity_matrix(scorer, images, texts), owner)
    assert_equal_counts(streaming_counts(scorer, images, texts, owner, memory_budget=3000), expected)
    chunks = [texts[start : start + chunk] for start in range(0, len(texts), chunk)]
    assert_equal_counts(streaming_counts(scorer, images, chunks, owner), expected)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 999), st.sampled_from(sorted(SCORERS)), st.sampled_from(["i2t", "t2i"]), st.integers(1, 6))
def test_top_k_is_that_of_the_whole_matrix(seed, name, direction, k):
    images, texts = fragments(6, 4, seed), fragments(17, 5, seed + 1)
    scorer = SCORERS[name]()
    matrix = similarity_matrix(scorer, images, texts)
    matrix = matrix if direction == "i2t" else matrix.T
    expected = np.stack([np.lexsort((np.arange(len(row)), -row))[:k] for row in matrix.numpy()])
    chunks = [texts[:5], texts[5:6], texts[6:]]
    scores, rows = top_k(scorer, images, chunks, k, direction=direction)
    assert scores.dtype == torch.float32
    np.testing.assert_allclose(scores, np.take_along_axis(matrix.numpy(), expected, 1), rtol=0, atol=1e-5)
    if name == "coarse":  # exact ties: the lower row comes first
        np.testing.assert_array_equal(rows, expected)
    else:
        np.testing.assert_allclose(np.take_along_axis(matrix.numpy(), rows.numpy(), 1), scores, rtol=0, atol=1e-5)


class Signed(Scorer):
    """Returns a fixed row of scores, negative, zero of both signs and positive."""

    row = torch.tensor([-0.0, 1.5, -2.0, 0.0, 1.5, -1e-30, 3e38, -3e38])

    def score(self, images, texts):
        return self.row.expand(len(images), -1)[:, : len(texts)]


def test_top_k_orders_signs_and_ties():
    scores, rows = top_k(Signed(), fragments(2, 1, 0), fragments(8, 1, 1), 8)
    assert rows.tolist() == [[6, 1, 4, 0, 3, 5, 2, 7]] * 2
    assert torch.equal(scores[0], Signed.row[rows[0]])


class Rounded(Coarse):
    """A scorer whose last bit depends on the block's shape, as that of matrix products does."""

    def score(self, images, texts):
        return super().score(images, texts) + 1e-6 * len(images)


def test_positives_are_pinned():
    """Without pinning the positives of the second pass would exceed those of the first and count as negatives."""
    images, texts, owner = fragments(5, 3, 1), fragments(12, 3, 2), owners(5, 12, 3)
    counts = streaming_counts(Rounded(), images, texts, owner)
    assert int(counts.t2i_tied.min()) >= 0
    assert int(counts.i2t_tied.min()) >= 0
    one_image = streaming_counts(Rounded(), images[:1], texts, np.zeros(12, dtype=int))
    assert one_image.i2t_above.tolist() == [0]
    assert not one_image.t2i_above.any()


class Generated:
    """A large gallery that exists one chunk at a time."""

    def __init__(self, chunks: int, size: int):
        self.chunks, self.size, self.loaded = chunks, size, 0

    def __len__(self) -> int:
        return self.chunks

    def __getitem__(self, index: int) -> Fragments:
        self.loaded += 1
        return fragments(self.size, 3, index)


def test_a_gallery_is_loaded_chunk_by_chunk():
    images, gallery = fragments(20, 2, 1), Generated(30, 100)
    owner = owners(20, 3000, 4)
    counts = streaming_counts(create("chan", pooling="mean"), images, gallery, owner)
    assert gallery.loaded == 60  # two passes
    whole = Fragments.cat([gallery[i] for i in range(30)])
    assert_equal_counts(counts, count_ranks(similarity_matrix(create("chan", pooling="mean"), images, whole), owner))


@pytest.mark.parametrize("k", [0, -1, 18])
def test_a_k_outside_the_gallery_is_refused(k):
    with pytest.raises(InvalidSimilarity, match=f"{k} results a query were asked for"):
        top_k(Coarse(), fragments(3, 2, 1), fragments(17, 2, 2), k)


@pytest.mark.parametrize(
    ("owner", "message"),
    [
        ([0, 1, 2], "caption_image names 3 captions, but the chunks hold 4"),
        ([0, 1, 2, 2, 2], "caption_image names 5 captions, but the chunks hold 4"),
        ([0, 1, 1, 1], "1 images have no caption .first: image 2."),
        ([0, 1, 2, 3], "1 captions belong to no image .first: caption 3 names image 3 of 3"),
        ([0.0, 1.0, 2.0, 2.0], "caption_image must hold integers"),
        ([[0, 1, 2, 2]], "one entry a caption, got shape .1, 4."),
    ],
)
def test_owners_that_do_not_fit_are_refused(owner, message):
    with pytest.raises(InvalidSimilarity, match=message):
        streaming_counts(Coarse(), fragments(3, 2, 1), fragments(4, 2, 2), owner)


def test_an_empty_gallery_is_refused():
    with pytest.raises(InvalidFragments, match="no captions"):
        top_k(Coarse(), fragments(3, 2, 1), [], 1)
