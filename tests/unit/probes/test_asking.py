"""Putting probes to runs: what is kept, what is asked again, and what one failure leaves of the others."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import torch
from questions import ShortCaptions

from harness import datasets
from harness.errors import InvalidDataset
from harness.executors.choice import Placement
from harness.metrics import ranks
from harness.probes.run import ask
from harness.probes.work import Inquiry
from harness.runs.trained import scorer_of
from harness.scoring import encode_split, similarity_matrix

CPU = torch.device("cpu")


@pytest.fixture
def ids(store):
    return {record.scorer: record.run_id for record in store.records()}


def put(store, ids, plan=ShortCaptions(), workers=1):  # noqa: B008 - frozen
    return ask(Inquiry(store.results, tuple(ids.values()), plan, {}), Placement("local", workers, "cpu", (), {}), CPU)


def test_answers_are_the_ranks_of_each_level(store, ids):
    assert put(store, ids).missing == ()
    for run_id in ids.values():
        table, record = store.outcomes(run_id, "captions", "shortened"), store.require(run_id)
        split = datasets.open_dataset(record.spec["dataset"]).split("test")
        scorer = scorer_of(store, record, CPU)
        short = ShortCaptions().probes(datasets.open_dataset(record.spec["dataset"]), "test")[0].short
        for level, shown in enumerate((split, short)):
            i2t, t2i = ranks(similarity_matrix(scorer, *encode_split(scorer, shown)), split.caption_image)
            np.testing.assert_array_equal(table.measure("i2t_rank").values[level], i2t)
            np.testing.assert_array_equal(table.measure("t2i_rank").values[level], t2i)
        np.testing.assert_array_equal(table.measure("i2t_rank").values[0], store.ranks(run_id)["full"].i2t_rank)
        owners = np.asarray(split.image_ids)[split.caption_image]
        np.testing.assert_array_equal(table.measure("t2i_rank").image, owners)


def test_what_was_answered_is_not_asked_again(store, ids):
    put(store, ids)
    paths = [store.outcomes_path(run_id, "captions", "shortened") for run_id in ids.values()]
    before = [path.stat().st_mtime_ns for path in paths]
    put(store, ids)
    assert [path.stat().st_mtime_ns for path in paths] == before


def test_other_weights_are_asked_again(store, ids):
    put(store, ids)
    path, model = (
        store.outcomes_path(ids["scan"], "captions", "shortened"),
        store.folder(ids["scan"]) / "model.safetensors",
    )
    model.write_bytes(model.read_bytes())  # the same bytes at another time: nothing changed
    before = path.stat().st_mtime_ns
    put(store, ids)
    assert path.stat().st_mtime_ns == before
    about = store.outcomes(ids["scan"], "captions", "shortened").about
    arrays = dict(np.load(path))
    arrays["about"] = np.asarray(json.dumps(about.model_dump(mode="json") | {"model_sha256": "0" * 64}))
    np.savez(path, **arrays)
    put(store, ids)
    assert store.outcomes(ids["scan"], "captions", "shortened").about == about.model_copy(
        update={"seconds": store.outcomes(ids["scan"], "captions", "shortened").about.seconds}
    )


def test_a_damaged_file_is_set_aside_and_made_again(store, ids):
    put(store, ids)
    path = store.outcomes_path(ids["clip"], "captions", "shortened")
    path.write_bytes(b"half")
    assert put(store, ids).missing == ()
    assert store.outcomes(ids["clip"], "captions", "shortened") is not None
    assert len(list(path.parent.iterdir())) == 2  # the damaged one lies beside it


def test_a_refusal_is_kept_as_one(store, ids):
    assert put(store, ids, ShortCaptions(refuses="clip")).missing == ()
    table = store.outcomes(ids["clip"], "captions", "shortened")
    assert table.about.refused == "it reads no short captions"
    assert table.measures == ()
    assert store.outcomes(ids["scan"], "captions", "shortened").about.refused == ""


def test_one_failure_leaves_the_others_their_answers(store, ids, caplog):
    with caplog.at_level(logging.ERROR):
        asked = put(store, ids, ShortCaptions(fails="scan"))
    assert [missing.split(": ")[1] for missing in asked.missing] == ["captions/shortened"]
    assert "these captions are too short" in caplog.text
    assert store.outcomes(ids["clip"], "captions", "shortened") is not None


def test_a_run_without_a_model_is_told(store, ids):
    (store.folder(ids["scan"]) / "model.safetensors").unlink()
    asked = put(store, ids)
    assert asked.without_model == ("scan",)
    assert store.outcomes(ids["scan"], "captions", "shortened") is None
    assert store.outcomes(ids["clip"], "captions", "shortened") is not None


def test_other_data_are_refused(store, ids):
    inquiry = Inquiry(store.results, tuple(ids.values()), ShortCaptions(), {"seed": 5})
    with pytest.raises(InvalidDataset):
        ask(inquiry, Placement("local", 1, "cpu", (), {}), CPU)
