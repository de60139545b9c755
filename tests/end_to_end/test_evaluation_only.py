"""A dataset with a test split alone is evaluated by every command, and refused by those that would train on it."""

from __future__ import annotations

import json
from pathlib import Path

import layouts
import numpy as np
import pytest
import yaml

from harness.records.profile import ProfileStore
from harness.records.run import RunRecord
from harness.records.store import RunStore

NO_TRAINING = "dataset data has no train split, so nothing can be trained on it; it has test"
PROFILE = ("--seconds", "2", "--rounds", "2", "--samples", "3", "--galleries", "30", "--gallery", "30")


@pytest.fixture
def write(tiny, tmp_path):
    def written(**settings: object) -> Path:
        path = tmp_path / "small.yaml"
        path.write_text(yaml.safe_dump({**tiny, "name": "small", **settings}))
        return path

    return written


def only(tmp_path: Path, results: str = "results") -> RunRecord:
    (record,) = RunStore(tmp_path / results).records()
    return record


def leave_the_test_split(root: Path) -> None:
    for split in ("train", "dev"):
        for kind in ("ims.npy", "caps.txt"):
            (root / f"{split}_{kind}").unlink()


@pytest.fixture
def settings(tmp_path):
    return layouts.precomp_once(tmp_path / "data")


def test_a_saved_model_has_the_numbers_that_it_had_with_all_splits(itm, write, settings, tmp_path):
    assert itm("leaderboard", write(**settings), "--no-mlflow")[0] == 0
    trained = only(tmp_path)
    weights = RunStore(tmp_path / "results").folder(trained.run_id) / "model.safetensors"
    leave_the_test_split(tmp_path / "data")
    experiment = write(**settings, scorers=[{"name": "scan", "weights": str(weights)}])
    code, out, err = itm("leaderboard", experiment, "--no-mlflow", "--results", tmp_path / "test")
    assert code == 0, err
    assert "written:" in out
    given = only(tmp_path, "test")
    assert given.metrics == trained.metrics
    assert given.training.epochs == 0
    assert given.validation == {"epoch": 0}
    code, _, err = itm("profile", experiment, *PROFILE, "--no-mlflow", "--results", tmp_path / "test")
    assert code == 0, err
    (folder,) = (tmp_path / "test" / "profiles").iterdir()
    ((profile, _),) = ProfileStore(tmp_path / "test", folder.name).profiles()
    (point,) = [point for point in profile.points if point.kind == "base"]
    assert {"encode one image", "offline"} <= point.scenarios.keys()
    assert "training step" not in point.scenarios


@pytest.mark.parametrize(
    "command",
    [
        ("leaderboard",),
        ("ablate", "--scorer", "scan", "--variants", "t2i_avg"),
        ("sweep", "--scorer", "scan", "--trials", "1"),
        ("profile", *PROFILE),
    ],
    ids=lambda command: command[0],
)
def test_training_is_refused_before_anything_is_written(itm, write, settings, tmp_path, command):
    leave_the_test_split(tmp_path / "data")
    code, _, err = itm(command[0], write(**settings), *command[1:], "--no-mlflow")
    assert code == 2
    (line,) = [line for line in err.splitlines() if line.startswith("itm: error:")]
    assert NO_TRAINING in line
    assert not list((tmp_path / "results" / "runs").glob("[!.]*"))


def test_no_validation_split_is_said_as_such(itm, write, settings, tmp_path):
    for kind in ("ims.npy", "caps.txt"):
        (tmp_path / "data" / f"dev_{kind}").unlink()
    code, _, err = itm("leaderboard", write(**settings), "--no-mlflow")
    assert code == 2
    assert "has no val split, so no epoch of a training can be chosen on it; it has train, test" in err


def test_half_a_split_is_not_taken_for_none(itm, write, settings, tmp_path):
    (tmp_path / "data" / "train_caps.txt").unlink()
    code, _, err = itm("leaderboard", write(**settings), "--no-mlflow")
    assert code == 2
    assert "cannot read" in err
    assert "train_caps.txt: No such file" in err


def test_words_are_counted_in_training_captions_or_come_from_a_vocabulary(itm, write, settings, tmp_path):
    leave_the_test_split(tmp_path / "data")
    untrained = ("--no-mlflow", "--set", "training.epochs=0")
    code, _, err = itm("leaderboard", write(**settings), *untrained)
    assert code == 0, err  # with the folder's vocabulary
    code, _, err = itm("leaderboard", write(**settings), *untrained, "--set", "dataset.vocabulary=none")
    assert code == 2
    assert (
        "text backbone bigru counts its words in training captions, but dataset data has no train split; it has test; "
        "choose a pretrained text backbone or a saved model (weights)"
    ) in err


def test_scores_of_the_test_split_are_evaluated_and_those_of_others_refused(itm, settings, tmp_path):
    leave_the_test_split(tmp_path / "data")
    images, captions = layouts.COUNTS["test"], layouts.COUNTS["test"] * layouts.EACH
    scores = np.zeros((images, captions), dtype=np.float32)
    scores[np.arange(captions) // layouts.EACH, np.arange(captions)] = 1
    np.save(tmp_path / "scores.npy", scores)
    arguments = ("evaluate", tmp_path / "scores.npy", "--dataset", "precomp", "--set", f"root={tmp_path / 'data'}")
    code, _, err = itm(*arguments, "--json", tmp_path / "numbers.json")
    assert code == 0, err
    assert json.loads((tmp_path / "numbers.json").read_text())["metrics"]["full"]["pessimistic"]["rsum"] == 600
    code, _, err = itm(*arguments, "--split", "val")
    assert code == 2
    assert "dataset data has no val split; it has test" in err
