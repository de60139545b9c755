"""Every layout of a dataset goes through every command that trains, and every file of it decides something."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import layouts
import numpy as np
import pytest
import shapes
import yaml

from harness.records.run import RunRecord
from harness.records.store import RunStore

PROFILE = ("--seconds", "1", "--rounds", "2", "--samples", "3", "--galleries", "30", "--gallery", "30")


@pytest.fixture
def write(tiny, tmp_path):
    """An experiment on the data that a layout's settings name."""

    def written(settings: dict[str, Any], name: str = "small") -> Path:
        path = tmp_path / f"{name}.yaml"
        training = {**tiny["training"], "epochs": 1}
        path.write_text(yaml.safe_dump({**tiny, "name": name, "training": training, **settings}))
        return path

    return written


_ONCE: list[Path] = []


@pytest.fixture
def once(itm, write, tmp_path, tmp_path_factory):
    """An experiment on a precomp folder and the results of its run, which was made once: every test has them untouched."""
    if not _ONCE:
        base = tmp_path_factory.mktemp("once")
        experiment = write(layouts.precomp_once(base / "data"))
        shutil.copytree(base / "data", base / "untouched")
        assert itm("leaderboard", experiment, "--no-mlflow", "--results", base / "results")[0] == 0
        _ONCE.append(shutil.move(experiment, base / "small.yaml"))
    base = _ONCE[0].parent
    shutil.rmtree(base / "data")
    shutil.copytree(base / "untouched", base / "data")
    shutil.copytree(base / "results", tmp_path / "results")
    return _ONCE[0], base / "data"


def records(tmp_path: Path) -> list[RunRecord]:
    return RunStore(tmp_path / "results").records()


@pytest.mark.parametrize("make", [layouts.precomp_repeated, layouts.precomp_val_and_testall])
def test_a_leaderboard_takes_every_way_of_storing_regions(itm, write, tmp_path, make):
    code, _, err = itm("leaderboard", write(make(tmp_path / "data")), "--no-mlflow")
    assert code == 0, err
    assert [record.status for record in records(tmp_path)] == ["finished"]


@pytest.mark.parametrize("make", [layouts.scenes, layouts.karpathy, layouts.precomp_once])
def test_every_command_that_trains_takes_pictures_that_are_drawn_photographs_and_regions(itm, write, tmp_path, make):
    experiment = write(make(tmp_path / "data"))
    for arguments in (
        ("leaderboard", experiment),
        ("ablate", experiment, "--scorer", "scan", "--variants", "t2i_avg"),
        ("sweep", experiment, "--scorer", "scan", "--trials", "2"),
        ("profile", experiment, *PROFILE),
    ):
        code, out, err = itm(*arguments, "--no-mlflow")
        assert code == 0, f"{arguments[0]}: {err}"
        assert "written:" in out
    finished = records(tmp_path)
    assert {record.status for record in finished} == {"finished"}
    assert {record.label for record in finished} >= {"scan", "scan.t2i_avg"}
    for kind in ("leaderboards", "ablations", "sweeps", "profiles"):
        assert list((tmp_path / "results" / kind).glob("*/*")), kind


def test_the_documented_experiment_runs_on_a_precomp_folder(itm, tmp_path):
    document = (Path(__file__).parents[2] / "docs" / "datasets.md").read_text(encoding="utf-8")
    (block,) = [text for text in re.findall(r"```yaml\n(.*?)```", document, flags=re.DOTALL) if "f30k_precomp" in text]
    (tmp_path / "f30k.yaml").write_text(block, encoding="utf-8")
    layouts.precomp_once(tmp_path / "f30k_precomp")
    small = ("image.width=8", "text.width=8", "text.word_width=8", "training.epochs=1", "seeds=1")
    settings = [part for text in (*small, f"dataset.root={tmp_path / 'f30k_precomp'}") for part in ("--set", text)]
    code, out, err = itm("leaderboard", tmp_path / "f30k.yaml", "--no-mlflow", *settings)
    assert code == 0, err
    assert "flickr30k test, full" in out
    assert {(record.scorer, record.dataset) for record in records(tmp_path)} == {
        ("scan", "flickr30k"),
        ("chan", "flickr30k"),
    }


def test_both_storages_are_one_run_and_give_the_same_numbers(itm, write, tmp_path):
    once = write(layouts.precomp_once(tmp_path / "once"), "one")
    repeated = write(layouts.precomp_repeated(tmp_path / "repeated"), "five")
    # The ids file says for both which image is which.
    assert itm("leaderboard", once, "--no-mlflow")[0] == 0
    (first,) = records(tmp_path)
    code, _, err = itm("leaderboard", repeated, "--no-mlflow", "--results", tmp_path / "other")
    assert code == 0
    assert "test_ims.npy: 30 images stored 5 times, 5 captions each" in err
    (second,) = RunStore(tmp_path / "other").records()
    assert second.metrics == first.metrics
    assert second.validation == first.validation
    assert second.data_sha256 == first.data_sha256


def _add_noise(root: Path) -> None:
    rows = np.load(root / "test_ims.npy")
    rows[3, 1, 2] += 1
    np.save(root / "test_ims.npy", rows)


def _swap(root: Path, name: str) -> None:
    lines = (root / name).read_text().splitlines()
    lines[0], lines[-1] = lines[-1], lines[0]
    (root / name).write_text("\n".join(lines))


@pytest.mark.parametrize(
    ("change", "same_numbers"),
    [
        (lambda root: _add_noise(root), False),
        (lambda root: _swap(root, "test_caps.txt"), False),
        (lambda root: _swap(root, "train_caps.txt"), False),
        (lambda root: _swap(root, "test_ids.txt"), True),  # other names, in ranks.npz
        (lambda root: layouts.vocabulary(root / "small_vocab.json", ["dog", "cat"]), False),
        (lambda root: (root / "small_vocab.json").unlink(), False),
    ],
    ids=["features", "captions", "training captions", "ids", "vocabulary", "no vocabulary"],
)
def test_every_file_of_a_precomp_folder_decides_the_run(itm, once, tmp_path, change, same_numbers):
    experiment, data = once
    (before,) = records(tmp_path)
    change(data)
    code, _, err = itm("leaderboard", experiment, "--no-mlflow")
    assert code == 0, err
    assert "1 run: 0 already recorded, 1 to run" in err
    (after,) = [record for record in records(tmp_path) if record.run_id != before.run_id]
    assert (after.metrics == before.metrics) is same_numbers


def test_a_saved_model_keeps_the_vocabulary_that_it_was_trained_with(itm, write, tmp_path):
    experiment = write(layouts.precomp_once(tmp_path / "data"))
    words = ["dog", "near", "cat"]
    layouts.vocabulary(tmp_path / "data" / "small_vocab.json", words)
    assert itm("leaderboard", experiment, "--no-mlflow")[0] == 0
    store = RunStore(tmp_path / "results")
    (trained,) = store.records()
    model = store.folder(trained.run_id) / "model.safetensors"
    from harness.runs.saved_models import load_model

    entries = load_model(model).text_encoder.tokenizer.vocabulary.entries
    assert entries == ("<pad>", "<start>", "<end>", "<unk>", *words)
    (tmp_path / "data" / "small_vocab.json").unlink()  # the model needs no file
    code, _, err = itm("leaderboard", experiment, "--no-mlflow", "--set", f"scorers=[{{name: scan, weights: {model}}}]")
    assert code == 0, err
    (given,) = [record for record in store.records() if record.run_id != trained.run_id]
    assert given.metrics == trained.metrics
    for path in (tmp_path / "data").glob("*_ims.npy"):
        np.save(path, np.load(path)[..., :5])
    code, _, err = itm("leaderboard", experiment, "--no-mlflow", "--set", f"scorers=[{{name: scan, weights: {model}}}]")
    assert code == 2
    assert "takes region features of width 8, but those of data have width 5" in err


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({}, "text backbone bigru: captions without a known word: train 60 of 60, val 30 of 30, test 150 of 150"),
        ({"text": {"name": "bigru", "width": 16, "min_count": 2}}, "text.min_count = 2 has no effect beside the vocab"),
        ({"text": {"name": "bigru", "width": 16, "max_words": 6}}, "captions cut at 6 tokens: train 60 of 60, val 30"),
    ],
)
def test_what_a_text_backbone_loses_is_said_once(itm, write, tmp_path, settings, line):
    experiment = write({**layouts.precomp_once(tmp_path / "data"), **settings, "seeds": 2})
    layouts.vocabulary(tmp_path / "data" / "small_vocab.json", ["hund", "katze"])
    code, _, err = itm("leaderboard", experiment, "--no-mlflow", "--set", "training.epochs=0")
    assert code == 0, err
    assert err.count(line) == 1


def test_pictures_and_captions_of_both_train_and_test_are_counted(itm, write, tmp_path):
    experiment = write(layouts.karpathy(tmp_path / "data"))
    path = tmp_path / "data" / "dataset_small.json"
    values = json.loads(path.read_text())
    train, test = (next(i for i in values["images"] if i["split"] == split) for split in ("train", "test"))
    (tmp_path / "data" / "images" / test["filename"]).write_bytes(
        (tmp_path / "data" / "images" / train["filename"]).read_bytes()
    )
    test["sentences"] = train["sentences"]
    path.write_text(json.dumps(values))
    code, _, err = itm("leaderboard", experiment, "--no-mlflow", "--set", "training.epochs=0", "--set", "seeds=2")
    assert code == 0, err
    line = (
        "test shares with train: 1 of 30 pictures, 5 of 150 pairs of picture and caption, 0 of 30 image ids, "
        "5 of 150 captions"
    )
    assert err.count(line) == 1


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("make", "harm", "message"),
    [
        (
            layouts.karpathy,
            lambda root: [_truncate(root / "images" / f"test{k}.png") for k in (2, 5)],
            "test2.png cannot be decoded: .* (2 of 30 images of this split cannot be read)",
        ),
        (
            layouts.precomp_once,
            lambda root: np.save(root / "test_ims.npy", layouts.features("test", 5)),
            "features differ in width (train_ims.npy 8, dev_ims.npy 8, test_ims.npy 5)",
        ),
        (
            layouts.precomp_once,
            lambda root: [
                np.save(root / "train_ims.npy", layouts.features("train")[:1]),
                (root / "train_caps.txt").write_text("a\nb\nc\nd\ne\n"),
            ],
            "split 'train' of data has 1 image",
        ),
        (
            layouts.precomp_once,
            lambda root: layouts.vocabulary(root / "other_vocab.json", ["dog"]),
            "several vocabularies fit",
        ),
        (
            layouts.precomp_once,
            lambda root: (root / "small_vocab.json").write_text('{"word2idx": {"a": 3}}'),
            "must have the ids 0 to 0",
        ),
    ],
    ids=["unreadable images", "unequal widths", "one image to learn from", "two vocabularies", "a bad vocabulary"],
)
@pytest.mark.parametrize("command", ["leaderboard", "sweep"])
def test_what_would_fail_later_is_refused_when_planning(itm, write, tmp_path, make, harm, message, command):
    experiment = write(make(tmp_path / "data"))
    harm(tmp_path / "data")
    more = ("--scorer", "scan", "--trials", "1") if command == "sweep" else ()
    code, _, err = itm(command, experiment, "--no-mlflow", *more)
    assert code == 2
    (line,) = [line for line in err.splitlines() if line.startswith("itm: error:")]
    for part in message.split(" .* "):
        assert part in line
    assert "Traceback" not in err
    assert not list((tmp_path / "results" / "runs").glob("[!.]*"))


def test_one_training_image_of_scenes_is_refused_before_anything_is_generated(itm, write, tmp_path, monkeypatch):
    monkeypatch.setenv("ITM_CACHE", str(tmp_path / "cache"))
    experiment = write(layouts.scenes(tmp_path))
    code, _, err = itm("leaderboard", experiment, "--no-mlflow", "--set", "dataset.train_images=1")
    assert code == 2
    assert "'train_images'" in err
    assert not (tmp_path / "cache").exists()


def test_corrected_judgements_are_another_run(itm, write, tmp_path):
    settings = layouts.karpathy(tmp_path / "data")
    experiment = write({**settings, "protocols": ["full", "human"]})
    path = tmp_path / "data" / "ExpertAnnotations.txt"
    lines = [f"test{k}.png\ttest{k + 1}.png#0\t{grade}\t{grade}\t{grade}\n" for k, grade in enumerate((1, 2, 4))]
    path.write_text("".join(lines))
    untrained = ("--no-mlflow", "--set", "training.epochs=0")
    code, _, err = itm("leaderboard", experiment, *untrained)
    assert code == 0, err
    assert err.count("of 3 judged pairs in ExpertAnnotations.txt, 3 are of this split and 0 name an image or") == 1
    path.write_text("".join(lines).replace("\t1\t1\t1", "\t4\t4\t4"))
    assert "1 run: 0 already recorded, 1 to run" in itm("leaderboard", experiment, *untrained)[2]
    assert "1 run: 1 already recorded, 0 to run" in itm("leaderboard", experiment, *untrained)[2]
    first, second = records(tmp_path)
    assert first.data_sha256 == second.data_sha256


def test_other_layouts_give_the_numbers_of_the_karpathy_layout(itm, write, tmp_path):
    """The same data in another shape: recognised by its folder alone, trained, and equal to the last bit."""
    found = {}
    for name, make in {"karpathy": shapes.karpathy, "laps": shapes.laps, "blip": shapes.blip}.items():
        settings = {"dataset": {"root": str(make(tmp_path / name))}, "image": layouts.PIXEL_TOWER}
        code, _, err = itm("leaderboard", write(settings), "--no-mlflow", "--results", tmp_path / f"results-{name}")
        assert code == 0, err
        assert err.count(f": layout {name}, recognised by ") == 1
        assert err.count("flickr30k test: 6 images, 30 captions") == 1
        (found[name],) = RunStore(tmp_path / f"results-{name}").records()
    reference = found.pop("karpathy")
    assert reference.validation
    for name, record in found.items():
        assert record.spec["dataset"]["name"] == name
        assert record.data_sha256 == reference.data_sha256
        assert (record.dataset, record.metrics, record.validation) == (
            "flickr30k",
            reference.metrics,
            reference.validation,
        )


def test_a_score_matrix_is_evaluated_on_a_folder_without_a_name(itm, tmp_path):
    root = shapes.blip(tmp_path / "data")
    scores = np.random.default_rng(0).standard_normal((6, 30)).astype(np.float32)
    np.save(tmp_path / "scores.npy", scores)
    code, _, err = itm("evaluate", tmp_path / "scores.npy", "--dataset", root, "--json", tmp_path / "out.json")
    assert code == 0, err
    assert "layout blip, recognised by flickr30k_test.json" in err
    ranks = (scores > scores[np.arange(30) // 5, np.arange(30)]).sum(axis=0)
    metrics = json.loads((tmp_path / "out.json").read_text())["metrics"]["full"]["pessimistic"]
    assert metrics["t2i_r1"] == pytest.approx(100 * (ranks == 0).mean())
    code, _, err = itm("evaluate", tmp_path / "scores.npy", "--dataset", tmp_path)
    assert code == 2
    assert "is of no known layout" in err
