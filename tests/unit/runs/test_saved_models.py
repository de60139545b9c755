"""Saved models: what a file rebuilds, and what is refused."""

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from harness import backbones
from harness.errors import InvalidCheckpoint, InvalidSpec
from harness.fragments import Fragments
from harness.registry import create
from harness.runs.saved_models import load_model, load_weights, save_model
from harness.scorer import Scorer

CAPTIONS = ["a red dog runs", "two cats"]


def regions(width=6):
    generator = torch.Generator().manual_seed(0)
    return Fragments(torch.randn(2, 3, width, generator=generator), torch.ones(2, 3, dtype=torch.bool))


PAIRS = {
    "regions+bigru": (
        {"name": "regions", "width": 8, "self_attention": True, "heads": 2},
        {"name": "bigru", "width": 8},
    ),
    "patches+transformer": ({"name": "patches", "image_size": 32}, {"name": "transformer"}),
    "open_clip+open_clip": ({"name": "open_clip", "output": "tokens"}, {"name": "open_clip", "output": "tokens"}),
}


def batch(image):
    generator = torch.Generator().manual_seed(0)
    side = image.image_size
    return (
        regions()
        if image.input == "regions"
        else torch.randint(0, 256, (2, 3, side, side), dtype=torch.uint8, generator=generator)
    )


def build(pair="regions+bigru", name="scan.t2i_avg", **config):
    torch.manual_seed(0)
    image = backbones.build_image(PAIRS[pair][0], region_width=6)
    text = backbones.build_text(PAIRS[pair][1], captions=CAPTIONS)
    return create(name, image_encoder=image, text_encoder=text, **config).eval()


def scores(scorer):
    with torch.no_grad():
        images = scorer.encode_images(batch(scorer.image_encoder))
        return scorer.score(images, scorer.encode_texts(scorer.text_encoder.tokenizer(CAPTIONS)))


@pytest.mark.parametrize("pair", PAIRS)
def test_a_file_rebuilds_the_scorer_without_data(pair, tmp_path):
    scorer = build(pair, inverse_temperature=7.0)
    save_model(scorer, tmp_path / "m.safetensors")
    loaded = load_model(tmp_path / "m.safetensors")
    assert torch.equal(scores(loaded), scores(scorer))
    assert loaded.config == scorer.config
    assert not loaded.training


def test_a_scorer_without_backbones_is_saved_too(tmp_path):
    save_model(create("clip", initial_temperature=0.5), tmp_path / "m.safetensors")
    loaded = load_model(tmp_path / "m.safetensors")
    assert loaded.log_scale.exp().item() == pytest.approx(2)
    assert loaded.image_encoder is None


def test_the_file_holds_plain_tensors_under_their_names(tmp_path):
    scorer = build()
    save_model(scorer, tmp_path / "m.safetensors")
    assert load_file(tmp_path / "m.safetensors").keys() == scorer.state_dict().keys()
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]


def test_an_unregistered_scorer_cannot_be_saved(tmp_path):
    class Unknown(Scorer):
        pass

    with pytest.raises(InvalidSpec, match="not a registered scorer"):
        save_model(Unknown(), tmp_path / "m.safetensors")


def rewrite(path, change_state=lambda state: state, change_description=lambda described: described):
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    metadata["itm_model"] = json.dumps(change_description(json.loads(metadata["itm_model"])))
    save_file(change_state(load_file(path)), path, metadata=metadata)


def without_bias(state):
    return {name: tensor for name, tensor in state.items() if name != "image_encoder.linear.bias"}


def wider(state):
    return {**state, "image_encoder.linear.bias": torch.zeros(9)}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"change_state": without_bias}, r"1 missing \(first: 'image_encoder.linear.bias'\)"),
        ({"change_state": wider}, r"shape \(9,\) but the model expects \(8,\)"),
        ({"change_state": lambda s: {**s, "new": torch.zeros(1)}}, r"1 surplus \(first: 'new'\)"),
        ({"change_description": lambda d: {**d, "config": {"pooling": "median"}}}, "cannot build"),
        ({"change_description": lambda d: {k: v for k, v in d.items() if k != "text"}}, "cannot build"),
        ({"change_description": lambda d: {**d, "tokenizer": {}}}, "tokenizer"),
        ({"change_description": lambda d: [d]}, "damaged"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_in_one_line(tmp_path, changes, complaint):
    path = tmp_path / "m.safetensors"
    save_model(build(), path)
    rewrite(path, **changes)
    with pytest.raises(InvalidCheckpoint, match=complaint) as caught:
        load_model(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(None, "no model at"), (b"", "is an empty file"), (b"\x80" * 99, "a binary file of an unknown kind")],
)
def test_files_that_are_missing_or_damaged_are_refused(tmp_path, content, complaint):
    path = tmp_path / "m.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidCheckpoint, match=complaint):
        load_model(path)


def test_foreign_safetensors_are_refused(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "m.safetensors")
    with pytest.raises(InvalidCheckpoint, match="does not say which model"):
        load_model(tmp_path / "m.safetensors")


def test_loading_weights_that_do_not_fit_leaves_the_scorer_as_it_was(tmp_path):
    scorer = build()
    before = {name: tensor.clone() for name, tensor in scorer.state_dict().items()}
    path = tmp_path / "m.safetensors"
    save_file(wider({name: torch.ones_like(tensor) for name, tensor in before.items()}), path)
    with pytest.raises(InvalidCheckpoint):
        load_weights(scorer, path)
    assert all(torch.equal(tensor, before[name]) for name, tensor in scorer.state_dict().items())


def test_weights_that_are_nan_are_refused_by_name(tmp_path):
    scorer = build()
    with torch.no_grad():
        scorer.image_encoder.linear.bias[3] = torch.nan
    save_model(scorer, tmp_path / "m.safetensors")
    with pytest.raises(InvalidCheckpoint, match=r"'image_encoder.linear.bias' holds 1 NaN or infinite value of 8"):
        load_model(tmp_path / "m.safetensors")


SAVE = """
import sys, torch
from harness import registry
from harness.runs import saved_models
torch.manual_seed(0)
saved_models.save_model(registry.create("chan"), sys.argv[1])
"""


def test_equal_models_have_equal_bytes_whichever_process_wrote_them(tmp_path):
    """safetensors orders the keys of its metadata by a hash that differs from process to process."""
    paths = [tmp_path / f"{number}.safetensors" for number in range(3)]
    for path in paths[1:]:
        subprocess.run([sys.executable, "-c", SAVE, str(path)], check=True)
    torch.manual_seed(0)
    save_model(create("chan"), paths[0])  # as `SAVE` does
    assert len({path.read_bytes() for path in paths}) == 1
    assert load_model(paths[0]).config.coding == "vha"
