"""VSE++: cosines of pooled vectors."""

from __future__ import annotations

import baselines_naive as naive
import numpy as np
import pytest
import torch

from harness.errors import InvalidFragments
from harness.fragments import Fragments
from harness.registry import create

IMAGES = naive.ragged(5, 7, 8, seed=1)
TEXTS = naive.ragged(6, 5, 8, seed=2)


@pytest.mark.parametrize(
    ("pooling", "pool"), [("last", lambda words: words[-1]), ("mean", lambda words: words.mean(0))]
)
def test_scores_equal_a_double_loop_over_pairs(pooling, pool):
    expected = naive.matrix(lambda v, t: naive.unit(v.mean(0)) @ naive.unit(pool(t)), IMAGES, TEXTS)
    scores = create("vsepp", text_pooling=pooling).score(IMAGES, TEXTS)
    np.testing.assert_allclose(scores.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize(("pooling", "expected"), [("last", 0.6), ("mean", (0.6 + 0.8) / 2**0.5)])
def test_a_case_by_hand(pooling, expected):
    """An image of mean direction (0.6, 0.8); words (0, 1) and (1, 0), then padding."""
    image = Fragments(torch.tensor([[[6.0, 0.0], [0.0, 8.0]]]), torch.ones(1, 2, dtype=torch.bool))
    words = torch.tensor([[[0.0, 5.0], [5.0, 0.0], [9.0, 9.0]]])
    text = Fragments(words, torch.tensor([[True, True, False]]))
    assert create("vsepp", text_pooling=pooling).score(image, text).item() == pytest.approx(expected)


def test_one_direction_of_a_gru_gives_its_last_hidden_state():
    torch.manual_seed(0)
    gru, lengths = torch.nn.GRU(4, 8, batch_first=True), torch.tensor([5, 2, 3])
    words = torch.randn(3, 5, 4)
    packed = torch.nn.utils.rnn.pack_padded_sequence(words, lengths, batch_first=True, enforce_sorted=False)
    states, last = gru(packed)
    padded, _ = torch.nn.utils.rnn.pad_packed_sequence(states, batch_first=True)
    prepared = create("vsepp").prepare_texts(Fragments(padded, torch.arange(5) < lengths[:, None]))
    torch.testing.assert_close(prepared.features[:, 0], torch.nn.functional.normalize(last[0], dim=-1))


def test_an_index_holds_one_vector_an_item():
    scorer = create("vsepp")
    images, texts = scorer.prepare_images(IMAGES), scorer.prepare_texts(TEXTS)
    assert images.features.shape == (5, 1, 8)
    assert texts.features.shape == (6, 1, 8)
    torch.testing.assert_close(scorer.score(images, texts), scorer.score(IMAGES, TEXTS))


def test_sides_of_different_width_are_refused():
    with pytest.raises(InvalidFragments, match="width 8 and captions 4"):
        create("vsepp").score(IMAGES, naive.ragged(2, 3, 4, seed=3))
