"""A scorer's own packed form: rows of its own making, extras that follow them, and a kernel over both directions."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from similarity_cases import ragged

from harness.fragments import Fragments
from harness.scorer import Scorer
from harness.scoring import packed_form, similarity_matrix
from harness.similarity import PackedForm
from harness.similarity.packing import columns_of, group, pack, rows_of


@dataclass(frozen=True)
class BothWays:
    """Gated max-sim in both directions: the kernel needs whole items and the gates of their fragments."""

    swapped: bool = False
    tiles_in_use: int = 2

    def left_side(self, items, rows):
        assert torch.equal(rows, items.rows())
        return items.extras()["gates"]

    def right_side(self, items, columns):
        assert torch.equal(columns, items.rows().transpose(0, 1))
        return items.extras()["gates"].T, items.extras()["bias"]

    def reduce(self, similarity, left, right):
        gated = similarity * left[:, :, None, None] * right[0]
        return (gated.amax(1).mean(1) + gated.amax(2).mean(1))[:, None]

    def finish(self, values, right):
        return values[:, 0] + right[1]


def with_mean_row(images: Fragments) -> Fragments:
    """One more row an image, the mean of its fragments, and a gate for every row."""
    mean = (images.features * images.mask[..., None]).sum(1, keepdim=True) / images.lengths[:, None, None]
    mask = torch.cat([images.mask, torch.ones(len(images), 1, dtype=torch.bool)], 1)
    gates = torch.cat([images.extras["gates"], torch.full((len(images), 1), 0.5)], 1)
    return Fragments(torch.cat([images.features, mean], 1), mask, {"gates": gates})


class Gated(Scorer):
    """Pair by pair."""

    def score(self, images, texts):
        images = with_mean_row(images)
        rows = []
        for i in range(len(images)):
            left = (images.features[i] * images.extras["gates"][i][:, None])[images.mask[i]]
            scores = []
            for t in range(len(texts)):
                right = (texts.features[t] * texts.extras["gates"][t][:, None])[texts.mask[t]]
                table = left @ right.T
                scores.append(table.amax(0).mean() + table.amax(1).mean() + texts.extras["bias"][t])
            rows.append(torch.stack(scores))
        return torch.stack(rows)

    def packed_form(self):
        return PackedForm(((1.0, BothWays()),), image_rows=with_mean_row)


def sides(seed: int) -> tuple[Fragments, Fragments]:
    generator = torch.Generator().manual_seed(seed)
    images, texts = ragged(seed, 9, 6, 8), ragged(seed + 1, 13, 5, 8)
    gates = [torch.rand(side.mask.shape, generator=generator) for side in (images, texts)]
    bias = torch.rand(13, generator=generator)
    return (
        Fragments(images.features, images.mask, {"gates": gates[0]}),
        Fragments(texts.features, texts.mask, {"gates": gates[1], "bias": bias}),
    )


@pytest.mark.parametrize("blocks", [{}, {"image_block": 2, "text_block": 3}, {"memory_budget": 500}])
def test_a_packed_form_scores_like_score(blocks):
    images, texts = sides(1)
    scorer = Gated()
    assert packed_form(scorer) is not None
    expected = scorer.score(images, texts)
    torch.testing.assert_close(similarity_matrix(scorer, images, texts, **blocks), expected, rtol=0, atol=1e-5)


def test_terms_are_weighted_and_either_side_may_be_left():
    images, texts = sides(2)

    class Twice(Gated):
        def packed_form(self):
            return PackedForm(((0.25, BothWays()), (0.75, BothWays())), image_rows=with_mean_row)

        def score(self, images, texts):
            return super().score(images, texts)

    torch.testing.assert_close(
        similarity_matrix(Twice(), images, texts), Gated().score(images, texts), rtol=0, atol=1e-5
    )


def test_a_kernel_of_neither_kind_is_refused():
    class Wrong(Gated):
        def score(self, images, texts):
            return super().score(images, texts)

        def packed_form(self):
            return PackedForm(((1.0, type("Nothing", (), {"swapped": False, "tiles_in_use": 1})()),))

    with pytest.raises(TypeError, match="Nothing is neither a TileKernel nor a ColumnKernel"):
        similarity_matrix(Wrong(), *sides(3))


@pytest.mark.parametrize("size", [1, 4, 7, 100])
@pytest.mark.parametrize("widest", [1, 5, 100])
def test_groups_hold_every_fragment_once_within_their_limits(size, widest):
    texts = ragged(4, 23, 6, 3)
    items = torch.randperm(23, generator=torch.Generator().manual_seed(0))[:17]
    buckets = pack(texts, items)
    groups = list(group(buckets, size, widest))
    parts = [part for parts in groups for part in parts]
    assert sorted(torch.cat([part.items for part in parts]).tolist()) == sorted(items.tolist())
    assert [part.start for part in parts] == torch.tensor([0, *map(len, parts)]).cumsum(0)[:-1].tolist()
    for part in parts:
        assert part.size <= max(widest, part.length)
        assert part.length == int(texts.mask[part.items].sum(1).unique())
        real = torch.stack([texts.features[i][texts.mask[i]] for i in part.items])
        assert torch.equal(part.rows(), real)
        assert torch.equal(rows_of([part]), real.flatten(0, 1))
        assert torch.equal(columns_of([part]), real.transpose(0, 1).flatten(0, 1))
    assert all(sum(part.size for part in parts) <= max(size, parts[0].length) for parts in groups)
