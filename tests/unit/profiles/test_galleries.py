"""Packed galleries, pruning and resampled galleries, against the numbers done by hand or in float64."""

import pytest
import torch

from harness import registry
from harness.errors import InvalidSpec
from harness.fragments import Fragments
from harness.measure.cost import index_bytes
from harness.profiles.galleries import NOISE, build, growing, prune, resampled


def items(n, f, d=32, seed=0, unit=True):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(f) < torch.randint(1, f + 1, (n, 1), generator=generator)
    features = torch.randn(n, f, d, generator=generator) * mask[..., None]
    made = Fragments(features, mask)
    return made.normalized() if unit else made


@pytest.mark.parametrize(
    ("precision", "exact", "bytes_per_fragment"),
    [("float32", False, 32 * 4), ("bfloat16", False, 32 * 2), ("int8", False, 32 + 4), ("int8", True, 32 + 4 + 32 * 4)],
)
def test_index_bytes(precision, exact, bytes_per_fragment):
    built = build(registry.create("chan"), items(10, 4), "t2i", precision, exact)
    assert built.bytes_per_item == 4 * (bytes_per_fragment + 1)  # and the mask


@pytest.mark.parametrize("direction", ["t2i", "i2t"])
def test_growing_galleries_give_the_scores_of_galleries_built_alone(direction):
    scorer, gallery, query = registry.create("chan"), items(40, 5, seed=1), items(1, 4, seed=2)
    built = growing(scorer, gallery, direction, (10, 25, 40))
    assert [len(one.index) for one in built.values()] == [10, 25, 40]
    for size, one in built.items():
        assert torch.equal(one.index.query(query), build(scorer, gallery[:size], direction).index.query(query))
    assert 0 < built[10].ms < built[25].ms < built[40].ms


def test_pruning_keeps_the_largest_norms_in_their_order():
    features = torch.tensor([[3.0], [1.0], [4.0], [2.0]])[None].repeat(2, 1, 1)
    mask = torch.tensor([[True] * 4, [True, True, True, False]])
    kept = prune(Fragments(features, mask), 0.5)
    assert kept.features[0].flatten().tolist() == [3.0, 4.0]
    assert kept.features[1].flatten().tolist() == [3.0, 4.0]  # ceil(1.5) = 2 of its three real ones
    assert kept.mask.tolist() == [[True, True], [True, True]]


def test_pruning_fragments_of_equal_norm_keeps_evenly_spaced_ones():
    angle = torch.arange(8.0)
    features = torch.stack([angle.cos(), angle.sin()], 1)[None]
    kept = prune(Fragments(features, torch.ones(1, 8, dtype=torch.bool)), 0.5)
    assert torch.equal(kept.features[0], features[0, ::2])


def test_pruning_nothing_changes_nothing_and_every_item_keeps_one():
    original = items(9, 5)
    whole = prune(original, 1.0)
    assert torch.equal(whole.features[whole.mask], original.features[original.mask])
    assert bool((prune(original, 0.01).lengths == 1).all())
    with pytest.raises(InvalidSpec, match=r"\(0, 1\]"):
        prune(original, 0.0)


def test_a_resampled_gallery_holds_the_real_items_first_and_disturbed_ones_after():
    real = items(30, 5)
    gallery = resampled(real, 200)
    assert len(gallery) == 200
    assert torch.equal(gallery[:30].features, real.features)
    norms = gallery.features.norm(dim=-1)
    assert torch.allclose(norms[gallery.mask], torch.ones(1), atol=1e-5)
    assert float(norms[~gallery.mask].abs().max()) == 0.0
    # each is near a real item of as many fragments, and none is twice there
    flat = gallery.features.flatten(1)
    distance = torch.cdist(flat[30:], flat[:30]).amin(1)
    assert float(distance.max()) < 3 * NOISE * 5**0.5
    assert len(torch.unique(flat, dim=0)) == 200
    assert torch.equal(resampled(real, 200).features, gallery.features)
    assert index_bytes(gallery) == index_bytes(real)
