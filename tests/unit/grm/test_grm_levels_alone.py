"""What GRM offers for diagnostics: levels that rank alone, and readings of gates and regions, against naive loops."""

from __future__ import annotations

import math

import grm_naive as naive
import numpy as np
import pytest
import torch

from harness.fragments import Fragments
from harness.methods.grm.readings import alike
from harness.registry import create
from harness.scoring import similarity_matrix

WIDTH = 8
IMAGES = naive.ragged(5, 7, WIDTH, seed=1, shortest=2, holes=True)
TEXTS = naive.ragged(6, 5, WIDTH, seed=2, holes=True)


def grm(**config):
    torch.manual_seed(0)
    scorer = create("grm", width=WIDTH, **{"keep_bias": 0.3} | config).eval()
    with torch.no_grad():
        for parameter in scorer.parameters():
            parameter.mul_(2.0)
    return scorer


def prepared(scorer):
    with torch.no_grad():
        return scorer.prepare_images(IMAGES), scorer.prepare_texts(TEXTS)


def values(tensor: torch.Tensor) -> list[list[float]]:
    """The values of each item, without NaN."""
    return [row[~row.isnan()].tolist() for row in tensor.reshape(len(tensor), -1)]


def test_each_level_alone_equals_a_double_loop_over_pairs():
    scorer = grm()
    expected = naive.levels(naive.Model.of(scorer), IMAGES, TEXTS)
    images, texts = prepared(scorer)
    alone = scorer.score_levels()
    assert {name: level.weight for name, level in alone.items()} == {"original": 0.4, "salient": 0.4, "uncertain": 0.2}
    for name, level in alone.items():
        found = similarity_matrix(level.scorer, images, texts).numpy()
        np.testing.assert_allclose(found, expected[name], atol=2e-6, err_msg=name)


@pytest.mark.parametrize(
    ("config", "weights"),
    [
        ({"ranking": ("uncertain",)}, {"original": 0.0, "salient": 0.0, "uncertain": 0.2}),
        ({"weight_salient": 0.0}, {"original": 0.4, "uncertain": 0.2}),
        ({"weight_original": 1.0, "weight_salient": 0.0, "weight_uncertain": 0.0}, {"original": 1.0}),
    ],
    ids=str,
)
def test_weights_are_those_that_rank_and_untrained_levels_are_left_out(config, weights):
    assert {name: level.weight for name, level in grm(**config).score_levels().items()} == weights


def test_gates_are_those_of_the_naive_adapters_and_padding_has_none():
    scorer = grm()
    model = naive.Model.of(scorer)
    images, texts = prepared(scorer)
    found = {**scorer.image_readings(images), **scorer.text_readings(texts)}
    for name, side, fragments in (("patch_gate", "significance", IMAGES), ("word_gate", "granularity", TEXTS)):
        for ours, tokens in zip(values(found[name]), naive.real(fragments), strict=True):
            np.testing.assert_allclose(ours, naive.gates(model, side, tokens), atol=1e-6)


def test_region_readings_equal_loops_over_images_and_regions():
    scorer = grm(regions=3)
    model = naive.Model.of(scorer)
    images, _ = prepared(scorer)
    found = {name: values(tensor) for name, tensor in scorer.image_readings(images).items()}
    uncertainty = scorer.parts.regions.uncertainty
    for row, patches in enumerate(naive.real(IMAGES)):
        gated = naive.gates(model, "significance", patches)[:, None] * patches
        weights = naive.attention(gated, model.parameters["regions.prompting.prompts"])
        entropies = [
            -sum(w * math.log(w) for w in weights[:, k]) / math.log(len(patches)) for k in range(weights.shape[1])
        ]
        np.testing.assert_allclose(found["region_entropy"][row], entropies, atol=1e-5)
        regions = naive.regions(model, gated)
        pairs = [naive.unit(a) @ naive.unit(b) for i, a in enumerate(regions) for j, b in enumerate(regions) if i != j]
        np.testing.assert_allclose(found["region_similarity"][row], [np.mean(pairs)], atol=1e-5)
        with torch.no_grad():
            variance = uncertainty.log_variance(torch.tensor(regions).float()).exp().double().numpy()
        sigma = [np.mean(np.sqrt(one)) for one in variance]
        np.testing.assert_allclose(found["region_sigma"][row], sigma, rtol=1e-4)
        noise = [
            math.sqrt(sum(variance[k]) * sum(w * w for w in weights[:, k])) / math.sqrt(sum(regions[k] ** 2))
            for k in range(len(regions))
        ]
        np.testing.assert_allclose(found["region_noise"][row], noise, rtol=1e-4)


def test_the_noise_reading_is_the_length_of_the_noise_that_training_draws():
    """Root mean square over many draws of the region as training scores it, minus its mean."""
    torch.manual_seed(3)
    scorer = grm(regions=2, gate_noise=False)
    scorer.generator = torch.Generator().manual_seed(5)
    mean = scorer.prepare_images(IMAGES).extras["regions"]
    noise = scorer.image_readings(scorer.prepare_images(IMAGES))["region_noise"]
    scorer.train()
    squares = torch.zeros(noise.shape)
    with torch.no_grad():
        for _ in range(400):
            squares += (scorer.prepare_images(IMAGES).extras["regions"] - mean).square().sum(-1)
    measured = (squares / 400).sqrt() / mean.norm(dim=-1)
    torch.testing.assert_close(measured, noise, rtol=0.15, atol=0)


@pytest.mark.parametrize(
    ("vectors", "cosine", "effective"),
    [
        ([[1, 0, 0], [0, 2, 0], [0, 0, 5]], 0.0, 3.0),
        ([[1, 1, 0], [2, 2, 0], [3, 3, 0]], 1.0, 1.0),
        ([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0]], 1 / 3, 2.0),
        ([[1, 0, 0], [-1, 0, 0]], -1.0, 1.0),
    ],
)
def test_regions_amount_to_as_many_as_differ(vectors, cosine, effective):
    mask = torch.ones(1, len(vectors), dtype=torch.bool)
    found = [value.item() for value in alike(torch.tensor([vectors]).float(), mask)]
    assert found == pytest.approx([cosine, effective], abs=1e-5)


def test_an_image_of_one_patch_has_no_entropy_and_one_region_no_similarity():
    scorer = grm(regions=1)
    one = Fragments(torch.randn(1, 1, WIDTH), torch.ones(1, 1, dtype=torch.bool))
    with torch.no_grad():
        found = scorer.image_readings(scorer.prepare_images(one))
    assert found["region_entropy"].isnan().all()
    assert found["region_similarity"].isnan().all()
    assert found["effective_regions"].item() == pytest.approx(1.0)


def test_without_uncertainty_nothing_is_uncertain():
    scorer = grm(uncertainty="off")
    found = scorer.image_readings(prepared(scorer)[0])
    assert found["region_sigma"].nan_to_num(0).abs().max() == 0
    assert found["region_noise"].nan_to_num(0).abs().max() == 0
