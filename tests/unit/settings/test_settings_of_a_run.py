"""A run's settings as an experiment: the plan is that run again, whatever it sets, and what differs is said."""

from __future__ import annotations

import logging

import pytest
import yaml

from harness.errors import InvalidSpec
from harness.files import strict_yaml
from harness.runs.planning import plan
from harness.settings.again import differences
from harness.spec import load_experiment


def again(run, overrides=()):
    return plan(load_experiment(run.complete, overrides))


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize(
    "scorers",
    [
        ["scan"],
        ["grm.no_uncertainty"],
        {"own": {"name": "chan", "config": {"coding": "tha", "temperature": 0.2}}},
        {"tuned": {"name": "scan", "training": {"margin": 0.35}, "tuning": {"trials": 7, "study": "s"}}},
        {"other": {"name": "clip", "image": {"name": "patches", "width": 24}, "text": {"name": "bigru", "width": 24}}},
        {"chunked": {"name": "scan", "training": {"micro_batch": 8, "objective": "infonce", "temperature": 0.07}}},
    ],
    ids=str,
)
def test_the_settings_of_a_run_plan_the_same_run(tiny, scorers):
    tiny |= {
        "scorers": scorers,
        "seeds": [3],
        "threads": 2,
        "protocols": ["full", "scenes_relevance"],
        "feeding": {"workers": 0, "prefetch": 4},
        "evaluation": {"ties": "expected", "save_scores": True, "cost_repeats": 5, "diagnostics": False},
    }
    (run,) = plan(load_experiment(tiny))
    (second,) = again(run)
    assert second.run_id == run.run_id
    assert second.complete == run.complete


def test_a_recipe_fills_no_setting_in_that_the_run_had_off(tiny, monkeypatch):
    from harness import registry

    recipe = {**registry.recipe("scan"), "micro_batch": 8, "gradient_checkpointing": False}
    (run,) = plan(load_experiment(tiny | {"scorers": {"scan": {"training": {"micro_batch": None}}}}))
    monkeypatch.setattr(registry, "recipe", lambda name: recipe)
    assert again(run)[0].run_id == run.run_id


@pytest.mark.parametrize("features", [{"store": False}, {"dtype": "float32"}, {}], ids=str)
def test_how_frozen_towers_are_read_is_kept(tiny, features, monkeypatch):
    from harness.backbones.regions import RegionEncoder

    monkeypatch.setattr(RegionEncoder, "comes_trained", classmethod(lambda cls, config: True))
    tiny |= {"features": features, "training": {**tiny["training"], "backbone_learning_rate_scale": 0.0}}
    (run,) = plan(load_experiment(tiny))
    assert run.features == ("live" if features == {"store": False} else features.get("dtype", "float16"))
    assert again(run)[0].complete == run.complete


def test_a_file_of_settings_is_an_experiment_and_takes_overrides(tiny, tmp_path, caplog):
    (run,) = plan(load_experiment(tiny))
    file = tmp_path / "config.yaml"
    file.write_text(strict_yaml.dump(run.complete), encoding="utf-8")
    assert yaml.safe_load(file.read_text()) == run.complete
    experiment = load_experiment(file)
    assert experiment.name == f"run-{run.run_id}"
    with caplog.at_level(logging.WARNING):
        assert plan(experiment)[0].run_id == run.run_id
        assert not warnings(caplog)
        (other,) = plan(load_experiment(file, ["training.epochs=5", "seeds=[1]"]))
    assert (other.training.epochs, other.seed) == (5, 1)
    (said,) = warnings(caplog)
    assert run.run_id in said
    assert "training.epochs was 2, is 5" in said
    assert "seed was 0, is 1" in said


def test_changed_data_and_code_are_said(tiny, caplog):
    (run,) = plan(load_experiment(tiny))
    before = run.model_copy(update={"data_sha256": "0" * 64, "source_sha256": "1" * 64})
    with caplog.at_level(logging.WARNING):
        (now,) = again(before)
    assert now.run_id == run.run_id != before.run_id
    (said,) = warnings(caplog)
    assert f'data_sha256 was "000000000000", is "{run.data_sha256[:12]}"' in said
    assert "source_sha256 was" in said


def test_differences_are_none_between_equal_runs(tiny):
    (run,) = plan(load_experiment(tiny))
    assert differences(run, run.model_copy(update={"variant": "named"})) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": "one"}, "'seed' must be a number"),
        ({"colour": 1}, "unknown key 'colour'"),
        ({"training": {"epoch": 3}}, "unknown key 'training.epoch'; did you mean 'epochs'?"),
    ],
)
def test_damaged_settings_are_refused_in_one_line(tiny, change, message):
    (run,) = plan(load_experiment(tiny))
    with pytest.raises(InvalidSpec, match=message):
        load_experiment({**run.complete, **change})


def test_a_plan_says_that_it_is_another_run(tiny):
    from harness.runs.remarks import another_run

    (run,) = plan(load_experiment(tiny))
    same = load_experiment(run.complete)
    assert another_run(same, [run]) == ""
    assert another_run(load_experiment(run.complete, ["seeds=[4, 0]"]), [run.model_copy(update={"seed": 4})]) == ""
    said = another_run(load_experiment(run.complete, ["seeds=[4]"]), [run.model_copy(update={"seed": 4})])
    assert said.endswith("whose settings were given: seed was 0, is 4")
