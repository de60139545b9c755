"""CLIP: cosines of global embeddings, and the contrastive loss with a learned temperature."""

from __future__ import annotations

import math

import baselines_naive as naive
import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import save_file

from harness import backbones
from harness.errors import InvalidFragments, InvalidSpec
from harness.fragments import Fragments
from harness.registry import create, scorer_class

IMAGES = naive.ragged(5, 7, 8, seed=1)
TEXTS = naive.ragged(5, 4, 8, seed=2)
IDS = torch.tensor([0, 1, 1, 2, 3])


def global_only(features: torch.Tensor) -> Fragments:
    return Fragments(features[:, None], torch.ones(len(features), 1, dtype=torch.bool))


def test_global_embeddings_are_compared_as_they_are():
    images, texts = torch.randn(4, 6), torch.randn(3, 6)
    scores = create("clip").score(global_only(images), global_only(texts))
    torch.testing.assert_close(scores, torch.cosine_similarity(images[:, None], texts[None], dim=-1))


def test_fragments_of_any_backbone_are_averaged_over_the_real_ones():
    expected = naive.matrix(lambda v, t: naive.unit(v.mean(0)) @ naive.unit(t.mean(0)), IMAGES, TEXTS)
    np.testing.assert_allclose(create("clip").score(IMAGES, TEXTS).numpy(), expected, atol=1e-6)


def test_an_index_holds_one_vector_an_item():
    scorer = create("clip")
    images, texts = scorer.prepare_images(IMAGES), scorer.prepare_texts(TEXTS)
    assert images.features.shape == (5, 1, 8)
    torch.testing.assert_close(scorer.score(images, texts), scorer.score(IMAGES, TEXTS))


def test_the_loss_equals_a_loop_that_leaves_same_image_pairs_out():
    scorer = create("clip", initial_temperature=0.1)
    cosines = scorer.score(IMAGES, TEXTS).tolist()
    total = 0.0
    for b in range(5):
        negatives = [j for j in range(5) if j != b and IDS[j] != IDS[b]]
        row = sum(math.exp(cosines[b][j] / 0.1) for j in [b, *negatives])
        column = sum(math.exp(cosines[j][b] / 0.1) for j in [b, *negatives])
        total -= math.log(math.exp(cosines[b][b] / 0.1) / row) + math.log(math.exp(cosines[b][b] / 0.1) / column)
    losses = scorer.losses(IMAGES, TEXTS, IDS)
    assert sum(losses.values()).item() == pytest.approx(total / 10, rel=1e-5)


def test_the_temperature_learns_and_stays_bounded():
    scorer = create("clip")
    assert scorer.log_scale.exp().item() == pytest.approx(1 / 0.07)
    sum(scorer.losses(IMAGES, TEXTS, IDS).values()).backward()
    assert scorer.log_scale.grad.item() != 0
    scorer.log_scale.data.fill_(50.0)
    at_bound = scorer.losses(IMAGES, TEXTS, IDS)["contrastive"]
    assert scorer.log_scale.exp().item() == pytest.approx(100)
    at_bound.backward()  # and the gradient still reaches it there
    assert torch.isfinite(scorer.log_scale.grad)


def test_a_model_and_local_weights_make_a_scorer_that_encodes(tmp_path):
    config = tmp_path / "itm-test-clip.json"
    config.write_text(
        '{"embed_dim": 16, "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 32, "layers": 1, "head_width": 16},'
        ' "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}}'
    )
    open_clip.add_model_config(config)
    torch.manual_seed(0)
    source = open_clip.create_model(config.stem).eval()
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    scorer = create("clip", model=config.stem, pretrained=str(tmp_path / "w.safetensors")).eval()
    pixels = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    captions = ["a red dog", "two cats on a mat"]
    with torch.no_grad():
        texts = scorer.encode_texts(scorer.text_encoder.tokenizer(captions))
        got = scorer.score(scorer.encode_images(pixels), texts)
        image = source.encode_image(scorer.image_encoder.normalize(pixels), normalize=True)
        text = source.encode_text(open_clip.get_tokenizer(config.stem)(captions), normalize=True)
    torch.testing.assert_close(got, image @ text.T, atol=1e-5, rtol=0)
    assert backbones.component_of(scorer.image_encoder).options.model == config.stem


def test_a_model_beside_given_backbones_is_refused_with_what_to_do():
    image = backbones.build_image("regions", region_width=4)
    text = backbones.build_text("bigru", captions=["a"])
    with pytest.raises(InvalidSpec, match="leave 'model' out"):
        create("clip", image_encoder=image, text_encoder=text, model="ViT-B-32")


def test_the_default_backbones_resolve_and_fit():
    cls = scorer_class("clip")
    image = backbones.build_image(cls.default_image)
    text = backbones.build_text(cls.default_text, captions=["a dog"])
    assert image.width == text.width


@pytest.mark.parametrize("config", [{"pretrained": "openai"}, {"initial_temperature": 0.001}])
def test_impossible_settings_are_refused(config):
    with pytest.raises(InvalidSpec):
        create("clip", **config)


def test_sides_of_different_width_are_refused():
    with pytest.raises(InvalidFragments, match="width 8 and captions 4"):
        create("clip").score(IMAGES, naive.ragged(2, 3, 4, seed=3))
