"""GRM's scores: equal to the equations written pair by pair, and dependent on nothing but the pair."""

from __future__ import annotations

import grm_naive as naive
import numpy as np
import pytest
import torch

from harness.fragments import Fragments
from harness.methods.grm import levels as grm_levels
from harness.methods.grm.gates import mean_over_length, norm_then_gate
from harness.registry import create

WIDTH = 8
IMAGES = naive.ragged(5, 7, WIDTH, seed=1, shortest=2, holes=True)
TEXTS = naive.ragged(6, 5, WIDTH, seed=2, holes=True)


def grm(seed: int = 0, **config):
    """A scorer in evaluation mode with weights large enough for its gates and prompts to matter."""
    torch.manual_seed(seed)
    scorer = create("grm", width=WIDTH, **{"keep_bias": 0.3} | config).eval()
    with torch.no_grad():
        for parameter in scorer.parameters():
            parameter.mul_(2.0)
    return scorer


def level_arrays(scorer, images=IMAGES, texts=TEXTS) -> dict[str, np.ndarray]:
    with torch.no_grad():
        return {name: value.numpy() for name, value in scorer.levels(images, texts).items()}


@pytest.mark.parametrize(
    ("config", "switches"),
    [
        ({}, {}),
        ({"gate_temperature": 0.4}, {"tau": 0.4}),
        ({"significance": "hard", "granularity": "hard"}, {"hard": True}),
        ({"significance": "off"}, {}),
        ({"granularity": "off"}, {}),
        ({"regions": 0}, {}),
        ({"regions": 1}, {}),
        ({"regions": 12}, {}),
        ({"uncertainty": "off"}, {}),
        ({"suppressed_mean": "gates"}, {"means": "gates"}),
        ({"gate_order": "none", "granularity": "off"}, {"order": "none"}),
        ({"gate_order": "gate_then_norm"}, {"order": "gate_then_norm"}),
        ({"leaky_slope": 0.1}, {"slope": 0.1}),
    ],
    ids=str,
)
def test_levels_equal_a_double_loop_over_pairs(config, switches):
    scorer = grm(**config)
    ours, expected = level_arrays(scorer), naive.levels(naive.Model.of(scorer, **switches), IMAGES, TEXTS)
    for level, values in expected.items():
        np.testing.assert_allclose(ours[level], values, atol=2e-6, err_msg=level)


def test_the_score_is_the_weighted_sum_of_the_ranking_levels():
    levels = level_arrays(grm())
    cases = {
        (): 0.4 * levels["original"] + 0.4 * levels["salient"] + 0.2 * levels["uncertain"],
        (("ranking", ("salient",)),): 0.4 * levels["salient"],
        (("weight_salient", 0.0),): 0.4 * levels["original"] + 0.2 * levels["uncertain"],
        (("weight_salient", 0.0), ("renormalise_levels", True)): (2 * levels["original"] + levels["uncertain"]) / 3,
    }
    for config, expected in cases.items():
        with torch.no_grad():
            np.testing.assert_allclose(
                grm(**dict(config)).score(IMAGES, TEXTS), expected, atol=2e-6, err_msg=str(config)
            )


def test_with_negative_similarities_only_the_gate_cannot_leave_the_maximum():
    """Gates 1 and 0.1, similarities -0.5 and -0.9: maxima -0.5 and -0.09, so another patch wins than without gates."""
    matching = grm_levels.Matching(norm_then_gate, mean_over_length, torch.nn.Identity())
    words = Fragments(torch.tensor([[[1.0, 0.0]]]), torch.ones(1, 1).bool(), {"gates": torch.ones(1, 1)})
    rows, mask = torch.tensor([[[-0.5, 0.75**0.5], [-0.9, 0.19**0.5]]]), torch.ones(1, 2).bool()
    extras = {"gates": torch.tensor([[1.0, 0.1]]), "regions": rows[:, :0], "region_mask": mask[:, :0]}
    images = grm_levels.image_side(Fragments(rows, mask, extras), mask, matching)
    texts = grm_levels.text_side(words, matching)
    found = grm_levels.pairwise_levels(images, texts, ("original", "salient"), matching.activation)
    expected = [-0.5 + (-0.5 - 0.9) / 2, -0.09 + (-0.5 - 0.09) / 2]
    assert found.flatten().tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    "config", [{}, {"regions": 0}, {"suppressed_mean": "gates"}, {"class_token": "present"}], ids=str
)
def test_longer_padding_changes_nothing(config):
    scorer = grm(**config)

    def longer(f: Fragments) -> Fragments:
        features = torch.cat([f.features, torch.full((len(f), 4, WIDTH), -3e33)], 1)
        return Fragments(features, torch.cat([f.mask, torch.zeros(len(f), 4, dtype=torch.bool)], 1))

    with torch.no_grad():
        torch.testing.assert_close(
            scorer.score(longer(IMAGES), longer(TEXTS)), scorer.score(IMAGES, TEXTS), atol=1e-6, rtol=0
        )


def test_the_order_of_patches_does_not_matter():
    scorer, order = grm(), torch.tensor([3, 0, 6, 2, 5, 1, 4])
    shuffled = Fragments(IMAGES.features[:, order], IMAGES.mask[:, order])
    for level, values in level_arrays(scorer, shuffled).items():
        np.testing.assert_allclose(values, level_arrays(scorer)[level], atol=1e-6, err_msg=level)


@pytest.mark.parametrize("regions", [5, 0])
def test_blocks_tiles_and_preparation_do_not_matter(regions):
    scorer = grm(regions=regions)
    with torch.no_grad():
        whole = scorer.score(IMAGES, TEXTS)
        images, texts = scorer.prepare_images(IMAGES), scorer.prepare_texts(TEXTS)
        joined = Fragments.cat([scorer.prepare_images(IMAGES[[n]].trimmed()) for n in range(len(IMAGES))])
        ones = [[scorer.score(images[[i]], TEXTS[[t]]) for t in range(len(TEXTS))] for i in range(len(IMAGES))]
        others = {
            "one pair at a time": torch.tensor(ones),
            "prepared": scorer.score(images, texts),
            "prepared one by one and joined": scorer.score(joined, texts),
        }
        for tile in (1, 100, 333):
            scorer.tile_elements = tile
            others[f"tiles of {tile}"] = scorer.score(IMAGES, TEXTS)
    for name, other in others.items():
        torch.testing.assert_close(other, whole, atol=1e-6, rtol=0, msg=name)


def test_no_tile_exceeds_its_budget(monkeypatch):
    """A gallery of 40 x 30 in tiles of at most 2,000 token similarities: none is larger, all pairs are there."""
    sizes = []
    reduce = grm_levels.reduce_tile

    def watched(similarity, *arguments):
        sizes.append(similarity.numel())
        return reduce(similarity, *arguments)

    monkeypatch.setattr(grm_levels, "reduce_tile", watched)
    images, texts, scorer = naive.ragged(40, 9, WIDTH, seed=3), naive.ragged(30, 6, WIDTH, seed=4), grm(regions=3)
    scorer.tile_elements = 2000
    with torch.no_grad():
        scorer.score(images, texts)
    assert max(sizes) <= 2000
    assert sum(sizes) >= int(texts.lengths.sum()) * 40 * (9 + 3)


def test_evaluation_is_bit_equal_twice_and_leaves_its_inputs_alone():
    scorer = grm()
    before = IMAGES.features.clone(), IMAGES.mask.clone(), TEXTS.features.clone()
    with torch.no_grad():
        assert torch.equal(scorer.score(IMAGES, TEXTS), scorer.score(IMAGES, TEXTS))
    assert torch.equal(IMAGES.features, before[0])
    assert torch.equal(IMAGES.mask, before[1])
    assert torch.equal(TEXTS.features, before[2])
    assert not IMAGES.extras
    assert not TEXTS.extras


def test_preparing_twice_returns_the_same_fragments():
    scorer = grm()
    images, texts = scorer.prepare_images(IMAGES), scorer.prepare_texts(TEXTS)
    assert scorer.prepare_images(images) is images
    assert scorer.prepare_texts(texts) is texts
    assert {name: tuple(e.shape) for name, e in images.extras.items()} == {
        "gates": (5, 7),
        "regions": (5, 5, WIDTH),
        "region_mask": (5, 5),
    }


@pytest.mark.parametrize("order", ["gate_then_norm", "none"])
def test_gating_before_the_norm_makes_the_salient_level_the_original(order):
    levels = level_arrays(grm(gate_order=order))
    np.testing.assert_allclose(levels["salient"], levels["original"], atol=1e-6)
    gated = level_arrays(grm())
    assert np.abs(gated["salient"] - gated["original"]).min() > 0.05  # while the default order does not


def test_one_word_captions_and_one_image():
    scorer = grm()
    image, word = IMAGES[[2]], Fragments(TEXTS.features[:1, :1] / 1e30 + 1, torch.ones(1, 1, dtype=torch.bool))
    ours, expected = level_arrays(scorer, image, word), naive.levels(naive.Model.of(scorer), image, word)
    for level, values in expected.items():
        assert ours[level].shape == (1, 1)
        np.testing.assert_allclose(ours[level], values, atol=2e-6, err_msg=level)


def test_no_images_or_no_captions_give_an_empty_matrix():
    scorer = grm()
    with torch.no_grad():
        assert scorer.score(IMAGES[:0], TEXTS).shape == (0, 6)
        assert scorer.score(IMAGES, TEXTS[:0]).shape == (5, 0)


def test_a_class_token_is_scored_but_no_prompt_sees_it():
    """As the first of all fragments it takes part in the original level; regions are those of the rest."""
    images = naive.ragged(4, 6, WIDTH, seed=5, shortest=6)
    rest = Fragments(images.features[:, 1:], images.mask[:, 1:])
    kept, plain = grm(class_token="present"), grm()
    dropped = grm(class_token="present", keep_class_token=False)
    with torch.no_grad():
        torch.testing.assert_close(
            kept.prepare_images(images).extras["regions"], plain.prepare_images(rest).extras["regions"]
        )
    ours = level_arrays(kept, images)
    np.testing.assert_allclose(ours["original"], level_arrays(plain, images)["original"], atol=1e-6)
    np.testing.assert_allclose(ours["uncertain"], level_arrays(plain, rest)["uncertain"], atol=1e-6)
    for level, values in level_arrays(plain, rest).items():
        np.testing.assert_allclose(level_arrays(dropped, images)[level], values, atol=1e-6, err_msg=level)


def test_an_image_of_nothing_but_a_class_token_keeps_it():
    single = Fragments(torch.randn(3, 1, WIDTH), torch.ones(3, 1, dtype=torch.bool))
    for level, values in level_arrays(grm(class_token="present", keep_class_token=False), single).items():
        np.testing.assert_allclose(values, level_arrays(grm(), single)[level], atol=1e-6, err_msg=level)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_precisions_score_nearly_the_same_as_float32(dtype):
    scorer = grm()
    images, texts = (Fragments(f.features.masked_fill(~f.mask[..., None], 0), f.mask) for f in (IMAGES, TEXTS))
    with torch.no_grad():
        expected = scorer.score(images, texts)
        found = scorer.score(images.to(dtype), texts.to(dtype))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = scorer.score(images, texts)
    assert found.dtype in (torch.float32, torch.float64)
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(found.float(), expected, atol={torch.bfloat16: 0.02}.get(dtype, 1e-6), rtol=0)
    torch.testing.assert_close(mixed, expected, atol=0.02, rtol=0)
