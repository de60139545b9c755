"""Runs whose scores were not kept are scored again by their weights, which must give the recorded numbers."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from harness.errors import InvalidCheckpoint, InvalidDataset, InvalidRecord
from harness.records.scores import SCORES
from harness.records.store import RunStore
from harness.runs.ensemble import record_ensemble
from harness.runs.experiment import run_cells
from harness.runs.planning import plan
from harness.runs.rescoring import rescore
from harness.spec import load_experiment

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """SCAN, two seeds, evaluated on one protocol, with their scores kept: what the weights must give again."""
    store = RunStore(tmp_path_factory.mktemp("kept"))
    spec = load_experiment(
        {
            "name": "tiny",
            "dataset": {"name": "scenes", "train_images": 40, "val_images": 10, "test_images": 12, "image_size": 32},
            "image": {"name": "regions", "width": 16},
            "text": {"name": "bigru", "width": 16},
            "training": {"epochs": 1, "batch_size": 32, "learning_rate": 0.003, "decay_epochs": []},
            "evaluation": {"cost_repeats": 3, "save_scores": True},
            "protocols": ["full"],
            "seeds": 2,
            "scorers": ["scan"],
        }
    )
    return store, run_cells(plan(spec), store, device=CPU).records


@pytest.fixture
def runs(trained, tmp_path):
    """A copy of these runs without their scores, and those scores."""
    store = RunStore(tmp_path / "results")
    shutil.copytree(trained[0].results, store.results)
    folders = [store.folder(record.run_id) for record in trained[1]]
    scores = [np.load(folder / SCORES) for folder in folders]
    for folder in folders:
        (folder / SCORES).unlink()
    return store, folders, scores


def test_weights_give_the_numbers_that_the_scores_give(runs, trained):
    store, (folder, _), _ = runs
    done = rescore(store, folder.name, ["scenes_relevance"], ("pessimistic", "expected"))
    expected = rescore(trained[0], folder.name, ["scenes_relevance"], ("pessimistic", "expected"))
    assert (done.source, expected.source) == ("model.safetensors", SCORES)
    assert done.metrics == expected.metrics
    assert store.require(folder.name).metrics == expected.record.metrics
    theirs = trained[0].ranks(folder.name)["scenes_relevance"]
    np.testing.assert_array_equal(store.ranks(folder.name)["scenes_relevance"].i2t_rank, theirs.i2t_rank)
    assert not (folder / SCORES).exists()  # nobody asked for them


def test_ranks_are_taken_where_they_suffice(runs):
    store, (folder, _), _ = runs
    assert rescore(store, folder.name, ["full"], ["expected"]).source == "ranks.npz"


def test_scores_are_kept_on_request_and_average_as_those_of_the_run(runs, trained):
    store, folders, scores = runs
    with pytest.raises(InvalidRecord, match=rf"itm rescore {folders[0].name} --save-scores --results"):
        record_ensemble(store, [folder.name for folder in folders])
    for folder, kept in zip(folders, scores, strict=True):
        before = (folder / "record.json").read_bytes()
        assert rescore(store, folder.name, [], save_scores=True).metrics == {}
        np.testing.assert_array_equal(np.load(folder / SCORES), kept)
        assert (folder / "record.json").read_bytes() == before
        assert rescore(store, folder.name, ["full"], save_scores=True).source == SCORES  # there already
    ids = [folder.name for folder in folders]
    assert record_ensemble(store, ids).metrics == record_ensemble(trained[0], ids).metrics


def test_weights_of_another_run_are_refused_by_the_number_that_differs(runs):
    store, (folder, other), _ = runs
    shutil.copy(other / "model.safetensors", folder / "model.safetensors")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(
        InvalidRecord, match=r"record\.json says \S+ = \S+ on full, model\.safetensors gives .*\(made on .*; now on "
    ):
        rescore(store, folder.name, ["scenes_relevance"], save_scores=True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_data_that_changed_and_damaged_weights_are_refused(runs):
    store, (folder, _), _ = runs
    with pytest.raises(InvalidDataset, match="are not those of run"):
        rescore(store, folder.name, ["scenes_relevance"], options={"seed": 1})
    (folder / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(InvalidCheckpoint, match=r"model\.safetensors"):
        rescore(store, folder.name, ["scenes_relevance"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "evaluation.save_scores=true"),
        ({"origin": "foreign"}, "added from results of other code.*itm add --save-scores"),
        ({"code_origin": "ensemble", "evaluation": {"ensemble": ["a", "b"]}}, "itm ensemble"),
    ],
)
def test_runs_without_scores_and_weights_say_what_would_make_them(runs, changes, message):
    store, (folder, other), _ = runs
    path = folder / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    (folder / "model.safetensors").unlink()
    for call in (
        lambda: rescore(store, folder.name, [], save_scores=True),
        lambda: rescore(store, folder.name, ["scenes_relevance"]),
        lambda: record_ensemble(store, [folder.name, other.name]),
    ):
        with pytest.raises(InvalidRecord, match=rf"no scores\.npy.*{message}"):
            call()
