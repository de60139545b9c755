"""Files that are read back: whatever happened to one, it is one clear complaint, never another number."""

from __future__ import annotations

import io
import json
import os
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from harness import protocols
from harness.errors import InvalidRecord
from harness.files import reading
from harness.files.reading import Damaged, read_arrays, read_json
from harness.protocols.folds import FoldProtocol
from harness.records.ranks import NAMES, OWN_GALLERY, RankTable, check_table
from harness.records.run import RunRecord
from harness.records.store import RunStore

RUN = "0123456789abcdef"

# JSON -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not valid JSON"),
        (b'{"a": 1', "not valid JSON"),
        (b"\xff\xfe\x00", r"not valid JSON: byte 0 \(0xff\) is not UTF-8; save the file as UTF-8"),
        (b'{"a": 1, "a": 2}', "the key 'a' stands twice"),
        (b'{"a": NaN}', "holds NaN"),
        (b"[1, -Infinity]", "holds -Infinity"),
        (b'{"a": 1e999}', "1e999, which is not a finite number"),
        (b"9" * 5000, "not valid JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b" " * 200, "200 bytes, expected at most 100"),
    ],
    ids=lambda value: repr(value[:12]) if isinstance(value, bytes) else None,
)
def test_json_is_read_strictly(tmp_path, content, message):
    path = tmp_path / "file.json"
    path.write_bytes(content)
    with pytest.raises(Damaged, match=message):
        read_json(path, largest=100 if len(content) == 200 else reading.LARGEST_JSON)


def test_what_is_no_file_is_refused_without_waiting(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    for name, message in (
        ("folder", "it is a folder"),
        ("pipe", "no regular file"),
        ("missing", "No such file"),
        ("loop", "Too many levels"),
    ):
        for read in (read_json, read_arrays):
            with pytest.raises(Damaged, match=message):
                read(tmp_path / name)


def test_a_byte_order_mark_is_no_content(tmp_path):
    (tmp_path / "file.json").write_text('{"a": 1}', encoding="utf-8-sig")
    assert read_json(tmp_path / "file.json") == {"a": 1}


# Arrays ---------------------------------------------------------------------------------------------------------------


def archive(path, members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)


def npy(array, **settings):
    buffer = io.BytesIO()
    np.save(buffer, array, **settings)
    return buffer.getvalue()


def test_arrays_come_back_as_they_were(tmp_path):
    arrays = {"p/a": np.arange(6).reshape(2, 3), "b": np.array(["x", "yz"]), "f": np.asfortranarray(np.eye(3))}
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    found = read_arrays(tmp_path / "a.npz")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
        assert found[name].flags.writeable


def test_damaged_archives(tmp_path):
    path = tmp_path / "a.npz"
    good = {"a.npy": npy(np.arange(1000))}
    archive(path, good)
    whole = path.read_bytes()
    header = npy(np.zeros(2))
    cases = {
        "truncated": (whole[:-40], "not a whole .npz"),
        "empty": (b"", "not a whole .npz"),
        "a npy": (npy(np.zeros(3)), "not a whole .npz"),
        "a flipped byte": (
            whole[:90] + bytes([whole[90] ^ 0xFF]) + whole[91:],
            "not a whole .npz|unknown format|its shape",
        ),
        "objects": ({"a.npy": npy(np.array([{}], dtype=object), allow_pickle=True)}, "Python objects"),
        "no array": ({"evil.py": b"x"}, "which is no array"),
        "a shape that lies": ({"a.npy": header.replace(b"(2,)", b"(9,)")}, "its shape"),
        "a shape that wants all memory": (
            {"a.npy": npy(np.zeros(10**5, dtype="i1")).replace(b"(100000,)", b"(10**14,)")},
            "not a whole .npz",
        ),
        "a bomb": ({"a.npy": npy(np.zeros(2 * 10**6))}, "unpacks to 16,000,128 bytes, expected at most 1,000,000"),
    }
    for name, (content, message) in cases.items():
        archive(path, content) if isinstance(content, dict) else path.write_bytes(content)
        with pytest.raises(Damaged, match=message):
            pytest.fail(f"{name}: {read_arrays(path, largest=10**6)}")


# Ranks ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def table() -> RankTable:
    """Four images with two captions each, in two folds."""
    images, owner = np.array(["i0", "i1", "i2", "i3"]), np.repeat(np.arange(4), 2)
    captions = np.array([f"c{k}" for k in range(8)])
    return RankTable(
        i2t_rank=np.array([0, 2, 1, 0]),
        i2t_ties=np.array([0, 1, 1, 0]),
        i2t_image_id=images,
        i2t_caption_id=captions[::2],
        t2i_rank=np.array([0, 1, 0, 1, 0, 0, 0, 1]),
        t2i_ties=np.array([0, 1, 0, 0, 0, 0, 0, 1]),
        t2i_caption_id=captions,
        t2i_image_id=images[owner],
        i2t_fold=np.array([0, 0, 1, 1]),
        t2i_fold=np.array([0, 0, 0, 0, 1, 1, 1, 1]),
    )


def changed(table, name, row, value):
    column = getattr(table, name).copy()
    column[row] = value
    return replace(table, **{name: column})


def test_protocols_whose_gallery_is_their_own_queries_are_the_fold_protocols():
    assert set(OWN_GALLERY) == {n for n in protocols.PROTOCOLS if isinstance(protocols.get(n), FoldProtocol)}


def test_a_table_of_an_evaluation_is_accepted(table):
    for ties in ("", "pessimistic"):
        check_table(table, "full", ties)
    draw = np.random.default_rng(0)
    owner = np.repeat(np.arange(6), 3)
    problem = {
        "caption_image": owner,
        "image_ids": [f"i{k}" for k in range(6)],
        "caption_ids": [f"c{k}" for k in range(18)],
    }
    for ties in ("pessimistic", "optimistic", "expected"):
        for scores in (np.ones((6, 18)), draw.integers(0, 3, (6, 18)), draw.normal(size=(6, 18))):
            found = protocols.evaluate("full", scores.astype(float), ties=ties, **problem)
            check_table(found.ranks, "full", ties)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda t: changed(t, "i2t_rank", 0, -1), "holds -1; ranks count from 0"),
        (lambda t: changed(t, "t2i_rank", 3, -3), "holds -3"),
        (lambda t: replace(t, i2t_rank=np.array([0.5, 2, 1, 0])), "holds 0.5; ranks are whole"),
        (lambda t: replace(t, t2i_rank=t.t2i_rank + 0.25), "holds 0.25; ranks are whole"),
        (lambda t: replace(t, i2t_rank=np.array([np.nan, 2, 1, 0])), "holds nan"),
        (lambda t: replace(t, i2t_rank=np.array([np.inf, 2, 1, 0])), "holds inf"),
        (lambda t: changed(t, "i2t_rank", 1, 3), "holds 3, with 1 ties, where the gallery has 2 incorrect"),
        (lambda t: changed(t, "t2i_rank", 0, 2), "where the gallery has 1 incorrect"),
        (lambda t: changed(t, "t2i_ties", 1, -1), "negative number of ties"),
        (lambda t: changed(t, "i2t_fold", 0, -1), "negative fold"),
        (lambda t: changed(t, "t2i_fold", 0, 1), "image 'i0' is in fold 0, its caption in fold 1"),
        (lambda t: changed(t, "i2t_image_id", 1, "i0"), "i2t_image_id names a query twice"),
        (lambda t: changed(t, "t2i_caption_id", 1, "c0"), "t2i_caption_id names a query twice"),
        (lambda t: changed(t, "t2i_image_id", 0, "ix"), "not both"),
        (lambda t: changed(t, "i2t_caption_id", 0, "cx"), "not in the gallery"),
        (lambda t: replace(t, i2t_rank=t.i2t_rank[:3]), "i2t_ties has 4 values, i2t_rank 3"),
        (lambda t: replace(t, t2i_rank=t.t2i_rank[:, None]), r"shape \(8, 1\)"),
        (lambda t: replace(t, i2t_rank=np.array(["0", "2", "1", "0"])), "i2t_rank is <U1"),
        (lambda t: replace(t, t2i_ties=t.t2i_ties.astype(float)), "t2i_ties is float64"),
        (lambda t: replace(t, t2i_image_id=np.zeros(8, bool)), "t2i_image_id is bool"),
        (lambda t: replace(t, **{n: getattr(t, n)[:0] for n in NAMES}), "no query"),
    ],
)  # fmt: skip
def test_ranks_that_no_evaluation_gives_are_refused(table, damage, message):
    with pytest.raises(Damaged, match=message):
        check_table(damage(table), "full")


def test_ranks_that_the_tie_rule_of_the_run_does_not_give_are_refused(table):
    check_table(replace(table, i2t_rank=np.array([0, 1.5, 1, 0])), "full")
    check_table(replace(table, i2t_rank=np.array([0, 1.5, 1, 0])), "full", "expected")
    with pytest.raises(Damaged, match=r"holds 1\.5; ranks are whole"):
        check_table(replace(table, i2t_rank=np.array([0, 1.5, 1, 0])), "full", "optimistic")
    with pytest.raises(Damaged, match="less than that query's ties"):
        check_table(changed(table, "i2t_rank", 1, 0), "full", "pessimistic")


# Records --------------------------------------------------------------------------------------------------------------


def record(**changes) -> dict:
    values = {
        "run_id": RUN,
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
    return RunRecord(**(values | changes)).model_dump(mode="json")


def write(store, values, folder=RUN):
    path = store.folder(folder) / "record.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(values if isinstance(values, str) else json.dumps(values))
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"run_id": "../../../EVIL"}, "is of run '../../../EVIL', but lies in folder"),
        ({"run_id": "/tmp/evil"}, "is of run '/tmp/evil'"),
        ({"run_id": "fedcba9876543210"}, "give the folder its run's name"),
        ({"run_id": 3}, "'run_id'"),
        ({"metrics": {"full": {"rsum": "much"}}}, "'metrics.full.rsum'"),
        ({"metrics": {"full": {"i2t_r1": 100.5}}}, "must be 0 to 100"),
        ({"metrics": {"full": {"rsum": -1}}}, "must be 0 to 600"),
        ({"metrics": [1]}, "'metrics'"),
        ({"seed": "many"}, "'seed'"),
        ({"cost": {"query_ms_p50": None}}, "'cost.query_ms_p50'"),
        ({"seed": "x"}, "'seed' must be a number, got 'x'"),
        ({"status": "great"}, "'status'"),
        ({"surprise": 1}, "'surprise'"),
        ({"schema_version": 99}, "schema version 99, expected 1"),
        ({"schema_version": True}, "schema version True"),
    ],
)
def test_a_record_that_is_wrong_says_where(tmp_path, change, message):
    store = RunStore(tmp_path)
    write(store, record() | change)
    with pytest.raises(InvalidRecord, match=message):
        store.read(RUN)
    assert store.finished(RUN) is None


def test_a_folder_in_place_of_a_record_is_damaged_not_missing(tmp_path):
    store = RunStore(tmp_path)
    (store.folder(RUN) / "record.json").mkdir(parents=True)
    with pytest.raises(InvalidRecord, match="it is a folder"):
        store.read(RUN)


def test_one_damaged_record_does_not_take_the_others_away(tmp_path, caplog):
    store = RunStore(tmp_path)
    write(store, record())
    write(store, '{"schema_version": 1, "run', "fedcba9876543210")
    write(store, record(run_id="../x"), "aaaaaaaaaaaaaaaa")
    assert [found.run_id for found in store.records()] == [RUN]
    lines = [log.getMessage() for log in caplog.records]
    assert len(lines) == 2
    assert all("a run is left out" in line for line in lines)
