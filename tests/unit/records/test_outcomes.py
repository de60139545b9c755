"""Outcomes: written and read back whole, and refused where nobody can have written them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from harness.errors import InvalidRecord
from harness.records.outcomes import About, Measure, OutcomeTable, read_outcomes, write_outcomes
from harness.records.store import RunStore

ABOUT = {
    "run_id": "ab12",
    "family": "images",
    "name": "blur",
    "axis": "severity",
    "levels": ("0", "3"),
    "values": (0.0, 3.0),
    "inputs": {"data": "00", "seed": 1},
    "inputs_sha256": "11",
    "model_sha256": "22",
}


def table(**changes) -> OutcomeTable:
    values = np.array([[0.0, 4.0, np.nan], [2.0, np.nan, 7.0]])
    measure = Measure("i2t_rank", "rank", np.array(["a", "b", "c"]), np.array(["a", "a", "c"]), values)
    return OutcomeTable(About(**ABOUT, **changes), (measure,))


def test_what_is_written_is_read_back(tmp_path):
    store, written = RunStore(tmp_path), table(counts={"images": 2}, remarks=("2 of 3 pictures",))
    store.write_outcomes(written)
    found = store.outcomes("ab12", "images", "blur")
    assert found.about == written.about
    for key in ("item", "image", "values"):
        np.testing.assert_array_equal(getattr(found.measure("i2t_rank"), key), getattr(written.measures[0], key))
    assert found.measure("t2i_rank") is None
    assert store.outcomes("ab12", "images", "noise") is None
    assert store.probes("ab12") == [("images", "blur")]
    assert store.probes("none") == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"about": None}, "does not say what it is about"),
        ({"about": "[1]"}, "schema version None"),
        ({"about": {"schema_version": 2}}, "schema version 2, this version reads 1"),
        ({"about": {"values": (0.0,)}}, "2 levels need as many finite values"),
        ({"about": {"family": "../images"}}, "must be names"),
        ({"about": {"surprise": 1}}, "surprise"),
        ({"i2t_rank.unit": np.asarray("parsec")}, "unknown unit"),
        ({"i2t_rank.item": np.array(["a", "a", "c"])}, "names an item twice"),
        ({"i2t_rank.item": np.array([1, 2, 3])}, "expected a list of ids"),
        ({"i2t_rank.item": None}, "lacks item"),
        ({"i2t_rank.values": np.zeros((1, 3))}, "expected numbers (2, 3)"),
        ({"i2t_rank.values": np.full((2, 3), -1.0)}, "which no rank does"),
        ({"i2t_rank.values": np.full((2, 3), np.inf)}, "which no rank does"),
        ({"i2t_rank.unit": np.asarray("share")}, "which no share does"),
    ],
)
def test_a_table_that_cannot_be_is_refused(tmp_path, changes, problem):
    path = tmp_path / "table.npz"
    write_outcomes(path, table())
    arrays = dict(np.load(path))
    about = json.loads(str(arrays["about"]))
    for key, value in changes.items():
        if key == "about" and isinstance(value, dict):
            value = json.dumps(about | value)
        arrays[key] = np.asarray(value) if isinstance(value, str) else value
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    with pytest.raises(InvalidRecord) as refusal:
        read_outcomes(path, "ab12")
    assert problem in str(refusal.value)
    assert "delete the file to have it made again" in str(refusal.value)


def test_the_table_of_another_run_is_refused(tmp_path):
    write_outcomes(tmp_path / "table.npz", table())
    with pytest.raises(InvalidRecord, match="is of run 'ab12', expected cd34"):
        read_outcomes(tmp_path / "table.npz", "cd34")


def test_half_a_file_is_refused(tmp_path):
    path = tmp_path / "table.npz"
    write_outcomes(path, table())
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InvalidRecord, match="cannot read"):
        read_outcomes(path, "ab12")
