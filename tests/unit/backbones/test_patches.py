"""The backbone on pixels: small towers, timm models, and their weights from local files."""

import pickle

import pytest
import timm
import torch
from safetensors.torch import save_file

from harness import backbones
from harness.errors import InvalidCheckpoint, InvalidFragments, InvalidSpec

#           options                                                  image, fragments, class tokens
CASES = {
    "conv_stem": ({"architecture": "conv_stem", "patch_size": 8}, 32, 16, 0),
    "conv_stem_16": ({"architecture": "conv_stem", "patch_size": 16}, 32, 4, 0),
    "small_vit": ({"architecture": "small_vit", "depth": 2}, 32, 1 + 16, 1),
    "small_vit_patches": ({"architecture": "small_vit", "depth": 2, "keep_class_token": False}, 32, 16, 0),
    "timm_vit": ({"architecture": "test_vit"}, 64, 1 + 16, 1),
    "timm_registers": ({"architecture": "test_vit2", "keep_class_token": False}, 64, 16, 0),
    "timm_convolutional": ({"architecture": "test_convnext"}, 64, 4, 0),
    "timm_resnet": ({"architecture": "test_resnet"}, 64, 4, 0),
}


def build(name="conv_stem", **more):
    options, image_size, _, _ = CASES[name]
    torch.manual_seed(0)
    return backbones.build_image({"name": "patches", "width": 24, "image_size": image_size, **options, **more})


def pixels(size, items=3, seed=0):
    return torch.randint(
        0, 256, (items, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )


@pytest.mark.parametrize("name", CASES)
def test_one_fragment_a_patch_with_the_class_token_first(name):
    _, size, fragments, class_tokens = CASES[name]
    encoder = build(name).eval()
    out = encoder(pixels(size))
    assert out.features.shape == (3, fragments, 24)
    assert out.mask.all()
    assert encoder.class_tokens == class_tokens


@pytest.mark.parametrize("name", CASES)
def test_an_image_is_encoded_alike_in_any_batch_and_every_time(name):
    encoder = build(name).eval()
    batch = pixels(encoder.image_size)
    whole = encoder(batch).features
    assert torch.equal(whole, encoder(batch).features)
    assert torch.allclose(whole[1:2], encoder(batch[1:2]).features, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_every_parameter_learns(name):
    encoder = build(name).train()
    for parameter in encoder.parameters():  # residual branches may start at exactly zero
        parameter.data += 0.05 * torch.randn_like(parameter)
    (encoder(pixels(encoder.image_size)).features ** 3).sum().backward()
    assert [n for n, p in encoder.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_fragments_follow_the_grid_row_by_row():
    """Changing the pixels of one cell changes the fragments around it, in rows first."""
    encoder = build(image_size=64).eval()
    before = pixels(64, items=1)
    after = before.clone()
    after[:, :, 8:16, 48:56] = 255 - after[:, :, 8:16, 48:56]  # row 1, column 6 of an 8 x 8 grid
    change = (encoder(after).features - encoder(before).features).norm(dim=-1).view(8, 8)
    assert change[1, 6] > 0
    outside = change.clone()
    outside[:4, 5:] = 0  # what the receptive field reaches
    assert not outside.any()


def test_pixels_are_normalised_as_the_tower_was_trained():
    encoder = build("timm_vit")
    normalised = encoder.normalize(torch.full((1, 3, 64, 64), 51, dtype=torch.uint8))
    mean, std = (torch.tensor(encoder.tower.model.pretrained_cfg[k]) for k in ("mean", "std"))
    assert torch.allclose(normalised[0, :, 0, 0], (0.2 - mean) / std, atol=1e-6)


def test_dropping_the_class_token_keeps_the_patches():
    with_token, without = build("small_vit"), build("small_vit_patches")
    batch = pixels(32)
    assert torch.equal(with_token.eval()(batch).features[:, 1:], without.eval()(batch).features)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("name", ["timm_vit", "timm_convolutional"])
def test_local_weights_load_with_their_classifier_left_out(tmp_path, name, suffix):
    architecture = CASES[name][0]["architecture"]
    torch.manual_seed(1)
    source = timm.create_model(architecture, num_classes=7)
    path = tmp_path / f"weights{suffix}"
    save = save_file if suffix == ".safetensors" else torch.save
    save(source.state_dict(), path)
    encoder = build(name, pretrained=str(path), image_size=160).eval()
    batch = pixels(160)
    expected = source.eval().forward_features(encoder.normalize(batch))
    got = encoder.tower(encoder.normalize(batch))
    if expected.ndim == 4:  # a pooling head's own norm follows the features
        expected = source.head.norm(expected).flatten(2).transpose(1, 2)
    assert torch.allclose(got, expected, atol=1e-5)
    tower = {id(p) for p in encoder.tower.parameters()}
    assert {id(p) for p in encoder.pretrained_parameters()} == tower


def test_positions_are_resampled_for_another_image_size(tmp_path):
    save_file(timm.create_model("test_vit", num_classes=0).state_dict(), tmp_path / "w.safetensors")
    encoder = build("timm_vit", pretrained=str(tmp_path / "w.safetensors"), image_size=64)
    assert encoder.tower.model.pos_embed.shape[1] == 1 + 16


def test_nothing_counts_as_pretrained_without_weights():
    assert build("timm_vit").pretrained_parameters() == []


class _Malicious:
    def __reduce__(self):
        return (print, ("executed",))


def write_malicious(path):
    torch.save({"model": _Malicious()}, path)


def write_plain_pickle(path):
    path.write_bytes(pickle.dumps(_Malicious()))


def write_truncated(path):
    torch.save({"a": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:500])


def write_other_model(path):
    torch.save(timm.create_model("test_resnet").state_dict(), path)


def write_other_width(path):
    state = timm.create_model("test_vit").state_dict()
    torch.save({k: torch.cat([v, v]) if k == "norm.weight" else v for k, v in state.items()}, path)


@pytest.mark.parametrize(
    ("write", "complaint"),
    [
        (write_malicious, "no pickled code is ever executed"),
        (write_plain_pickle, "not a readable checkpoint"),
        (write_truncated, "not a readable checkpoint"),
        (write_other_model, r"number 1 is 'conv1\.0\.weight' .* where the model has 'cls_token'"),
        (write_other_width, r"'norm.weight' has shape \(128,\) but the model expects \(64,\)"),
    ],
)
def test_weights_that_are_unsafe_or_do_not_fit_are_refused_in_one_line(tmp_path, capsys, write, complaint):
    write(tmp_path / "w.pth")
    with pytest.raises(InvalidCheckpoint, match=complaint) as caught:
        build("timm_vit", pretrained=str(tmp_path / "w.pth"))
    assert "\n" not in str(caught.value)
    assert "executed" not in capsys.readouterr().out


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InvalidCheckpoint, match=r"gone\.safetensors"):
        build("timm_vit", pretrained=str(tmp_path / "gone.safetensors"))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"architecture": "test_vitt"}, "did you mean 'test_vit"),
        ({"architecture": "conv_stem", "patch_size": 6, "image_size": 36}, "patch_size of 4, 8, 16"),
        ({"architecture": "conv_stem", "patch_size": 16, "image_size": 40}, "not a multiple of patch_size"),
        ({"architecture": "small_vit", "heads": 3}, "not a multiple of heads"),
        ({"architecture": "small_vit", "pretrained": True}, "no pretrained weights"),
        ({"architecture": "test_vit", "image_size": 50}, "50"),
    ],
)
def test_impossible_settings_are_refused(options, complaint):
    with pytest.raises(InvalidSpec, match=complaint):
        backbones.build_image({"name": "patches", **options})


@pytest.mark.parametrize("batch", [torch.zeros(2, 3, 32, 32), torch.zeros(2, 3, 16, 16, dtype=torch.uint8)])
def test_other_pixels_are_refused(batch):
    with pytest.raises(InvalidFragments, match=r"uint8 pixels of shape \(N, 3, 32, 32\)"):
        build()(batch)
