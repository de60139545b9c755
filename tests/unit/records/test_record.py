"""Records: round trip, atomic writing, and what a damaged or foreign file does."""

from __future__ import annotations

import json

import numpy as np
import pytest

from harness.errors import InvalidRecord, ResultsNotWritable
from harness.files.writing import atomic_path
from harness.records.ranks import RankTable
from harness.records.run import RunRecord
from harness.records.store import RunStore


def _record(**changes) -> RunRecord:
    values = {
        "run_id": "abc",
        "scorer": "scan",
        "backbone": "regions+bigru",
        "dataset": "scenes",
        "protocols": ["full"],
        "seed": 0,
        "metrics": {"full": {"rsum": 300.5}},
        "data_sha256": "0" * 64,
        "status": "finished",
        "started": "2026-01-01T00:00:00+00:00",
    }
    return RunRecord(**{**values, **changes})


def _table() -> RankTable:
    return RankTable(
        i2t_rank=np.array([0, 1]),
        i2t_ties=np.array([0, 1]),
        i2t_image_id=np.array(["a", "b"]),
        i2t_caption_id=np.array(["a#0", "b#1"]),
        t2i_rank=np.array([1, 0, 1]),
        t2i_ties=np.zeros(3, dtype=int),
        t2i_caption_id=np.array(["b#1", "a#0", "b#0"]),
        t2i_image_id=np.array(["b", "a", "b"]),
        i2t_fold=np.zeros(2, dtype=int),
        t2i_fold=np.zeros(3, dtype=int),
    )


def test_round_trip(tmp_path):
    store = RunStore(tmp_path)
    store.write(_record())
    store.write_ranks("abc", {"full": _table(), "coco_1k": _table()})
    assert store.read("abc") == _record()
    assert store.finished("abc") == _record()
    tables = store.ranks("abc")
    assert list(tables) == ["full", "coco_1k"]
    assert tables["full"].caption_image.tolist() == [1, 0, 1]
    np.testing.assert_array_equal(tables["coco_1k"].t2i_rank, [1, 0, 1])


def test_a_run_that_is_missing_failed_or_damaged_is_not_finished(tmp_path):
    store = RunStore(tmp_path)
    assert store.finished("abc") is None
    store.write(_record(status="failed", error="why"))
    assert store.finished("abc") is None
    (store.folder("abc") / "record.json").write_text('{"schema_version": 1, "run')
    assert store.finished("abc") is None
    with pytest.raises(InvalidRecord, match=r"cannot read .*delete the run's folder"):
        store.read("abc")


def test_another_schema_version_is_named(tmp_path):
    store = RunStore(tmp_path)
    store.write(_record())
    path = store.folder("abc") / "record.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 99}))
    with pytest.raises(InvalidRecord, match="schema version 99, expected 1"):
        store.read("abc")


@pytest.mark.parametrize("content", [b"", b"not a zip", None])
def test_damaged_ranks(tmp_path, content):
    store = RunStore(tmp_path)
    store.write(_record())
    if content is not None:
        (store.folder("abc") / "ranks.npz").write_bytes(content)
    with pytest.raises(InvalidRecord, match=r"ranks\.npz"):
        store.ranks("abc")


def test_pickled_ranks_are_refused(tmp_path):
    store = RunStore(tmp_path)
    store.write(_record())
    np.savez(store.folder("abc") / "ranks.npz", **{"full/i2t_rank": np.array([{"a": 1}], dtype=object)})
    with pytest.raises(InvalidRecord):
        store.ranks("abc")


def test_a_write_that_fails_leaves_the_old_file_and_no_trace(tmp_path):
    target = tmp_path / "file.txt"
    target.write_text("old")
    with pytest.raises(UnicodeEncodeError), atomic_path(target) as path:
        path.write_text("half \udcff", encoding="utf-8")
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"]


def test_an_unwritable_results_folder_is_found_before_any_work(tmp_path):
    (tmp_path / "results").write_text("a file, not a folder")
    with pytest.raises(ResultsNotWritable, match="choose another with --results"):
        RunStore(tmp_path / "results").prepare()
