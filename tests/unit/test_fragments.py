"""Fragments: what is refused, and that slices, joins and moves keep items whole."""

from __future__ import annotations

import pytest
import torch

from harness.errors import InvalidFragments
from harness.fragments import Fragments, Tokens


def _fragments(items: int = 3, fragments: int = 4, width: int = 2) -> Fragments:
    mask = torch.arange(fragments) < torch.arange(1, items + 1)[:, None].clamp(max=fragments)
    features = torch.arange(items * fragments * width, dtype=torch.float32).reshape(items, fragments, width)
    return Fragments(features, mask, {"gate": features[..., 0], "weight": torch.arange(items)})


@pytest.mark.parametrize(
    ("features", "mask", "extras", "message"),
    [
        (torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool), {}, r"\(N, F, D\)"),
        (torch.zeros(2, 3, 4, dtype=torch.long), torch.ones(2, 3, dtype=torch.bool), {}, "floating point"),
        (torch.zeros(2, 3, 4), torch.ones(2, 3), {}, "bool"),
        (torch.zeros(2, 3, 4), torch.ones(2, 2, dtype=torch.bool), {}, "shape"),
        (torch.zeros(2, 3, 4), torch.tensor([[True] * 3, [False] * 3]), {}, "first: item 1"),
        (torch.full((2, 3, 4), torch.nan), torch.ones(2, 3, dtype=torch.bool), {}, "NaN"),
        (torch.zeros(2, 3, 4), torch.ones(2, 3, dtype=torch.bool), {"gate": torch.zeros(3)}, "leading N = 2"),
        ([[[0.0]]], torch.ones(1, 1, dtype=torch.bool), {}, "tensors"),
    ],
)
def test_refusals(features, mask, extras, message):
    with pytest.raises(InvalidFragments, match=message):
        Fragments(features, mask, extras)


@pytest.mark.parametrize("index", [slice(1, 3), [1, 2], torch.tensor([1, 2])])
def test_rows_keep_their_extras(index):
    part = _fragments()[index]
    assert len(part) == 2
    assert part.extras["weight"].tolist() == [1, 2]
    assert part.lengths.tolist() == [2, 3]


def test_one_row_keeps_the_batch_axis():
    assert _fragments()[1].features.shape == (1, 4, 2)


def test_join_pads_to_the_longest_and_keeps_every_item():
    short, long = _fragments(2, 2), _fragments(2, 5)
    joined = Fragments.cat([short, long])
    assert joined.features.shape == (4, 5, 2)
    torch.testing.assert_close(joined.features[:2, :2], short.features)
    torch.testing.assert_close(joined.extras["gate"][2:], long.extras["gate"])
    assert joined.lengths.tolist() == [*short.lengths.tolist(), *long.lengths.tolist()]
    assert not joined.mask[:2, 2:].any()


def test_join_refuses_what_does_not_fit():
    with pytest.raises(InvalidFragments, match="widths"):
        Fragments.cat([_fragments(width=2), _fragments(width=3)])
    with pytest.raises(InvalidFragments, match="at least one"):
        Fragments.cat([])


def test_normalized_has_unit_rows_and_leaves_zero_alone():
    unit = _fragments().normalized().features.norm(dim=-1)
    assert torch.allclose(unit, torch.ones_like(unit))
    zero = Fragments(torch.zeros(1, 1, 3), torch.ones(1, 1, dtype=torch.bool)).normalized()
    assert zero.features.abs().sum() == 0


def test_trimmed_drops_what_is_padding_for_all():
    fragments = Fragments(torch.randn(2, 6, 3), torch.tensor([[True, False, True, False, False, False]] * 2))
    assert fragments.trimmed().features.shape == (2, 3, 3)


def test_to_casts_floats_only():
    moved = _fragments().to(torch.float16)
    assert (moved.features.dtype, moved.extras["gate"].dtype) == (torch.float16, torch.float16)
    assert (moved.mask.dtype, moved.extras["weight"].dtype) == (torch.bool, torch.int64)


def test_tokens_of_some_rows_are_trimmed_to_their_longest():
    tokens = Tokens(torch.tensor([[1, 2, 3], [4, 0, 0]]), torch.tensor([[True] * 3, [True, False, False]]))
    assert tokens[torch.tensor([1])].ids.tolist() == [[4]]
    with pytest.raises(InvalidFragments, match="same shape"):
        Tokens(torch.zeros(2, 3, dtype=torch.long), torch.ones(2, 2, dtype=torch.bool))
