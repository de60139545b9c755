"""A watched test split changes no weight and no number, and says what choosing the epoch on it would have bought."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from harness.records.parts import Epoch, Training
from harness.records.run import RunRecord
from harness.records.store import RunStore
from harness.reports.runs.evidence import bonus_of_the_test_split, bonus_sentence
from harness.reports.runs.groups import groups
from harness.runs.cell import run_cell
from harness.runs.planning import plan
from harness.spec import Experiment, build


def trained(tiny, folder, **evaluation):
    """The one run of an experiment, with the store that it lies in."""
    experiment = build(Experiment, {**tiny, "evaluation": {**tiny["evaluation"], **evaluation}}, "test")
    (cell,) = plan(experiment)
    store = RunStore(folder)
    store.prepare()
    record, code = run_cell(cell, store, torch.device("cpu"))
    assert code == 0, record.error
    return store, record


@pytest.fixture
def both(tiny, tmp_path):
    return trained(tiny, tmp_path / "plain"), trained(tiny, tmp_path / "watched", watch_test=True)


def test_a_watched_run_has_the_weights_and_numbers_of_one_that_is_not(both):
    (store, plain), (_, watched) = both
    assert plain.run_id != watched.run_id
    assert plain.metrics == watched.metrics
    assert plain.validation == watched.validation
    assert [epoch.losses for epoch in plain.training.history] == [epoch.losses for epoch in watched.training.history]
    weights = [load_file(s.folder(r.run_id) / "model.safetensors") for s, r in both]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    ranks = [s.ranks(r.run_id)["full"] for s, r in both]
    np.testing.assert_array_equal(ranks[0].t2i_rank, ranks[1].t2i_rank)

    # What was seen of the kept epoch is what is reported.
    kept = watched.training.history[watched.validation["epoch"] - 1]
    assert kept.watched["rsum"] == pytest.approx(watched.metrics["full"]["rsum"])
    course = [epoch.watched["rsum"] for epoch in watched.training.history]
    assert bonus_of_the_test_split(watched) == pytest.approx(max(course) - kept.watched["rsum"])

    # The other says nothing, and they are seeds of one method all the same.
    assert bonus_of_the_test_split(plain) is None
    assert bonus_sentence([plain]) == ""
    assert "watched" not in (store.folder(plain.run_id) / "record.json").read_text()
    ((group,),) = groups([plain, watched.model_copy(update={"seed": 1})]).values()
    assert group.seeds == (0, 1)


def test_what_was_watched_survives_a_training_that_is_stopped_and_resumed(tiny, tmp_path):
    _, whole = trained(tiny, tmp_path / "whole", watch_test=True)
    experiment = build(Experiment, {**tiny, "evaluation": {**tiny["evaluation"], "watch_test": True}}, "test")
    (cell,) = plan(experiment)
    store = RunStore(tmp_path / "stopped")
    store.prepare()

    def stop(epoch):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_cell(cell, store, torch.device("cpu"), stop)
    resumed, _ = run_cell(cell, store, torch.device("cpu"))
    assert [epoch.watched for epoch in resumed.training.history] == [epoch.watched for epoch in whole.training.history]


def test_several_devices_watch_the_same_and_keep_their_weights(tiny, tmp_path):
    (plain_store, plain), (store, watched) = (
        trained({**tiny, "devices": 2}, tmp_path / name, **more)
        for name, more in (("plain", {}), ("watched", {"watch_test": True}))
    )
    weights = [load_file(s.folder(r.run_id) / "model.safetensors") for s, r in ((plain_store, plain), (store, watched))]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert plain.metrics == watched.metrics
    kept = watched.training.history[watched.validation["epoch"] - 1]
    assert kept.watched["rsum"] == pytest.approx(watched.metrics["full"]["rsum"])
    assert all(epoch.watched for epoch in watched.training.history)


def record(course, kept) -> RunRecord:
    history = tuple(Epoch(epoch=n, watched={"rsum": rsum}) for n, rsum in enumerate(course))
    return RunRecord(
        run_id="0" * 16, scorer="x", backbone="b", dataset="d", protocols=("full",), seed=0, data_sha256="0" * 64,
        status="finished", started="2026", validation={"epoch": kept}, training=Training(epochs=3, history=history),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("course", "kept", "bonus"), [([100, 120, 110], 3, 10), ([100, 120, 110], 2, 0), ([1, 2], 3, None), ([], 1, None)]
)
def test_the_bonus_is_the_best_epoch_minus_the_kept_one(course, kept, bonus):
    assert bonus_of_the_test_split(record(course, kept)) == bonus


def test_the_sentence_never_takes_it_for_the_result():
    said = bonus_sentence([record([100, 120, 110], 3), record([100, 104], 1)])
    assert said.startswith("choosing the epoch on the test split would have bought 7.0 rSum here (mean of 2 runs)")
    assert "the epoch that the validation split chose" in said
