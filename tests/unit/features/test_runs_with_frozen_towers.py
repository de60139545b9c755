"""Runs with a frozen tower: they read the store, share it, and give the numbers of a tower that runs in every step."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

from harness.backbones.patches.encoder import PatchEncoder
from harness.records.scores import SCORES
from harness.records.store import RunStore
from harness.runs.building import load_scorer, open_dataset
from harness.runs.evaluation import score_split
from harness.runs.experiment import run_experiment
from harness.runs.planning import check, plan
from harness.spec import RunSpec, load_experiment


@pytest.fixture
def calls(monkeypatch):
    """The sizes of the batches that an image tower was run on in evaluation mode without being part of a timing."""
    seen, raw = [], PatchEncoder.raw

    def counted(self, batch):
        seen.append(len(batch))
        return raw(self, batch)

    monkeypatch.setattr(PatchEncoder, "raw", counted)
    return seen


def changed(values, **training):
    return {**values, "training": {**values["training"], **training}}


def run(values, folder):
    outcome = run_experiment(
        load_experiment({**values, "evaluation": {"cost_repeats": 3, "save_scores": True}}), RunStore(folder)
    )
    assert not outcome.failures, outcome.failures[0].error
    return outcome.records


def scores(folder, record):
    return np.load(folder / "runs" / record.run_id / SCORES)


def weights(folder, record):
    return load_scorer(RunStore(folder), record.run_id).state_dict()


@pytest.fixture
def without_cost(monkeypatch):
    """Costs are measured from pixels, which would hide who else runs the tower."""
    from harness.runs import cell

    monkeypatch.setattr(cell, "cost_of", lambda *_: {})


def test_all_scorers_and_seeds_share_one_pass_of_the_tower(cache, tmp_path, frozen, calls, without_cost):
    records = run({**frozen, "scorers": ["scan", "chan", "vsepp"], "seeds": 2}, tmp_path)
    assert len(records) == 6
    pictures, sizes = 19 + 6 + 7, 3 * 16  # the first batch of each split also tells the size
    assert pictures <= sum(calls) <= pictures + sizes
    told = {str(record.features) for record in records}
    assert len(told) == 1
    side = records[0].features["images"]
    assert side["tower"] == "test_efficientnet at 64 px"
    assert side["dtype"] == "float16"
    assert set(side["keys"]) == set(side["sha256"]) == {"train", "val", "test"}
    for key in side["keys"].values():
        assert (cache / "features" / key / "about.json").is_file()


def test_the_log_says_it_in_one_line(cache, tmp_path, frozen, caplog):
    caplog.set_level(logging.INFO, logger="harness")
    run(frozen, tmp_path)
    lines = [line for line in caplog.messages if "from the store" in line]
    assert lines == ["features of tower test_efficientnet at 64 px: 33 images from the store (float16)"]


@pytest.mark.parametrize("noise", [{}, {"region_drop": 0.4}])
@pytest.mark.parametrize("scorer", ["scan", "late_interaction"])  # without batch statistics, which magnify rounding
def test_float32_features_give_the_scores_of_a_live_tower(cache, tmp_path, frozen, scorer, noise):
    values = changed({**frozen, "scorers": [scorer]}, **noise)
    (stored,) = run({**values, "features": {"dtype": "float32"}}, tmp_path / "stored")
    (live,) = run({**values, "features": {"store": False}}, tmp_path / "live")
    assert (stored.spec["features"], live.spec["features"]) == ("float32", "live")
    assert stored.run_id != live.run_id
    assert not live.features
    first, second = scores(tmp_path / "stored", stored), scores(tmp_path / "live", live)
    assert np.abs(first - second).max() < 2e-5 * np.abs(second).max()
    assert stored.metrics["full"] == pytest.approx(live.metrics["full"])


@pytest.mark.parametrize("scorer", ["vse_infinity", "chan", "grm", "laps"])
def test_float32_features_give_the_scores_of_a_live_tower_before_training(cache, tmp_path, frozen, scorer):
    values = changed({**frozen, "scorers": [scorer]}, epochs=0)
    (stored,) = run({**values, "features": {"dtype": "float32"}}, tmp_path / "stored")
    (live,) = run({**values, "features": {"store": False}}, tmp_path / "live")
    first, second = scores(tmp_path / "stored", stored), scores(tmp_path / "live", live)
    assert np.abs(first - second).max() < 2e-5 * np.abs(second).max()


def test_float16_features_are_near_and_the_saved_model_is_whole(cache, tmp_path, frozen):
    (stored,) = run(frozen, tmp_path / "stored")
    (live,) = run({**frozen, "features": {"store": False}}, tmp_path / "live")
    first, second = scores(tmp_path / "stored", stored), scores(tmp_path / "live", live)
    assert 0 < np.abs(first - second).max() < 0.02
    # From its own file and pixels alone: what the run recorded, within the rounding of float16.
    scorer = load_scorer(RunStore(tmp_path / "stored"), stored.run_id)
    split = open_dataset(RunSpec.model_validate(stored.spec).dataset).split("test")
    from_pixels = score_split(scorer, split).similarity.numpy()
    assert np.abs(from_pixels - first).max() < 5e-3
    tower = {name for name in scorer.state_dict() if ".tower." in name}
    assert tower
    assert all(torch.equal(weights(tmp_path / "live", live)[name], scorer.state_dict()[name]) for name in tower)


@pytest.mark.parametrize("kind", ["flip", "crop_flip"])
def test_augmented_images_run_the_tower_and_the_others_are_read(
    cache, tmp_path, frozen, calls, caplog, without_cost, kind
):
    caplog.set_level(logging.INFO, logger="harness")
    (record,) = run(changed(frozen, image_augmentation=kind), tmp_path)
    assert set(record.features["images"]["keys"]) == {"val", "test"}
    assert f"training.image_augmentation={kind} changes what it takes; image_augmentation=none" in caplog.text
    assert sum(calls) > 2 * 19  # both epochs


def test_a_tower_that_is_trained_reads_no_store(cache, tmp_path, frozen):
    (record,) = run(changed(frozen, backbone_learning_rate_scale=0.1), tmp_path)
    assert not record.features
    assert "features" not in record.spec
    assert not (cache / "features").exists()


def test_a_run_without_a_frozen_tower_keeps_its_id(tiny, frozen):
    spec = plan(load_experiment(tiny))[0]
    assert spec.features is None
    assert "features" not in spec.identity
    assert "features" not in spec.model_dump(mode="json")
    off = plan(load_experiment({**tiny, "features": {"store": False, "dtype": "float32"}}))[0]
    assert off.run_id == spec.run_id


@pytest.mark.parametrize(
    ("training", "features", "expected"),
    [
        ({"backbone_learning_rate_scale": 0}, {}, "float16"),
        ({"backbone_learning_rate_scale": 0}, {"dtype": "float32"}, "float32"),
        ({"backbone_learning_rate_scale": 0}, {"store": False}, "live"),
        ({"backbone_learning_rate_scale": 0.1}, {}, None),
    ],
)
def test_the_settings_say_how_the_outputs_are_had(frozen, training, features, expected):
    (cell,) = check(load_experiment(changed({**frozen, "features": features}, **training))).values()
    assert cell.features == expected
    assert RunSpec.model_validate(cell.model_dump(mode="json")).run_id == cell.run_id


def test_a_frozen_tower_keeps_its_weights_and_statistics(cache, tmp_path, frozen):
    from harness import backbones

    fresh = backbones.build_image(frozen["image"]).state_dict()
    for number, features in enumerate(({"store": False}, {})):
        (record,) = run({**frozen, "features": features}, tmp_path / str(number))
        after = weights(tmp_path / str(number), record)
        tower = [name for name in fresh if name.startswith("tower.")]
        assert any("running_var" in name for name in tower)
        assert all(torch.equal(after[f"image_encoder.{name}"], fresh[name]) for name in tower)


def test_a_killed_training_resumes_on_stored_features(cache, tmp_path, frozen, monkeypatch):
    from harness.runs import cell

    (whole,) = run(frozen, tmp_path / "whole")
    fit = cell.fit

    def killed(*args, on_epoch, **options):
        def stop(epoch):
            raise KeyboardInterrupt

        return fit(*args, on_epoch=stop, **options)

    monkeypatch.setattr(cell, "fit", killed)
    with pytest.raises(KeyboardInterrupt):
        run(frozen, tmp_path / "killed")
    monkeypatch.setattr(cell, "fit", fit)
    (resumed,) = run(frozen, tmp_path / "killed")
    assert np.array_equal(scores(tmp_path / "whole", whole), scores(tmp_path / "killed", resumed))
