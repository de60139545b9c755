"""Encoders as a tower and a head: what the tower gave at another time goes through the head, and a frozen tower stays."""

from __future__ import annotations

import json

import open_clip
import pytest
import timm
import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertModel

from harness import backbones
from harness.errors import InvalidFragments
from harness.fragments import Fragments

CAPTIONS = ["a red dog runs on the grass", "two cats", "a man holds a very small blue bird"]
CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 32, "layers": 2, "head_width": 16},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pretrained weights of each kind, in files."""
    path = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    for name in ("test_efficientnet", "test_vit"):
        model = timm.create_model(name, num_classes=0)
        for module in model.modules():  # statistics that a random model does not have
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.uniform_(-0.1, 0.1)
        save_file(model.state_dict(), path / f"{name}.safetensors")
    (path / "clip").mkdir()
    (path / "clip" / "open_clip_config.json").write_text(json.dumps({"model_cfg": CLIP}))
    save_file(open_clip.CLIP(**CLIP).state_dict(), path / "clip" / "open_clip_model.safetensors")
    return path


def image(folder, architecture, **options):
    file = str(folder / f"{architecture}.safetensors")
    options = {"architecture": architecture, "pretrained": file, "image_size": 64, "width": 8, **options}
    return backbones.build_image({"name": "patches", **options})


ENCODERS = {
    "convolutional": lambda folder: image(folder, "test_efficientnet"),
    "transformer of patches": lambda folder: image(folder, "test_vit"),
    "patches alone": lambda folder: image(folder, "test_vit", keep_class_token=False),
    "clip image": lambda folder: backbones.build_image(clip(folder, output="tokens", width=8)),
    "clip image, global": lambda folder: backbones.build_image(clip(folder)),
    "clip text": lambda folder: backbones.build_text(clip(folder, output="tokens", width=8)),
    "clip text, global": lambda folder: backbones.build_text(clip(folder, width=8)),
    "bert": lambda folder: bert(folder),
}


def clip(folder, **options):
    return {"name": "open_clip", "model": f"local-dir:{folder / 'clip'}", **options}


def bert(folder):
    from harness.backbones.transformer import TransformerConfig, TransformerEncoder
    from harness.backbones.words.tokenizers import WordTokenizer
    from harness.backbones.words.vocabulary import Vocabulary

    tokenizer = WordTokenizer(Vocabulary.from_captions(CAPTIONS), 16)
    settings = BertConfig(
        vocab_size=tokenizer.vocabulary_size, hidden_size=12, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=32, hidden_dropout_prob=0.5,
    )  # fmt: skip
    model = BertModel(settings, add_pooling_layer=False)
    config = TransformerConfig(model=str(folder), width=8, max_words=16)
    return TransformerEncoder(config, tokenizer, json.loads(settings.to_json_string(use_diff=False)), model)


def batch(encoder):
    if hasattr(encoder, "tokenizer"):
        return encoder.tokenizer(CAPTIONS)
    size = encoder.image_size
    return torch.randint(0, 256, (3, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=ENCODERS)
def encoder(request, folder):
    torch.manual_seed(1)
    return ENCODERS[request.param](folder)


def test_the_head_on_the_towers_outputs_is_the_encoder(encoder):
    encoder.eval()
    with torch.no_grad():
        raw, whole = encoder.raw(batch(encoder)), encoder(batch(encoder))
        again = encoder(raw)
    assert raw.width == encoder.raw_width
    assert torch.equal(again.features, whole.features)
    assert torch.equal(again.mask, whole.mask)


def test_outputs_may_be_kept_as_float16(encoder):
    encoder.eval()
    with torch.no_grad():
        raw, whole = encoder.raw(batch(encoder)), encoder(batch(encoder))
        near = encoder(raw.to(torch.float16))
    assert near.features.dtype == torch.float32
    assert 0 < (near.features - whole.features).abs().max() < 5e-3 * whole.features.abs().max()


def test_outputs_of_another_tower_are_refused(encoder):
    other = Fragments(torch.ones(2, 3, encoder.raw_width + 1), torch.ones(2, 3, dtype=torch.bool))
    with pytest.raises(InvalidFragments, match=rf"width {encoder.raw_width}, got width {encoder.raw_width + 1}"):
        encoder(other)


def test_a_frozen_tower_does_not_change_and_the_head_learns(encoder):
    encoder.freeze()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    trained = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
    head = {id(p) for p in encoder.project.parameters()} if hasattr(encoder.project, "parameters") else set()
    assert {id(p) for p in trained} == head
    encoder.train()
    first, second = encoder(batch(encoder)), encoder(batch(encoder))  # no dropout: the same twice
    assert torch.equal(first.features, second.features)
    assert first.features.requires_grad == bool(head)
    if head:
        first.features.square().sum().backward()
        torch.optim.SGD(trained, lr=0.1).step()
    changed = {name for name, value in encoder.state_dict().items() if not torch.equal(value, before[name])}
    assert all(name.startswith("project.") for name in changed)
    assert bool(changed) == bool(head)


def test_a_tower_that_is_not_frozen_trains_as_before(folder):
    encoder = image(folder, "test_efficientnet").train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    encoder(batch(encoder)).features.sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.pretrained_parameters())
    assert any(not torch.equal(value, before[n]) for n, value in encoder.state_dict().items() if "running" in n)


def test_what_did_not_come_trained_is_never_frozen():
    encoder = backbones.build_image({"name": "patches", "image_size": 32, "width": 8})
    encoder.freeze()
    assert not encoder.frozen
    assert all(parameter.requires_grad for parameter in encoder.parameters())
    assert encoder.pretrained_parameters() == []
    words = backbones.build_text({"name": "bigru", "width": 8}, captions=CAPTIONS)
    words.freeze()
    assert not words.frozen
    assert words.tower_module() is None


@pytest.mark.parametrize(
    ("first", "second", "equal"),
    [
        ({}, {}, True),
        ({}, {"width": 16}, True),  # of the head
        ({}, {"image_size": 96}, False),
        ({"architecture": "test_vit"}, {"architecture": "test_vit", "keep_class_token": False}, False),
    ],
)
def test_the_definition_tells_towers_apart_and_not_heads(folder, first, second, equal):
    one, other = (image(folder, **{"architecture": "test_efficientnet", **some}) for some in (first, second))
    assert (one.tower_definition() == other.tower_definition()) == equal
    json.dumps(one.tower_definition())
