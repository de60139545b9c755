"""`itm plan` and `--dry-run`: every built-in experiment without its data, for people and for scripts."""

from __future__ import annotations

import json
import math

import pytest
from click.testing import CliRunner, Result

from harness.cli.main import cli
from harness.errors import InvalidSpec
from harness.records.plan import PlanDocument
from harness.spec import builtin_experiments, load_experiment

GENERATED = {"quickstart": ["--set", "dataset.train_images=10", "--set", "dataset.test_images=10"]}


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(cli, list(arguments))
    assert result.exception is None, result.exception
    return result


@pytest.mark.parametrize("name", sorted(builtin_experiments()))
def test_every_built_in_experiment_is_planned_without_its_data(name, tmp_path):
    """Its entries, runs, files and where one gets them; no times, because none were measured."""
    results = ["--results", str(tmp_path / "none"), *GENERATED.get(name, [])]
    out = run("plan", name, "--no-measure", *results).output
    experiment = load_experiment(name)
    assert f"{len(experiment.scorers) * len(experiment.seeds)} to run" in out
    assert all(entry.key in out for entry in experiment.scorers)
    assert "In all" not in out
    assert "Timed" not in out
    assert not (tmp_path / "none").exists()  # nothing is written
    document = json.loads(run("plan", name, "--no-measure", "--json", *results).stdout)
    assert document["to_run"] == len(document["cells"]) == len(experiment.scorers) * len(experiment.seeds)
    assert (document["seconds_left"], document["bytes_left"]) == (None, None)
    for file in document["files"]:
        assert file["where"]
        assert file["name"] in out
    known = {key: value for key, value in document.items() if key in PlanDocument.model_fields}
    assert PlanDocument.model_validate(known).experiment == name


def test_coco_vit_names_cells_files_hours_and_gigabytes_without_the_data(monkeypatch, tmp_path):
    """With the work of a model in place of its weights: what is asked here is what is said of it."""
    from harness.estimates import plan as estimates
    from harness.records.plan import Measurement

    measured = Measurement(
        steps={2: 3.0, 4: 5.5},
        pairwise={32: 0.2, 64: 0.5},
        images_per_second=3.0,
        captions_per_second=30.0,
        pairs_per_second=60_000.0,
        parameters=196_000_000,
        trainable=196_000_000,
        saved_bytes={2: 600_000_000},
        data="random data of the published shape",
    )
    monkeypatch.setattr(estimates, "_measurement", lambda *_: measured)
    out = run("plan", "coco_vit", "--results", str(tmp_path)).output
    text = " ".join(out.split())
    assert "10 models x 5 seeds = 50 runs, 50 to run" in text
    assert "train 113,287, val 1,000, test 5,000 images" in text
    for file in ("dataset_coco.json", "images/train2014", "bert-base-uncased", "vit_base_patch16_224.orig_in21k"):
        assert file in text
    assert "extrapolated from batches of up to 4" in text
    document = json.loads(run("plan", "coco_vit", "--json", "--results", str(tmp_path)).stdout)
    # By hand: a step of 64 takes 5.5 + 60 * 1.25 s and the loss, whose square part is (0.5 - 0.2) / (64^2 - 32^2) each.
    square = 0.3 / (64**2 - 32**2)
    step = 5.5 - 16 * square + 60 * (5.5 - 3.0 - 12 * square) / 2 + 64**2 * square
    evaluation = lambda images: images / 3 + 5 * images / 30 + 5 * images**2 / 60_000  # noqa: E731
    expected = 50 * (30 * (8851 * step + evaluation(1000)) + evaluation(5000))
    assert math.isclose(document["seconds_left"], expected, rel_tol=1e-9)
    assert document["bytes_left"] == 50 * 4 * 196_000_000 + 4 * 4 * 196_000_000
    assert f"{round(expected / 86_400):,} d" in text
    assert "42.3 GB of disk" in text


def test_a_dry_run_is_the_plan_and_runs_nothing(tmp_path):
    results = ["--results", str(tmp_path / "results")]
    plan = run("plan", "flickr30k_regions", "--no-measure", *results).output
    assert run("leaderboard", "flickr30k_regions", "--dry-run", "--no-mlflow", *results).output == plan
    out = run("ablate", "flickr30k_vit", "--scorer", "grm", "--dry-run", "--no-mlflow", *results).output
    assert "grm.no_uncertainty" in out
    assert "10 models x 5 seeds = 50 runs" in " ".join(out.split())
    assert not (tmp_path / "results").exists()


def test_markdown_lists_every_run(tmp_path):
    out = run("plan", "flickr30k_clip", "--no-measure", "--markdown", "--results", str(tmp_path)).output
    assert out.startswith("# Plan: flickr30k")
    assert "ViT-L-14-336" in out
    assert "What differs" in out


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nosuch"], "unknown experiment 'nosuch'"),
        (["coco_vit", "--set", "scorers.grm_vit.config.region=3"], "unknown key 'region'; did you mean 'regions'"),
        (["coco_vit", "--set", "protocols=[coco_9k]"], "unknown protocol 'coco_9k'"),
        (["coco_vit", "--set", "dataset.roots=x"], "unknown key 'roots'"),
        (["coco_vit", "--device", "tpu9"], "device 'tpu9' cannot be used here"),
        (["coco_vit", "--seconds", "nan"], "not a finite number"),
    ],
)
def test_bad_input_is_one_line(arguments, line):
    from harness.errors import ItmError

    result = CliRunner().invoke(cli, ["plan", *arguments])
    if isinstance(result.exception, ItmError):
        assert result.exception.exit_code == 2
        assert line in str(result.exception)
        assert "\n" not in str(result.exception)
    else:
        assert result.exit_code == 2
        assert line in result.output


def test_a_sweep_is_planned_without_a_trial(tmp_path):
    """Trials times training runs per trial, of one entry; nothing is written, and bad settings are refused as ever."""
    options = [
        "--trials",
        "12",
        "--seeds",
        "2",
        "--dry-run",
        "--results",
        str(tmp_path / "none"),
        *GENERATED["quickstart"],
    ]
    out = run("sweep", "quickstart", "--scorer", "chan", *options).output
    assert "1 model x 2 seeds x 12 trials = 24 runs, 24 to run" in out
    assert "scan" not in out
    assert not (tmp_path / "none").exists()
    refused = CliRunner().invoke(cli, ["sweep", "quickstart", "--scorer", "chan", *options, "--sampler", "TPE"])
    assert "unknown sampler of Optuna 'TPE'" in str(refused.exception)


def test_the_workers_of_a_plan_are_those_that_the_command_would_start(tmp_path, monkeypatch):
    from harness.estimates import plan as estimates
    from harness.records.plan import Measurement

    measured = Measurement(steps={128: 1.0}, saved_bytes={128: 1}, parameters=1, trainable=1, data="random data")
    monkeypatch.setattr(estimates, "_measurement", lambda *_: measured)
    monkeypatch.setattr("harness.estimates.workers.usable_cpus", lambda: 8)
    arguments = ["plan", "quickstart", "--json", "--results", str(tmp_path), *GENERATED["quickstart"]]
    one, four = (json.loads(run(*arguments, "--workers", workers).stdout) for workers in ("1", "4"))
    assert one["side_by_side"] is None
    assert four["seconds_left"] == one["seconds_left"]
    assert four["side_by_side"]["workers"] == 4
    assert math.isclose(four["side_by_side"]["seconds"], one["seconds_left"] / 4)  # 12 equal runs


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--images", "5"], "--images needs --captions"),
        (["--captions", "5"], "--captions needs --images"),
        (["--images", "5", "--captions", "5", "--no-measure"], "leave out --no-measure"),
    ],
)
def test_a_size_that_cannot_be_estimated_is_refused(options, message):
    result = CliRunner().invoke(cli, ["plan", "quickstart", *options])
    assert isinstance(result.exception, InvalidSpec)
    assert message in str(result.exception)
