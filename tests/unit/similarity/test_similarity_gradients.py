"""Gradients of the training kernels against autograd through the naive forms, and the memory that a step keeps."""

from __future__ import annotations

import pytest
import similarity_oracle as oracle
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from similarity_cases import ragged

from harness.fragments import Fragments
from harness.registry import create
from harness.similarity.reference import assignment, attention


def leaf(side: Fragments) -> Fragments:
    return Fragments(side.features.clone().requires_grad_(), side.mask)


def gradients(score, images: Fragments, texts: Fragments, weights: torch.Tensor) -> list[torch.Tensor]:
    images, texts = leaf(images), leaf(texts)
    (score(images, texts) * weights).sum().backward()
    return [images.features.grad, texts.features.grad]


def assert_same_gradients(score, pair, images: Fragments, texts: Fragments, tolerance: float = 1e-4):
    weights = torch.randn(len(images), len(texts), generator=torch.Generator().manual_seed(9))
    ours = gradients(score, images, texts, weights)
    naive = gradients(lambda i, t: oracle.every_pair(pair, i, t), images, texts, weights)
    for got, expected, side in zip(ours, naive, (images, texts), strict=True):
        assert bool(torch.isfinite(got).all())
        assert float((got - expected).norm()) <= tolerance * float(expected.norm()) + 1e-6
        assert not bool(got[~side.mask].any()), "padding got a gradient"


@settings(max_examples=12, deadline=None)
@given(
    st.integers(0, 999),
    st.sampled_from(["vha", "tha"]),
    st.sampled_from(["lse", "mean", "max", "softmax"]),
    st.booleans(),
)
def test_chan(seed, coding, pooling, small_tiles):
    images, texts = ragged(seed, 4, 6, 8), ragged(seed + 1, 5, 7, 8)
    limit = 12 if small_tiles else 2**20
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assignment, "TILE_ELEMENTS", {"cpu": limit, "cuda": limit})
        scorer = create("chan", coding=coding, pooling=pooling)
        assert_same_gradients(scorer.score, lambda i, t: oracle.chan_pair(i, t, coding, pooling, 0.1), images, texts)


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 999),
    st.sampled_from(["t2i", "i2t", "both"]),
    st.sampled_from(["clipped_l2norm", "l2norm", "l1norm", "softmax", "clipped", "none"]),
    st.sampled_from(["lse", "mean"]),
    st.booleans(),
)
def test_scan(seed, direction, norm, pooling, small_tiles):
    images, texts = ragged(seed, 4, 6, 8), ragged(seed + 1, 5, 7, 8)
    limit = 12 if small_tiles else 2**20
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "TILE_ELEMENTS", {"cpu": limit, "cuda": limit})
        scorer = create(
            "scan", direction=direction, attention_norm=norm, pooling=pooling, inverse_temperature=4.0, lse_scale=5.0
        )
        # A norm over one or two similarities near 0 cancels in its derivative, in the naive form in float32 as well.
        pair = lambda i, t: oracle.scan_pair(i, t, direction, norm, pooling, 4.0, 5.0)  # noqa: E731
        assert_same_gradients(scorer.score, pair, images, texts, tolerance=1e-3)


@pytest.mark.parametrize("direction", ["t2i", "i2t"])
def test_scan_at_the_sizes_of_real_captions(direction):
    images, texts = ragged(1, 3, 36, 64), ragged(2, 4, 20, 64)
    scorer = create("scan", direction=direction, inverse_temperature=9.0, lse_scale=6.0)
    pair = lambda i, t: oracle.scan_pair(i, t, direction, "clipped_l2norm", "lse", 9.0, 6.0)  # noqa: E731
    assert_same_gradients(scorer.score, pair, images, texts, tolerance=2e-5)


@pytest.mark.parametrize(
    ("name", "config"), [("chan", {}), ("chan", {"coding": "tha"}), ("scan", {}), ("scan", {"direction": "i2t"})]
)
def test_duplicate_regions_and_zero_vectors_have_finite_gradients(name, config):
    images, texts = ragged(1, 3, 6, 8, duplicates=True), ragged(2, 4, 5, 8)
    images.features[1] = 0
    texts.features[2] = 0
    weights = torch.ones(3, 4)
    for gradient in gradients(create(name, **config).score, images, texts, weights):
        assert bool(torch.isfinite(gradient).all())


def kept_bytes(score, images: Fragments, texts: Fragments) -> int:
    """Bytes of the distinct tensors that the graph of one `score` call saves for backward, the inputs left out."""
    images, texts = leaf(images), leaf(texts)
    storages: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        scores = score(images, texts)
    assert scores.requires_grad
    for side in (images, texts):
        storages.pop(side.features.untyped_storage().data_ptr(), None)
    return sum(storages.values())


@pytest.mark.parametrize(
    ("name", "config"), [("chan", {}), ("chan", {"coding": "tha"}), ("scan", {}), ("scan", {"direction": "i2t"})]
)
def test_a_training_step_keeps_less_than_the_token_similarities(name, config, monkeypatch):
    monkeypatch.setattr(attention, "TILE_ELEMENTS", {"cpu": 2**14, "cuda": 2**14})
    images, texts = ragged(1, 32, 36, 16), ragged(2, 32, 24, 16)
    token_similarities = 4 * int(images.mask.sum()) * int(texts.mask.sum())
    assert kept_bytes(create(name, **config).score, images, texts) < token_similarities / 2


def test_the_index_of_a_maximum_is_kept_in_a_byte_up_to_256_regions():
    for regions, bytes_each in ((256, 1), (257, 2)):
        images, texts = ragged(3, 2, regions, 4), ragged(4, 3, 2, 4)
        full = Fragments(images.features.clone(), torch.ones_like(images.mask))
        scorer = create("chan", pooling="mean")
        assert_same_gradients(scorer.score, lambda i, t: oracle.chan_pair(i, t, "vha", "mean", 0.1), full, texts)
        kinds: list[torch.Tensor] = []

        def pack(tensor: torch.Tensor, kinds=kinds) -> torch.Tensor:
            kinds.append(tensor)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            scorer.score(leaf(full), texts)
        indices = [t for t in kinds if t.dtype in (torch.uint8, torch.int16)]
        assert [t.element_size() for t in indices] == [bytes_each]


@pytest.mark.parametrize(("name", "config"), [("chan", {"pooling": "mean"}), ("scan", {"pooling": "mean"})])
def test_autocast_trains_in_half_precision_and_scores_in_float32(name, config):
    images, texts = leaf(ragged(5, 4, 6, 32)), leaf(ragged(6, 5, 7, 32))
    scorer = create(name, **config)
    exact = scorer.score(images, texts)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores = scorer.score(images, texts)
    assert scores.dtype == torch.float32
    assert 0 < float((scores - exact).detach().abs().max()) < 2e-2
    scores.sum().backward()
    assert images.features.grad.dtype == torch.float32
    assert bool(torch.isfinite(images.features.grad).all())
