"""Lists of runs: filters name what there is, settings are compared within a method, and a run's overview adds up."""

from __future__ import annotations

import pytest

from harness.errors import InvalidSpec, UnknownName
from harness.records.run import RunRecord
from harness.reports.runs.listing import SORTS, Filters, chosen, settings_apart


def record(number, scorer="scan", **more) -> RunRecord:
    spec = {"scorer": scorer, "seed": number, "training": {"epochs": 3}, "dataset": {"name": "scenes"}}
    given = {
        "run_id": f"{number:016x}",
        "scorer": scorer,
        "backbone": "patches+bigru",
        "dataset": "scenes",
        "protocols": ("full",),
        "seed": number,
        "metrics": {"full": {"rsum": 100.0 + number}},
        "data_sha256": "0" * 64,
        "spec": spec,
        "status": "finished",
        "started": f"2026-01-01T00:00:{number:02d}",
    }
    return RunRecord(**{**given, **more})


def ids(records):
    return [int(one.run_id, 16) for one in records]


RUNS = [
    record(0),
    record(1),
    record(2, spec={"scorer": "scan", "seed": 2, "training": {"epochs": 5}, "dataset": {"name": "scenes"}}),
    record(3, "grm", variant="no_uncertainty"),
    record(4, "chan", status="failed", metrics={}, error="out of memory"),
    record(5, "theirs", origin="foreign", dataset="flickr8k"),
]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, [0, 1, 2, 3, 4, 5]),
        ({"scorer": ["scan"]}, [0, 1, 2]),
        ({"scorer": ["scan", "grm"]}, [0, 1, 2, 3]),
        ({"scorer": ["grm.no_uncertainty"]}, [3]),
        ({"status": ["failed"]}, [4]),
        ({"origin": ["foreign"]}, [5]),
        ({"seed": ["1", "5"]}, [1, 5]),
        ({"dataset": ["flickr8k"], "origin": ["foreign"]}, [5]),
        ({"protocol": ["full"]}, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_filters_leave_the_runs_that_pass_all_of_them(values, expected):
    assert ids(chosen(RUNS, Filters(values))) == expected


def test_a_setting_is_named_by_its_dotted_key():
    assert ids(chosen(RUNS, Filters(where={"training.epochs": "5"}))) == [2]
    assert ids(chosen(RUNS, Filters({"scorer": ["scan"]}, {"training.epochs": "3"}))) == [0, 1]


@pytest.mark.parametrize(
    ("filters", "error", "message"),
    [
        (Filters({"scorer": ["scam"]}), UnknownName, "did you mean 'scan'"),
        (Filters({"seed": ["9"]}), UnknownName, "valid: 0, 1, 2, 3, 4, 5"),
        (Filters(where={"training.epoch": "3"}), InvalidSpec, "did you mean 'training.epochs'"),
        (Filters(where={"training.epochs": "4"}), UnknownName, "valid: 3, 5"),
        (Filters({"scorer": ["scan"], "status": ["failed"]}), InvalidSpec, "no run passes all of these filters"),
    ],
)
def test_a_filter_that_no_run_passes_says_what_there_is(filters, error, message):
    with pytest.raises(error, match=message):
        chosen(RUNS, filters)


def test_only_runs_of_one_method_are_told_apart_by_their_settings():
    assert settings_apart(RUNS) == ["epochs=3", "epochs=3", "epochs=5", "", "", ""]


@pytest.mark.parametrize(
    ("order", "expected"),
    [("started", [0, 1, 2, 3, 4, 5]), ("rsum", [5, 3, 2, 1, 0, 4]), ("scorer", [4, 3, 0, 1, 2, 5]), ("seed", [0, 1, 2, 3, 4, 5])],
)  # fmt: skip
def test_orders(order, expected):
    assert ids(sorted(RUNS, key=SORTS[order])) == expected
