"""timm's models by name and tag, and their weights from files and folders: which normalisation they were trained with."""

import json

import pytest
import timm
import torch
from safetensors.torch import save_file

from harness import backbones
from harness.errors import InvalidCheckpoint, InvalidSpec

IMAGENET = (0.485, 0.456, 0.406)
HALF = (0.5, 0.5, 0.5)


def pinned(**options):
    return backbones.pinned(backbones.IMAGE_BACKBONES, {"name": "patches", "image_size": 224, **options}).options


@pytest.mark.parametrize(
    ("architecture", "full", "mean"),
    [
        ("vit_base_patch16_224", "vit_base_patch16_224.augreg2_in21k_ft_in1k", HALF),
        ("vit_base_patch16_224.dino", "vit_base_patch16_224.dino", IMAGENET),
        ("timm/vit_base_patch16_224.mae", "vit_base_patch16_224.mae", IMAGENET),
        ("hf-hub:timm/swin_base_patch4_window7_224.ms_in1k", "swin_base_patch4_window7_224.ms_in1k", IMAGENET),
    ],
)
def test_the_tag_and_its_normalisation_are_written_out(architecture, full, mean):
    config = pinned(architecture=architecture, pretrained=True)
    assert (config.architecture, config.mean) == (full, pytest.approx(mean))
    assert pinned(**config.model_dump()) == config


def test_a_file_without_a_tag_says_which_normalisation_was_taken(tmp_path, caplog):
    config = pinned(architecture="vit_base_patch16_224", pretrained=str(tmp_path / "dino.pth"))
    assert config.mean == HALF
    assert "timm's weights of vit_base_patch16_224 differ" in caplog.text
    assert "image.architecture=vit_base_patch16_224." in caplog.text


@pytest.mark.parametrize("architecture", ["swin_base_patch4_window7_224", "vit_base_patch16_224.dino"])
def test_nothing_is_said_where_it_is_clear(tmp_path, caplog, architecture):
    assert pinned(architecture=architecture, pretrained=str(tmp_path / "w.pth")).mean == pytest.approx(IMAGENET)
    assert caplog.text == ""


def folder(path, architecture="test_vit", **settings):
    torch.manual_seed(2)
    model = timm.create_model(architecture, num_classes=5)
    save_file(model.state_dict(), path / "model.safetensors")
    (path / "config.json").write_text(json.dumps({"architecture": architecture, "pretrained_cfg": settings}))
    return model


def test_a_folder_says_how_its_weights_were_trained(tmp_path):
    source = folder(tmp_path, mean=[0.1, 0.2, 0.3], std=[0.4, 0.5, 0.6])
    encoder = backbones.build_image(
        {"name": "patches", "architecture": "test_vit", "pretrained": str(tmp_path), "image_size": 160}
    )
    assert (encoder.config.mean, encoder.config.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert torch.equal(encoder.tower.model.state_dict()["norm.weight"], source.state_dict()["norm.weight"])
    batch = torch.rand(1, 3, 160, 160)
    with torch.no_grad():
        assert torch.allclose(encoder.eval().tower(batch), source.eval().forward_features(batch), atol=1e-5)


def test_a_folder_of_another_model_is_refused(tmp_path):
    folder(tmp_path, "test_resnet")
    with pytest.raises(InvalidSpec, match=r"describes test_resnet, not test_vit; set image\.architecture=test_resnet"):
        pinned(architecture="test_vit", pretrained=str(tmp_path))


def test_a_folder_of_another_library_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit"}))
    with pytest.raises(InvalidSpec, match=r"no timm model; name a folder .* as image\.architecture"):
        pinned(architecture="test_vit", pretrained=str(tmp_path))


def test_an_empty_folder_is_refused(tmp_path):
    component = {"name": "patches", "architecture": "test_vit", "pretrained": str(tmp_path), "image_size": 160}
    with pytest.raises(InvalidCheckpoint, match=r"no weights in .*; expected one of model\.safetensors"):
        backbones.build_image(component)


def test_an_unknown_tag_is_answered_with_the_known_ones():
    with pytest.raises(InvalidSpec, match="did you mean 'dino'"):
        pinned(architecture="vit_base_patch16_224.dinno", pretrained=True)
