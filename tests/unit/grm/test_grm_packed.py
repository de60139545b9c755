"""GRM through the scoring engine: the numbers of `score`, for every variant, mask and place of the class token."""

from __future__ import annotations

import grm_naive as naive
import numpy as np
import pytest
import torch

from harness.fragments import Fragments
from harness.methods.grm.scorer import Grm
from harness.registry import create
from harness.scoring import packed_form, similarity_matrix
from harness.similarity.packed.kernels import Scratch
from harness.similarity.packed.layout import Group, pack

WIDTH = 8
IMAGES = naive.ragged(7, 6, WIDTH, seed=3, holes=True)  # some have a single patch, some none at the first position
TEXTS = naive.ragged(9, 5, WIDTH, seed=4, holes=True)


def grm(variant: str = "", **config):
    """A scorer with weights large enough for its gates and prompts to matter."""
    torch.manual_seed(0)
    scorer = create(f"grm.{variant}" if variant else "grm", width=WIDTH, **{"keep_bias": 0.3} | config).eval()
    with torch.no_grad():
        for parameter in scorer.parameters():
            parameter.mul_(2.0)
    return scorer


def both_routes(scorer, images=IMAGES, texts=TEXTS, **options):
    assert packed_form(scorer) is not None
    with torch.no_grad():
        return similarity_matrix(scorer, images, texts, **options), scorer.score(images, texts)


@pytest.mark.parametrize("variant", ["", *Grm.variants])
def test_every_variant_packs_to_its_own_scores(variant):
    torch.testing.assert_close(*both_routes(grm(variant)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("token", ["present", "absent"])
@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("regions", [0, 1, 3])
@pytest.mark.parametrize("suppressed_mean", ["length", "gates"])
def test_class_token_and_number_of_regions(token, keep, regions, suppressed_mean):
    config = {"class_token": token, "keep_class_token": keep, "regions": regions, "suppressed_mean": suppressed_mean}
    torch.testing.assert_close(*both_routes(grm(**config)), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "config", [{}, {"regions": 0}, {"leaky_slope": 0.1}, {"gate_order": "gate_then_norm"}], ids=str
)
def test_the_engine_agrees_with_the_loop_over_pairs(config):
    scorer = grm(**config)
    switches = {"slope": config.get("leaky_slope", 0.0), "order": config.get("gate_order", "norm_then_gate")}
    levels = naive.levels(naive.Model.of(scorer, **switches), IMAGES, TEXTS)
    expected = 0.4 * levels["original"] + 0.4 * levels["salient"] + 0.2 * levels["uncertain"]
    np.testing.assert_allclose(similarity_matrix(scorer, IMAGES, TEXTS), expected, atol=2e-6)


@pytest.mark.parametrize("regions", [0, 3])
def test_random_shapes_prepared_sides_and_blocks(regions):
    scorer = grm(regions=regions)
    for seed in range(6):
        images = naive.ragged(seed + 1, 3 + 2 * seed, WIDTH, seed=seed, holes=True)
        texts = naive.ragged(8 - seed, 2 + seed, WIDTH, seed=10 + seed)
        packed, expected = both_routes(scorer, images, texts)
        torch.testing.assert_close(packed, expected, atol=1e-5, rtol=0)
        with torch.no_grad():
            prepared = scorer.prepare_images(images), scorer.prepare_texts(texts)
        blocks = similarity_matrix(scorer, *prepared, memory_budget=1000, image_block=2, text_block=3)
        torch.testing.assert_close(blocks, expected, atol=1e-5, rtol=0)


def test_what_is_padding_never_enters():
    scorer = grm()
    features = IMAGES.features.masked_fill(~IMAGES.mask[..., None], 3e33)
    packed, expected = both_routes(scorer, Fragments(features, IMAGES.mask))
    torch.testing.assert_close(packed, both_routes(scorer)[1], atol=1e-5, rtol=0)
    torch.testing.assert_close(packed, expected, atol=1e-5, rtol=0)


def test_half_precision_products_stay_close():
    scorer = grm()
    packed, expected = both_routes(scorer, dtype=torch.bfloat16)
    assert packed.dtype == torch.float32
    assert 0 < float((packed - expected).abs().max()) < 4e-2


def test_a_tile_is_not_changed_by_its_kernel():
    scorer = grm()
    form = scorer.packed_form()
    ((_, kernel),) = form.terms
    with torch.no_grad():
        left = pack(form.image_rows(IMAGES), torch.arange(len(IMAGES)))[0]
        right = Group(tuple(pack(form.text_rows(TEXTS), torch.arange(len(TEXTS)))))
        rows, columns = left.rows(), right.columns()
        tile = rows @ columns.T
        before = tile.clone()
        scores = kernel.reduce(tile, kernel.left_side(left, rows), kernel.right_side(right, columns), Scratch())
        assert scores.shape == (len(left), len(TEXTS))
    assert torch.equal(tile, before)
