"""`top.npz` of runs: written with each evaluation, made later from scores or weights, refused where they are not the run's."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from harness import datasets
from harness.errors import InvalidCheckpoint, InvalidDataset, InvalidRecord, InvalidSpec
from harness.records.store import TOP, RunStore
from harness.runs.completion import complete_top, complete_tops
from harness.runs.experiment import run_cells
from harness.runs.planning import plan
from harness.runs.reopening import RunDatasets
from harness.spec import load_experiment

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """SCAN, two seeds, with their scores kept."""
    store = RunStore(tmp_path_factory.mktemp("listed"))
    spec = load_experiment(
        {
            "name": "tiny",
            "dataset": {"name": "scenes", "train_images": 40, "val_images": 10, "test_images": 12, "image_size": 32},
            "image": {"name": "regions", "width": 16},
            "text": {"name": "bigru", "width": 16},
            "training": {"epochs": 1, "batch_size": 32, "learning_rate": 0.003, "decay_epochs": []},
            "evaluation": {"cost_repeats": 3, "save_scores": True},
            "protocols": ["full", "scenes_relevance"],
            "seeds": 2,
            "scorers": ["scan"],
        }
    )
    return store, run_cells(plan(spec), store, device=CPU).records


@pytest.fixture
def runs(trained, tmp_path):
    """A copy of these runs that a test may damage: the store, and the folders of both."""
    store = RunStore(tmp_path / "results")
    shutil.copytree(trained[0].results, store.results)
    return store, [store.folder(record.run_id) for record in trained[1]]


def test_an_evaluation_writes_the_first_items_of_its_scores(runs):
    store, (folder, _) = runs
    scores, found = np.load(folder / "scores.npy"), store.top(folder.name)
    split = datasets.open_dataset(store.require(folder.name).spec["dataset"]).split("test")
    assert found.image_id.tolist() == list(split.image_ids)
    assert found.caption_id.tolist() == list(split.caption_ids)
    assert found.caption_image.tolist() == split.caption_image.tolist()
    for direction, matrix in (("i2t", scores), ("t2i", scores.T)):
        order = np.argsort(-matrix, axis=1, kind="stable")[:, :10]
        np.testing.assert_array_equal(getattr(found, f"{direction}_top"), order)
        np.testing.assert_array_equal(getattr(found, f"{direction}_score"), np.take_along_axis(matrix, order, axis=1))
    ranks = store.ranks(folder.name)["full"]
    first = found.caption_image[found.i2t_top[:, 0]] == np.arange(12)
    np.testing.assert_array_equal(first, ranks.i2t_rank == 0)  # nothing ties here
    assert not ranks.i2t_ties.any()


@pytest.mark.parametrize("source", ["scores", "weights"])
def test_a_run_without_the_file_gets_the_same_one(runs, source, caplog):
    store, (folder, _) = runs
    before = (folder / TOP).read_bytes()
    assert not complete_top(store, folder.name, CPU)
    (folder / TOP).unlink()
    (folder / ("scores.npy" if source == "weights" else "model.safetensors")).unlink()
    caplog.set_level("INFO")
    assert complete_top(store, folder.name, CPU)
    assert (folder / TOP).read_bytes() == before
    assert f"top.npz made from its {'scores.npy' if source == 'scores' else 'weights'}" in caplog.text


def test_a_run_of_an_earlier_version_of_specs_gets_it_from_its_weights(runs):
    store, (folder, _) = runs
    before = (folder / TOP).read_bytes()
    (folder / TOP).unlink()
    (folder / "scores.npy").unlink()
    record = json.loads((folder / "record.json").read_text())
    record["spec"]["an_option_of_yesterday"] = 1
    (folder / "record.json").write_text(json.dumps(record))
    assert complete_top(store, folder.name, CPU)
    assert (folder / TOP).read_bytes() == before


def test_a_damaged_file_is_set_aside_and_made_again(runs):
    store, (folder, _) = runs
    before = (folder / TOP).read_bytes()
    (folder / TOP).write_bytes(before[:100])
    assert complete_top(store, folder.name, CPU)
    assert (folder / TOP).read_bytes() == before
    assert (folder / f"{TOP}.damaged").read_bytes() == before[:100]


def test_what_is_not_the_runs_own_is_refused_and_nothing_is_written(runs):
    store, (folder, other) = runs
    (folder / TOP).unlink()
    (folder / "scores.npy").write_bytes((other / "scores.npy").read_bytes())
    with pytest.raises(InvalidRecord, match=r"its scores.npy give recalls up to .* so top.npz was not written"):
        complete_top(store, folder.name, CPU)
    (folder / "scores.npy").unlink()
    with pytest.raises(InvalidDataset, match="data of 'scenes' are not those of run"):
        complete_top(store, folder.name, CPU, RunDatasets({"test_images": 13}))
    (folder / "model.safetensors").unlink()
    with pytest.raises(InvalidCheckpoint):
        complete_top(store, folder.name, CPU)
    record = json.loads((folder / "record.json").read_text())
    record["spec"]["dataset"] = [1]
    (folder / "record.json").write_text(json.dumps(record))
    with pytest.raises(InvalidRecord, match="names no dataset"):
        complete_top(store, folder.name, CPU)
    assert not (folder / TOP).exists()


def test_all_runs_are_completed_as_far_as_they_can_be(runs, caplog):
    store, (folder, other) = runs
    before = (other / TOP).read_bytes()
    for each in (folder, other):
        (each / TOP).unlink()
    (folder / "scores.npy").unlink()
    (folder / "model.safetensors").write_bytes(b"no weights")
    assert complete_tops(store, CPU) == 1
    assert (other / TOP).read_bytes() == before
    (line,) = [message for message in caplog.messages if "gets no top.npz" in message]
    assert line.startswith(f"run {folder.name} (scan) gets no top.npz: ")
    with pytest.raises(InvalidSpec, match="no dataset of these runs has the option 'root'"):
        RunDatasets({"root": "/data"}).require_used(store.records())


def test_the_dataset_of_several_runs_is_opened_once(runs, monkeypatch):
    store, folders = runs
    opened, really = [], datasets.open_dataset
    monkeypatch.setattr(datasets, "open_dataset", lambda component: opened.append(component) or really(component))
    data = RunDatasets()
    for folder in folders:
        (folder / TOP).unlink()
        assert complete_top(store, folder.name, CPU, data)
    assert len(opened) == 1


def test_options_change_the_datasets_that_have_them(runs):
    store, (folder, _) = runs
    record = store.require(folder.name)
    data = RunDatasets({"root": "/elsewhere", "scenes.seed": 0, "flickr8k.root": "/data", "image_size": 32})
    assert data.of(record).title == "scenes"  # it has no root, and is not flickr8k
    RunDatasets({"scenes.seed": 0, "image_size": 32}).require_used([record])
    for key in ("root", "flickr8k.seed", "scenes.root"):
        with pytest.raises(InvalidSpec, match=f"no dataset of these runs has the option '{key}'; datasets: scenes"):
            RunDatasets({key: 0}).require_used([record])
    with pytest.raises(InvalidDataset, match="are not those of run"):
        RunDatasets({"scenes.seed": 1}).of(record)
