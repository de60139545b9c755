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
from harness.similarity.packed.kernels import Kernel, largest_over_positions
from harness.similarity.packed.layout import group, pack


@dataclass(frozen=True)
class BothWays(Kernel):
    """Gated max-sim in both directions: the kernel needs whole items and the gates of their fragments."""

    tiles_in_use = 2

    def left_side(self, items, rows):
        assert torch.equal(rows, items.rows())
        return items.extras()["gates"]

    def right_side(self, items, columns):
        assert torch.equal(columns, items.columns())
        gates = torch.cat([part.extras()["gates"].T.flatten() for part in items.parts])
        return items, gates, torch.cat([part.extras()["bias"] for part in items.parts])

    def reduce(self, similarity, left, right, scratch):
        items, gates, _ = right
        gated = torch.mul(similarity, left[..., None] * gates, out=scratch.like(similarity))
        best_words = items.joined(largest_over_positions, gated).mean(1)
        return best_words + items.joined(lambda view: view.mean(1), gated.amax(1))

    def finish(self, values, right):
        return values + right[2]


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


@pytest.mark.parametrize("size", [1, 4, 7, 100])
def test_groups_hold_every_fragment_once_within_their_limit(size):
    texts = ragged(4, 23, 6, 3)
    items = torch.randperm(23, generator=torch.Generator().manual_seed(0))[:17]
    groups = list(group(pack(texts, items), size))
    parts = [part for one in groups for part in one.parts]
    assert sorted(torch.cat([part.items for part in parts]).tolist()) == sorted(items.tolist())
    assert [part.start for part in parts] == torch.tensor([0, *map(len, parts)]).cumsum(0)[:-1].tolist()
    for part in parts:
        assert part.length == int(texts.mask[part.items].sum(1).unique())
        assert torch.equal(part.rows(), torch.stack([texts.features[i][texts.mask[i]] for i in part.items]))
    for one in groups:
        assert one.size <= max(size, one.parts[0].length)
        assert (one.span.start, one.span.stop) == (one.parts[0].start, one.parts[0].start + len(one))
        assert torch.equal(one.rows(), torch.cat([part.rows().flatten(0, 1) for part in one.parts]))
        by_position = torch.cat([part.rows().transpose(0, 1).flatten(0, 1) for part in one.parts])
        assert torch.equal(one.columns(), by_position)
        views = one.each(one.columns().T)
        assert all(torch.equal(v, p.rows().permute(2, 1, 0)) for v, p in zip(views, one.parts, strict=True))
        assert one.joined(lambda view: view.sum(-2), one.columns().T).shape == (3, len(one))


@pytest.mark.parametrize("columns", [1, 2, 31, 32, 33, 70])
@pytest.mark.parametrize(("before", "after"), [(0, 0), (0, 5), (5, 0), (40, 0), (0, 40), (40, 40)])
def test_the_maximum_over_positions_reads_its_own_columns_only(columns, before, after):
    """Neighbours in the same memory are larger, and NaN; neither may enter."""
    tile = torch.full((2, 3, before + 4 * columns + after), float("inf"))
    tile[..., ::2] = float("nan")
    values = torch.randn(2, 3, 4, columns, generator=torch.Generator().manual_seed(0))
    tile[..., before : before + 4 * columns] = values.flatten(2)
    view = tile[..., before : before + 4 * columns].unflatten(-1, (4, columns))
    assert torch.equal(largest_over_positions(view), values.amax(2))
