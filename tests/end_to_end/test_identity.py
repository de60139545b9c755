"""A run is a pure function of what its id covers: nothing else changes its numbers, and what is recorded is used again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.files import strict_yaml
from harness.records.store import RunStore
from harness.spec import RunSpec, build

PLUGIN = """
import torch
from cosine_helper import FACTOR
from harness.scorer import Scorer, ScorerConfig


class Config(ScorerConfig):
    scale: float = 1.0


class Pooled(Scorer):
    Config = Config
    variants = {"same": {"scale": 1.0}, "double": {"scale": 2.0}}

    def score(self, images, texts):
        means = [(part.features * part.mask[..., None]).sum(1) for part in (images, texts)]
        return FACTOR * self.config.scale * means[0] @ means[1].T
"""


def run_of(results: Path, **wanted):
    found = [r for r in RunStore(results).records() if all(getattr(r, k) == v for k, v in wanted.items())]
    assert len(found) == 1, found
    return found[0]


def test_the_number_of_threads_comes_from_the_experiment_not_from_the_environment(itm, experiment, tmp_path):
    """Run in this process, and in one whose environment names another number of threads."""

    def run_in(name: str):
        record = RunStore(tmp_path / name).records()[0]
        weights = (tmp_path / name / "runs" / record.run_id / "model.safetensors").read_bytes()
        # The bytes behind the header are the tensors; the metadata in it may stand in any order.
        return record, weights[8 + int.from_bytes(weights[:8], "little") :]

    wide = ["--set", "training.epochs=1", "--set", "image.width=64", "--set", "text.width=64"]
    words = ["leaderboard", str(experiment), "--no-mlflow", *wide, "--results"]
    other = "1" if os.environ.get("OMP_NUM_THREADS") == "2" else "2"
    environment = {**os.environ, "OMP_NUM_THREADS": other, "MKL_NUM_THREADS": other}
    code = "import sys; from harness.cli.main import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", code, *words, str(tmp_path / "two")]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert itm(*words, tmp_path / "one")[0] == 0
    (one, one_weights), (two, two_weights) = run_in("one"), run_in("two")
    assert (one.run_id, one.metrics, one.validation) == (two.run_id, two.metrics, two.validation)
    assert one_weights == two_weights
    assert one.environment.threads == two.environment.threads == one.spec["threads"] == 1
    assert one.code.engine_sha256 == two.code.engine_sha256


def test_another_number_of_threads_is_another_run(itm, experiment, tmp_path):
    # Untrained: threads that share too few cores wait for one another.
    untrained = ("leaderboard", experiment, "--no-mlflow", "--set", "training.epochs=0")
    assert itm(*untrained)[0] == 0
    assert itm(*untrained, "--set", "threads=2")[0] == 0
    records = RunStore(tmp_path / "results").records()
    assert sorted(record.environment.threads for record in records) == [1, 2]


def test_equal_entries_run_once_under_the_name_that_asks(itm, experiment, tmp_path):
    code, _, err = itm("leaderboard", experiment, "--no-mlflow", "--set", "scorers=[scan, scan.t2i_lse]")
    assert code == 0, err
    assert "scorer 'scan.t2i_lse' has the settings of 'scan': one run serves both" in err
    assert "1 run: 0 already recorded, 1 to run" in err
    assert run_of(tmp_path / "results").label == "scan"
    code, _, err = itm("leaderboard", experiment, "--no-mlflow", "--set", "scorers=scan.t2i_lse")
    assert code == 0, err
    assert "1 already recorded, 0 to run" in err
    assert run_of(tmp_path / "results").label == "scan.t2i_lse"
    code, _, err = itm("leaderboard", experiment, "--no-mlflow", "--set", "scorers.scan.config.inverse_temperature=9.0")
    assert code == 0, err
    assert "1 already recorded, 0 to run" in err
    assert run_of(tmp_path / "results").label == "scan"


def test_every_recorded_spec_gives_its_run_id_again(itm, experiment, tmp_path):
    assert itm("leaderboard", experiment, "--no-mlflow", "--set", "scorers=[grm, chan.bert, clip]")[0] == 0
    for record in RunStore(tmp_path / "results").records():
        folder = tmp_path / "results" / "runs" / record.run_id
        assert build(RunSpec, record.spec, "record").run_id == record.run_id
        assert build(RunSpec, strict_yaml.read_file(folder / "config.yaml"), "config").run_id == record.run_id


def test_scores_that_are_asked_for_later_are_made_without_training(itm, experiment, tmp_path, monkeypatch):
    asked = ("leaderboard", experiment, "--no-mlflow", "--set", "evaluation.save_scores=true")
    assert itm(*asked, "--results", tmp_path / "at_once")[0] == 0
    assert itm("leaderboard", experiment, "--no-mlflow")[0] == 0
    before = run_of(tmp_path / "results")

    def no_training(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr("harness.runs.cell.fit", no_training)
    code, _, err = itm(*asked)
    assert code == 0, err
    assert f"run {before.run_id} (scan): scores.npy made from its weights, without training" in err
    made, at_once = (
        np.load(tmp_path / where / "runs" / before.run_id / "scores.npy") for where in ("results", "at_once")
    )
    np.testing.assert_array_equal(made, at_once)
    assert run_of(tmp_path / "results").metrics == before.metrics
    assert "scores.npy made" not in itm(*asked)[2]


def test_weights_that_do_not_give_the_recorded_recalls_make_no_scores(itm, experiment, tmp_path):
    assert itm("leaderboard", experiment, "--no-mlflow")[0] == 0
    assert itm("leaderboard", experiment, "--no-mlflow", "--set", "seeds=[5]", "--set", "training.epochs=0")[0] == 0
    trained, other = run_of(tmp_path / "results", seed=0), run_of(tmp_path / "results", seed=5)
    assert trained.metrics != other.metrics
    folder = tmp_path / "results" / "runs" / trained.run_id
    (folder / "model.safetensors").write_bytes((folder.parent / other.run_id / "model.safetensors").read_bytes())
    code, _, err = itm("leaderboard", experiment, "--no-mlflow", "--set", "evaluation.save_scores=true")
    assert code == 2
    assert "points from the recorded ones" in err
    assert not (folder / "scores.npy").exists()


def test_runs_of_an_earlier_version_are_told_in_one_line_and_stay(itm, experiment, tmp_path):
    assert itm("leaderboard", experiment, "--no-mlflow")[0] == 0
    runs = tmp_path / "results" / "runs"
    (folder,) = (path for path in runs.iterdir() if path.is_dir())
    for old in ("0" * 16, "1" * 16):
        (runs / old).mkdir()
        for file in folder.iterdir():
            (runs / old / file.name).write_bytes(file.read_bytes())
        values = json.loads((folder / "record.json").read_text()) | {"run_id": old}
        (runs / old / "record.json").write_text(json.dumps(values))
    code, _, err = itm("leaderboard", experiment, "--no-mlflow", "--set", "seeds=[0, 3]")
    assert code == 0, err
    assert err.count("2 runs are recorded under ids of an earlier version") == 1
    assert "earlier version" not in itm("leaderboard", experiment, "--no-mlflow")[2]
    assert {record.run_id for record in RunStore(tmp_path / "results").records()} >= {"0" * 16, "1" * 16, folder.name}


def test_an_edit_of_what_a_plug_in_imports_is_another_run(itm, experiment, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    plugin, helper = tmp_path / "pooled.py", tmp_path / "cosine_helper.py"
    plugin.write_text(PLUGIN)
    helper.write_text("FACTOR = 1.0\n")
    asked = ("leaderboard", experiment, "--no-mlflow", "--plugin", plugin, "--set", "scorers=pooled")
    assert itm(*asked)[0] == 0
    assert "0 to run" in itm(*asked)[2]
    helper.write_text("FACTOR = 3.0\n")
    code, _, err = itm(*asked)
    assert code == 0, err
    assert "0 already recorded, 1 to run" in err


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("scorers=[scan, chna]", "did you mean 'chan'"),
        ("scorers=[scan, scan.t2i_lsee]", "t2i_lse"),
        ("scorers.scan.config.poolng=lse", "did you mean 'pooling'"),
        ("scorers.scan.training.epoch=3", "did you mean 'epochs'"),
        ("training.epoch=3", "did you mean 'epochs'"),
        ("image.name=patchs", "did you mean 'patches'"),
        ("image.widht=8", "did you mean 'width'"),
        ("text.name=bigur", "did you mean 'bigru'"),
        ("protocols=[ful]", "did you mean 'full'"),
        ("dataset.test_image=3", "did you mean 'test_images'"),
        ("dataset.train_images=1", "train_images"),
        ("sweep.trails=3", "unknown key 'sweep.trails'"),
        ("evaluation.tie=expected", "did you mean 'ties'"),
        ("seeds=[4294967296]", "a seed is a whole number"),
    ],
)
@pytest.mark.parametrize("command", ["leaderboard", "ablate", "sweep", "profile"])
def test_a_typo_is_refused_before_a_dataset_is_opened(
    itm, experiment, tmp_path, monkeypatch, command, override, message
):
    def not_yet(*_):
        raise AssertionError("data were opened before the settings were checked")

    monkeypatch.setattr("harness.datasets.open_dataset", not_yet)
    more = {"ablate": ["--scorer", "scan"], "sweep": ["--scorer", "scan", "--trials", 1]}.get(command, [])
    code, _, err = itm(command, experiment, *more, "--set", override)
    assert code == 2, err
    (line,) = (line for line in err.splitlines() if line.startswith("itm: error:"))
    assert message in line


@pytest.mark.parametrize(
    "option",
    [
        ("--rounds", 10**9),
        ("--samples", 10**12),
        ("--gallery", 10**12),
        ("--galleries", f"1000,{10**20}"),
        ("--seconds", "nan"),
        ("--seconds", "inf"),
        ("--results", ""),
    ],
)
def test_a_profile_beyond_reason_is_refused_before_anything_is_trained(itm, experiment, tmp_path, option):
    code, _, err = itm("profile", experiment, *option)
    assert code == 2, err
    assert option[0].removeprefix("--") in err or "gallery" in err
    assert not (tmp_path / "results").exists()
