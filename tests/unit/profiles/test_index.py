"""Stored precision, pruning and resampled galleries, against the numbers done by hand or in float64."""

import pytest
import torch

from harness import registry
from harness.errors import InvalidSpec
from harness.fragments import Fragments
from harness.profiles.index import NOISE, StoredIndex, prune, resampled, store, stored_scores
from harness.scoring import similarity_matrix


def items(n, f, d=32, seed=0, unit=True):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(f) < torch.randint(1, f + 1, (n, 1), generator=generator)
    features = torch.randn(n, f, d, generator=generator) * mask[..., None]
    made = Fragments(features, mask)
    return made.normalized() if unit else made


def test_int8_keeps_one_scale_per_fragment_and_errs_by_half_a_step():
    original = items(20, 6, unit=False)
    index = store(original, "int8")
    step = original.features.abs().amax(-1, keepdim=True) / 127
    error = (index.decoded().features - original.features).abs()
    assert bool((error <= 0.5 * step + 1e-6).all())
    assert float(error.max()) > 0
    assert index.codes.dtype == torch.int8


@pytest.mark.parametrize(
    ("precision", "bytes_per_fragment"), [("float32", 32 * 4), ("bfloat16", 32 * 2), ("int8", 32 + 4)]
)
def test_index_bytes(precision, bytes_per_fragment):
    assert store(items(10, 4), precision).bytes_per_item == 4 * (bytes_per_fragment + 1)  # and the mask


def test_an_unknown_precision_is_refused():
    with pytest.raises(InvalidSpec, match="int4"):
        store(items(2, 2), "int4")


@pytest.mark.parametrize("direction", ["t2i", "i2t"])
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 0.0), ("bfloat16", 0.05), ("int8", 0.02)])
@pytest.mark.parametrize("name", ["chan", "clip"])  # with a packed form, and without
def test_scores_with_a_stored_index_are_near_the_exact_ones(name, precision, tolerance, direction, monkeypatch):
    monkeypatch.setattr("harness.profiles.index.DECODED_AT_ONCE", 7)  # several blocks
    scorer, images, texts = registry.create(name), items(17, 5, seed=1), items(23, 4, seed=2)
    exact = similarity_matrix(scorer, images, texts)
    gallery, queries = (images, texts) if direction == "t2i" else (texts, images)
    scores = stored_scores(scorer, queries, store(gallery, precision), direction, precision)
    expected = exact.T if direction == "t2i" else exact
    scale = float(expected.abs().max())
    assert scores.shape == expected.shape
    assert float((scores - expected).abs().max()) <= tolerance * scale + (0.0 if precision == "float32" else 1e-6)
    if precision != "float32":
        assert not torch.equal(scores, expected)


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
    assert StoredIndex(gallery).bytes_per_item == StoredIndex(real).bytes_per_item
