"""The towers of open_clip, against open_clip itself."""

import json

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from harness import backbones
from harness.backbones.open_clip.configs import describe
from harness.errors import InvalidCheckpoint, InvalidFragments, InvalidSpec
from harness.fragments import Tokens

CAPTIONS = ["a red dog runs on the grass", "two cats", "a man holds a very small blue bird"]
TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 32, "layers": 2, "head_width": 16},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small CLIP with real word pieces, in open_clip's folder layout, and the model that wrote it."""
    path = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    model = open_clip.CLIP(**TINY).eval()
    preprocess = {"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.6, 0.7]}
    (path / "open_clip_config.json").write_text(json.dumps({"model_cfg": TINY, "preprocess_cfg": preprocess}))
    save_file(model.state_dict(), path / "open_clip_model.safetensors")
    return path, model


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    """The same architecture as one of open_clip's named models."""
    path = tmp_path_factory.mktemp("named") / "itm-test-tiny.json"
    path.write_text(json.dumps(TINY))
    open_clip.add_model_config(path)
    return path.stem


def pixels(size, items=3):
    return torch.randint(0, 256, (items, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def build_pair(component):
    torch.manual_seed(0)
    return backbones.build_image(component).eval(), backbones.build_text(component, captions=CAPTIONS).eval()


def test_global_embeddings_are_open_clips(folder):
    path, model = folder
    image, text = build_pair({"name": "open_clip", "model": f"local-dir:{path}"})
    normalised = (pixels(32) / 255 - torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)) / torch.tensor([0.5, 0.6, 0.7]).view(
        3, 1, 1
    )
    with torch.no_grad():
        assert torch.allclose(image(pixels(32)).features[:, 0], model.encode_image(normalised), atol=1e-5)
        expected = model.encode_text(open_clip.get_tokenizer("ViT-B-32", context_length=12)(CAPTIONS))
        assert torch.allclose(text(text.tokenizer(CAPTIONS)).features[:, 0], expected, atol=1e-5)


def test_token_embeddings_end_in_the_global_ones(folder):
    path, _ = folder
    component = {"name": "open_clip", "model": f"local-dir:{path}"}
    image, text = build_pair(component)
    image_tokens, text_tokens = build_pair({**component, "output": "tokens"})
    batch, tokens = pixels(32), text.tokenizer(CAPTIONS)
    with torch.no_grad():
        patches, words = image_tokens(batch), text_tokens(tokens)
        assert patches.features.shape == (3, 1 + 4, 16)
        assert image_tokens.class_tokens == 1
        assert torch.allclose(patches.features[:, 0], image(batch).features[:, 0], atol=1e-6)
        assert torch.equal(words.mask, tokens.mask)
        ends = words.features[torch.arange(3), tokens.lengths - 1]
        assert torch.allclose(ends, text(tokens).features[:, 0], atol=1e-6)


def test_patch_tokens_go_through_the_same_norm_and_projection(folder):
    path, model = folder
    encoder = backbones.build_image(
        {"name": "open_clip", "model": f"local-dir:{path}", "output": "tokens", "keep_class_token": False}
    ).eval()
    with torch.no_grad():
        inner = model.visual.forward_intermediates(
            encoder.normalize(pixels(32)), indices=1, normalize_intermediates=True, output_fmt="NLC"
        )["image_intermediates"][0]
        assert torch.allclose(encoder(pixels(32)).features, inner @ model.visual.proj, atol=1e-5)


def test_local_checkpoints_of_a_named_model_load_into_either_tower(tmp_path, named):
    torch.manual_seed(3)
    source = open_clip.CLIP(**TINY).eval()
    torch.save({"state_dict": {f"module.{k}": v for k, v in source.state_dict().items()}}, tmp_path / "epoch_1.pt")
    component = {"name": "open_clip", "model": named, "pretrained": str(tmp_path / "epoch_1.pt")}
    image, text = build_pair(component)
    assert torch.equal(image.visual.conv1.weight, source.visual.conv1.weight)
    with torch.no_grad():
        expected = source.encode_text(open_clip.get_tokenizer(named)(CAPTIONS))
        assert torch.allclose(text(text.tokenizer(CAPTIONS)).features[:, 0], expected, atol=1e-4)
    assert len(image.pretrained_parameters()) == len(list(image.parameters()))
    assert len(text.pretrained_parameters()) == len(list(text.parameters()))


SMALL = [
    {"name": "open_clip"},
    {"name": "open_clip", "output": "tokens"},
    {"name": "open_clip", "width": 24},
]


@pytest.mark.parametrize("component", SMALL, ids=["global", "tokens", "projected"])
def test_the_small_model_learns_in_every_parameter(component):
    image, text = build_pair(component)
    assert image.width == text.width
    assert image.pretrained_parameters() == text.pretrained_parameters() == []
    for encoder, batch in ((image, pixels(64)), (text, text.tokenizer(CAPTIONS))):
        (encoder.train()(batch).features ** 3).sum().backward()
        assert [n for n, p in encoder.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("component", SMALL, ids=["global", "tokens", "projected"])
def test_padding_and_neighbours_do_not_matter(component):
    _, text = build_pair(component)
    tokens = text.tokenizer(CAPTIONS)
    longer = Tokens(torch.nn.functional.pad(tokens.ids, (0, 4), value=3), torch.nn.functional.pad(tokens.mask, (0, 4)))
    whole, padded, alone = text(tokens), text(longer), text(tokens[1:2])
    assert torch.allclose(padded.features[padded.mask], whole.features[whole.mask], atol=1e-5)
    assert torch.allclose(alone.features[alone.mask], whole.features[1][whole.mask[1]], atol=1e-5)


def test_another_image_size_of_the_small_model():
    image = backbones.build_image({"name": "open_clip", "image_size": 32, "output": "tokens"})
    assert image.image_size == 32
    assert image(pixels(32)).features.shape[1] == 1 + 4


def test_word_pieces_stop_at_the_end_of_the_text_and_mask_with_a_blank(named):
    text = backbones.build_text({"name": "open_clip", "model": named})
    tokens = text.tokenizer(["a dog", "a dog!"])
    assert tokens.ids.shape == (2, 5)
    assert tokens.mask.tolist() == [[True] * 4 + [False], [True] * 5]
    assert tokens.ids[1, 3] != 0 or bool(tokens.mask[1, 3])  # piece 0 is "!", which must not pass for padding
    assert text.tokenizer.pieces.decode([text.tokenizer.mask_id]).strip() == "_"
    assert tokens.ids[0, 3] in text.tokenizer.special_ids


@pytest.mark.parametrize("component", [{"name": "open_clip"}, "folder"], ids=["small", "word_pieces"])
def test_a_saved_state_rebuilds_the_text_tower(component, folder):
    if component == "folder":
        component = {"name": "open_clip", "model": f"local-dir:{folder[0]}"}
    _, text = build_pair(component)
    state = json.loads(json.dumps(text.tokenizer_state()))
    rebuilt = backbones.build_text(backbones.component_of(text), state=state).eval()
    rebuilt.load_state_dict(text.state_dict())
    tokens = text.tokenizer(CAPTIONS)
    assert torch.equal(rebuilt.tokenizer(CAPTIONS).ids, tokens.ids)
    assert torch.equal(rebuilt(tokens).features, text(tokens).features)


@pytest.mark.parametrize(
    ("model", "pretrained", "asked", "expected"),
    [
        ("ViT-B-32", "openai", None, True),
        ("ViT-B-32", "laion2b_s34b_b79k", None, False),
        ("ViT-B-32-quickgelu", "laion400m_e32", None, True),
        ("ViT-B-32-quickgelu", None, None, True),
        ("ViT-B/32", "openai", None, True),
        ("ViT-B-32", None, True, True),
        ("ViT-B-32", "openai", False, False),
    ],
)
def test_the_activation_follows_the_weights(model, pretrained, asked, expected):
    assert describe(model, pretrained, asked).quick_gelu is expected


@pytest.mark.parametrize(
    ("options", "error", "complaint"),
    [
        ({"model": "ViT-B-33"}, InvalidSpec, "did you mean 'ViT-B-32'"),
        ({"model": "ViT-B-32", "pretrained": "opena"}, InvalidSpec, "did you mean 'openai'"),
        ({"model": "small", "pretrained": "openai"}, InvalidSpec, "no pretrained weights"),
        ({"model": "local-dir:/nowhere"}, InvalidSpec, "open_clip_config.json"),
        ({"model": "ViT-B-32", "pretrained": "nowhere/w.safetensors"}, InvalidCheckpoint, "no checkpoint at"),
        ({"model": "small", "image_size": 8}, InvalidSpec, "multiple of the patch size 16"),
        ({"model": "RN50", "output": "tokens"}, InvalidSpec, "no projected patch tokens"),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_line(options, error, complaint):
    with pytest.raises(error, match=complaint) as caught:
        backbones.build_image({"name": "open_clip", **options})
    assert "\n" not in str(caught.value)


def drop_a_tensor(state):
    state.pop("visual.ln_post.weight")


def double_a_width(state):
    state["visual.proj"] = state["visual.proj"].repeat(1, 2)


def change_the_text(state):
    state["positional_embedding"] = state["positional_embedding"].repeat(1, 2)


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (drop_a_tensor, r"visual tower.*1 missing \(first: 'ln_post.weight'\)"),
        (double_a_width, r"'proj' has shape \(32, 32\) but the model expects \(32, 16\)"),
        (change_the_text, "does not hold weights of this open_clip model"),
    ],
)
def test_weights_of_another_model_are_refused(tmp_path, folder, named, damage, complaint):
    state = folder[1].state_dict()
    damage(state)
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(InvalidCheckpoint, match=complaint):
        backbones.build_image({"name": "open_clip", "model": named, "pretrained": str(tmp_path / "w.pt")})


def test_an_empty_caption_is_refused():
    _, text = build_pair({"name": "open_clip"})
    with pytest.raises(InvalidFragments, match="without any token"):
        text(Tokens(torch.zeros(1, 2, dtype=torch.long), torch.zeros(1, 2, dtype=torch.bool)))


def test_a_file_takes_the_activation_and_normalisation_that_lie_beside_it(tmp_path, named):
    model = open_clip.CLIP(**TINY, quick_gelu=True).eval()
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    stored = {"model_cfg": {**TINY, "quick_gelu": True}, "preprocess_cfg": {"mean": [0.1, 0.2, 0.3], "std": [1, 1, 1]}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(stored))
    image, text = build_pair({"name": "open_clip", "model": named, "pretrained": str(tmp_path / "w.safetensors")})
    assert image.config.quick_gelu is text.config.quick_gelu is True
    assert image.config.mean == (0.1, 0.2, 0.3)
    tokens = open_clip.get_tokenizer(named)(CAPTIONS)
    with torch.no_grad():
        assert torch.allclose(text(text.tokenizer(CAPTIONS)).features[:, 0], model.encode_text(tokens), atol=1e-5)
        normalised = pixels(32) / 255 - torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)
        assert torch.allclose(image(pixels(32)).features[:, 0], model.encode_image(normalised), atol=1e-5)


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        ("ViT-B-32", {}, True),  # OpenAI's and LAION's weights differ in it
        ("ViT-B-32", {"quick_gelu": True}, False),
        ("ViT-B-16-SigLIP2", {}, False),
    ],
)
def test_a_file_whose_activation_cannot_be_known_says_what_was_taken(tmp_path, caplog, model, options, said):
    component = {"name": "open_clip", "model": model, "pretrained": str(tmp_path / "w.pt"), **options}
    config = backbones.pinned(backbones.IMAGE_BACKBONES, component).options
    assert config.quick_gelu is options.get("quick_gelu", False)
    assert ("does not say with which activation it was trained" in caplog.text) is said


@pytest.mark.parametrize(
    ("model", "pretrained", "mean", "resize"),
    [
        ("ViT-B-32", "openai", open_clip.OPENAI_DATASET_MEAN, "crop"),
        ("ViT-B-16-SigLIP2", "webli", (0.5, 0.5, 0.5), "plain"),
        ("ViT-B-16-SigLIP2", "of/a/file.safetensors", (0.5, 0.5, 0.5), "plain"),
        ("ViT-B-16", "of/a/file.safetensors", open_clip.OPENAI_DATASET_MEAN, "crop"),
    ],
)
def test_pixels_are_prepared_as_for_the_weights(model, pretrained, mean, resize):
    component = {"name": "open_clip", "model": model, "pretrained": pretrained}
    config = backbones.pinned(backbones.IMAGE_BACKBONES, component).options
    assert config.mean == pytest.approx(mean)
    assert config.resize == resize
    chosen = backbones.pinned(backbones.IMAGE_BACKBONES, {**component, "resize": "plain"}).options
    assert chosen.resize == "plain"


@pytest.mark.parametrize(("tag", "said"), [("datacompdr", True), (None, False)])
def test_bilinear_resizing_is_said_where_there_are_weights(caplog, tag, said):
    from harness.backbones.open_clip import configs

    configs._say_bilinear.cache_clear()
    configs.describe("MobileCLIP-S1", tag)
    assert ("MobileCLIP-S1 is evaluated on images that are resized bilinearly" in caplog.text) is said


def test_a_tower_follows_its_weights_and_one_saved_before_does_as_it_was_trained(folder):
    """A saved model's config of an earlier version says nothing of it; pixels were then resized to a square."""
    component = {"name": "open_clip", "model": f"local-dir:{folder[0]}"}
    assert backbones.build_image(component).resize == "crop"
    assert backbones.build_image(component, load_pretrained=False).resize == "plain"
    assert backbones.build_image("open_clip").resize == "plain"


def test_a_model_on_the_hub_is_normalised_as_its_config_says(monkeypatch):
    """The hub's client is replaced: no connection is needed."""
    from harness.backbones.open_clip import configs

    stored = {"model_cfg": {**TINY, "quick_gelu": True}, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}}
    monkeypatch.setattr(configs, "hub_config", lambda name: {"timm/some-siglip": stored}[name])
    described = configs.describe("hf-hub:timm/some-siglip", None)
    assert (described.mean, described.std, described.quick_gelu) == ((0.5,) * 3, (0.5,) * 3, True)
