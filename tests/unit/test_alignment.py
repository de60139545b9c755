"""Alignment: what is refused, and pairs of images and captions."""

from __future__ import annotations

import pytest
import torch

from harness.alignment import Alignment, one_hot, paired
from harness.errors import InvalidFragments, InvalidPlugin
from harness.fragments import Fragments

#: Two words and three regions; the last region is padding.
WORD_MASK, REGION_MASK = torch.tensor([[True, True]]), torch.tensor([[True, True, False]])
OVER_REGIONS = torch.tensor([[[0.75, 0.25, 0.0], [0.0, 0.0, 0.0]]])
OVER_WORDS = torch.tensor([[[0.75, 0.0, 0.0], [0.25, 1.0, 0.0]]])
GOOD = {
    "kind": "attention",
    "weights": OVER_REGIONS,
    "over": "regions",
    "word_mask": WORD_MASK,
    "region_mask": REGION_MASK,
    "word_scores": torch.tensor([[-0.5, 12.0]]),
    "word_gates": torch.tensor([[1.0, 0.0]]),
    "regions": torch.tensor([[[0.5, 0.5, 0.0]]]),
    "word_regions": torch.tensor([[[1.0], [0.0]]]),
}
REVERSE = Alignment(kind="attention", weights=OVER_WORDS, over="words", word_mask=WORD_MASK, region_mask=REGION_MASK)


def test_a_good_one_is_taken_and_moved_whole():
    alignment = Alignment(**GOOD, reverse=REVERSE).to("cpu")
    assert len(alignment) == 1
    assert torch.equal(alignment.weights, OVER_REGIONS)
    assert torch.equal(alignment.reverse.weights, OVER_WORDS)
    assert alignment.region_scores is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"over": "patches"}, "'regions' or 'words', got 'patches'"),
        ({"weights": torch.zeros(2, 3)}, r"\(N, W, R\), got shape \(2, 3\)"),
        ({"weights": OVER_REGIONS.long()}, "weights must be a floating-point tensor"),
        ({"word_mask": None}, "word_mask must be a bool tensor of shape .* got NoneType"),
        ({"word_mask": WORD_MASK.float()}, "word_mask must be a bool tensor"),
        ({"region_mask": WORD_MASK}, r"region_mask must be a bool tensor of shape \(1, 3\), got .* \(1, 2\)"),
        ({"word_scores": torch.zeros(1, 3)}, r"word_scores .* shape \(1, 2\)"),
        ({"regions": torch.zeros(1, 3)}, r"regions must be .* shape \(1, 0, 3\)"),
        ({"regions": None}, "where those regions look"),
        ({"word_scores": torch.tensor([[torch.nan, 0.0]])}, "word_scores must be finite"),
        ({"weights": torch.tensor([[[1.5, -0.5, 0.0], [0.0] * 3]])}, r"weights must lie in \[0, 1\], got -0.5 to 1.5"),
        ({"word_gates": torch.tensor([[1.0, 1.01]])}, r"word_gates must lie in \[0, 1\]"),
        ({"weights": 0.9 * OVER_REGIONS}, "over regions must sum to 1, or be all 0, got a sum of 0.9"),
        ({"weights": OVER_REGIONS, "over": "words"}, "over words must sum to 1"),
        ({"regions": torch.full((1, 1, 3), 0.5)}, "regions must sum to 1, or be all 0, got a sum of 1.5"),
        ({"weights": OVER_REGIONS.flip(2)}, "weights must be 0 where a word or region takes no part"),
        ({"region_gates": torch.ones(1, 3)}, "region_gates must be 0 where"),
        ({"word_mask": torch.tensor([[True, False]])}, "word_scores must be 0 where"),
        ({"reverse": Alignment(**GOOD)}, "over the other side"),
    ],
)
def test_refusals(changes, message):
    with pytest.raises(InvalidPlugin, match=message):
        Alignment(**(GOOD | changes))


def test_one_of_either_serves_for_all():
    images, texts = (Fragments(torch.arange(n).float().view(n, 1, 1), torch.ones(n, 1).bool()) for n in (1, 3))
    for sides in (paired(images, texts), paired(texts, images)):
        assert [len(side) for side in sides] == [3, 3]
    assert paired(images, texts)[1].features.flatten().tolist() == [0.0, 1.0, 2.0]
    with pytest.raises(InvalidFragments, match="2 images and 3 captions do not pair up"):
        paired(texts[:2], texts)


def test_the_best_is_1_and_the_rest_0():
    assert one_hot(torch.tensor([[1, 0]]), 2, torch.tensor([[True, False]])).tolist() == [[[0.0, 1.0], [0.0, 0.0]]]
