"""FLAIR: its attention against torch's own, pair by pair; its losses against a loop; tiles; the empty patch."""

from __future__ import annotations

import math

import baselines_naive as naive
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from harness.errors import InvalidSpec
from harness.fragments import Fragments
from harness.registry import create
from harness.scoring import similarity_matrix

WIDTH = 8
IMAGES = naive.ragged(5, 7, WIDTH, seed=1)
TEXTS = naive.ragged(6, 5, WIDTH, seed=2)
IDS = torch.tensor([0, 1, 1, 2, 3])


def scorer(**config):
    torch.manual_seed(0)
    made = create("flair", width=WIDTH, **config)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return made.eval()


def oracle(parts) -> nn.MultiheadAttention:
    """torch's attention with an empty key and value, and the same weights."""
    module = nn.MultiheadAttention(WIDTH, parts.heads, batch_first=True, add_zero_attn=True).eval()
    with torch.no_grad():
        module.in_proj_weight.copy_(torch.cat([parts.query.weight, parts.key.weight, parts.value.weight]))
        module.in_proj_bias.copy_(torch.cat([parts.query.bias, torch.zeros(WIDTH), parts.value.bias]))
        module.out_proj.weight.copy_(parts.output.weight)
        module.out_proj.bias.copy_(parts.output.bias)
    return module


@pytest.mark.parametrize("caption", ["mean", "last"])
@pytest.mark.parametrize("heads", [None, 1, 4])
@torch.no_grad()
def test_scores_equal_torchs_attention_pair_by_pair(caption, heads):
    made = scorer(caption=caption, heads=heads)
    parts = made.parts
    attention = oracle(parts)
    scores = made.score(IMAGES, TEXTS)
    for i, image in enumerate(naive.real(IMAGES)):
        patches = parts.patch_norm(torch.tensor(image).float())
        for t, text in enumerate(naive.real(TEXTS)):
            vector = F.normalize(torch.tensor(text.mean(0) if caption == "mean" else text[-1]).float(), dim=0)
            vector_as_it_came = torch.tensor(text.mean(0) if caption == "mean" else text[-1]).float()
            asked = parts.caption_norm(vector_as_it_came)
            answer, _ = attention(asked[None, None], patches[None], patches[None])
            assert float(scores[i, t]) == pytest.approx(float(F.normalize(answer[0, 0], dim=0) @ vector), abs=2e-6)


def test_a_caption_that_nothing_answers_turns_to_the_empty_patch():
    made = scorer(heads=1)
    parts = made.parts
    with torch.no_grad():
        images, texts = made.prepare_images(IMAGES), made.prepare_texts(TEXTS)
        images.extras["keys"].copy_(-1e3 * texts.extras["query"][0])  # every patch is the opposite of what is asked
        images.extras["values"].normal_()
        expected = F.normalize(parts.output.bias, dim=0) @ texts.features[0, 0]
        torch.testing.assert_close(made.score(images, texts)[:, 0], expected.expand(5))


@pytest.mark.parametrize("values", [1, 3 * WIDTH * 8, None])
def test_tiles_change_neither_scores_nor_gradients(values):
    def gradients(tile_values):
        made = scorer().train()
        made.tile_values = tile_values
        sum(made.losses(IMAGES, TEXTS[:5], IDS).values()).backward()
        return {name: parameter.grad for name, parameter in made.named_parameters()}

    whole, tiled = gradients(10**9), gradients(values)
    for name, gradient in whole.items():
        torch.testing.assert_close(tiled[name], gradient, atol=1e-6, rtol=1e-4, msg=name)
    made = scorer()
    made.tile_values = values
    with torch.no_grad():
        torch.testing.assert_close(made.score(IMAGES, TEXTS), similarity_matrix(made, IMAGES, TEXTS))


@torch.no_grad()
def test_the_losses_equal_a_loop_over_the_pairs():
    made = scorer(weight_conditioned=0.7, weight_global=0.3)
    scale, bias = math.exp(float(made.log_scale)), float(made.bias)
    means = [F.normalize(torch.tensor(image.mean(0)), dim=0) for image in naive.real(IMAGES)]
    texts = [F.normalize(torch.tensor(text.mean(0)), dim=0) for text in naive.real(TEXTS)][:5]
    scores = made.score(IMAGES, TEXTS[:5]).double()
    expected = {"conditioned": 0.0, "global": 0.0}
    for i in range(5):
        for t in range(5):
            sign = 1 if IDS[i] == IDS[t] else -1
            for name, cosine in (("conditioned", scores[i, t]), ("global", means[i] @ texts[t])):
                expected[name] += math.log1p(math.exp(-sign * (scale * float(cosine) + bias))) / 5
    found = made.losses(IMAGES, TEXTS[:5], IDS)
    assert float(found["conditioned"]) == pytest.approx(0.7 * expected["conditioned"], rel=1e-5)
    assert float(found["global"]) == pytest.approx(0.3 * expected["global"], rel=1e-5)
    assert list(scorer(weight_global=0.0).losses(IMAGES, TEXTS[:5], IDS)) == ["conditioned"]


def test_the_scale_and_bias_begin_as_the_settings_say():
    made = create("flair", width=WIDTH, scale=12.0, bias=-4.0)
    assert float(made.log_scale.exp()) == pytest.approx(12.0)
    assert float(made.bias) == -4.0


def test_heads_that_do_not_divide_the_width_are_refused_in_one_line():
    with pytest.raises(InvalidSpec, match=r"3 heads, which do not divide the width D = 8"):
        create("flair", width=WIDTH, heads=3)


def test_the_patch_that_a_caption_needs_decides():
    """Two patches, one of which is the caption: attention finds it among any others once it is sharp."""
    made = create("flair", width=4, heads=1).eval()
    parts = made.parts
    with torch.no_grad():
        for layer, factor in ((parts.query, 30.0), (parts.key, 1.0), (parts.value, 1.0), (parts.output, 1.0)):
            layer.weight.copy_(factor * torch.eye(4))
        for layer in (parts.query, parts.value, parts.output):
            layer.bias.zero_()
        patches = torch.tensor([[[3.0, -1, -1, -1], [-1, 3.0, -1, -1]], [[-1, -1, 3.0, -1], [-1, 3.0, -1, -1]]])
        images = Fragments(patches, torch.ones(2, 2, dtype=torch.bool))
        texts = Fragments(torch.tensor([[[3.0, -1, -1, -1]]]), torch.ones(1, 1, dtype=torch.bool))
        scores = made.score(images, texts)[:, 0].numpy()
    np.testing.assert_allclose(scores[0], 1.0, atol=1e-3)
    assert scores[1] < 0.5
