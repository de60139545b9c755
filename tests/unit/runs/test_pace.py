"""How long the rest of a plan takes: worked examples in round seconds."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from harness.records.parts import Training
from harness.runs.pace import Pace
from harness.runs.planning import check
from harness.runs.telling import distinct_titles
from harness.spec import RunSpec, load_experiment


@pytest.fixture
def cells(tiny) -> list[RunSpec]:
    """scan, vsepp, chan of seed 0, then of seed 1; 4 epochs each."""
    values = {**tiny, "scorers": ["scan", "vsepp", "chan"], "training": {"epochs": 4}}
    drafts = check(load_experiment(values)).values()
    return [draft.model_copy(update={"seed": seed}) for seed in (0, 1) for draft in drafts]


def run(pace: Pace, cell: RunSpec, epoch_seconds: float, tail: float) -> None:
    pace.start(cell)
    for number in range(1, cell.training.epochs + 1):
        pace.epoch(number, epoch_seconds)
    pace.end(cell, cell.training.epochs * epoch_seconds + tail)


def test_nothing_is_known_before_the_first_epoch(cells):
    pace = Pace(cells)
    assert (pace.run_left(), pace.all_left()) == (None, None)
    pace.start(cells[0])
    assert (pace.run_left(), pace.all_left()) == (None, None)


def test_the_first_epoch_tells_of_all_runs(cells):
    pace = Pace(cells)
    pace.start(cells[0])
    pace.epoch(1, 10.0)
    assert pace.run_left() == 30.0
    assert pace.all_left() == 30.0 + 5 * 40.0  # the others count as runs of its kind


def test_a_run_that_ended_tells_of_the_next_seed_and_of_its_evaluation(cells):
    pace = Pace(cells)
    run(pace, cells[0], 10.0, tail=5.0)  # 45 s
    run(pace, cells[1], 1.0, tail=1.0)  # 5 s
    assert pace.all_left() == 45.0 + 5.0 + 2 * 25.0  # chan is unknown: the mean of the two kinds
    pace.start(cells[3])
    assert pace.run_left() is None
    assert pace.all_left() == 45.0 + 5.0 + 2 * 25.0
    pace.epoch(1, 20.0)
    assert pace.run_left() == 60.0 + 5.0


def test_a_resumed_run_is_judged_by_the_epochs_of_this_call(cells):
    pace = Pace(cells[:1])
    pace.start(cells[0])
    pace.epoch(3, 10.0)
    assert pace.run_left() == pace.all_left() == 10.0
    pace.epoch(4, 10.0)
    pace.end(cells[0], 25.0)
    assert pace.all_left() == 0.0


def test_times_of_a_resumed_run_are_not_those_of_a_whole_one(cells):
    pace = Pace([cells[0], cells[3]])
    pace.start(cells[0])
    pace.epoch(4, 10.0)
    pace.end(cells[0], 12.0)
    assert pace.all_left() is None


def test_a_run_that_failed_or_that_another_command_ran_is_left_out(cells):
    pace = Pace([cells[0], cells[3], cells[4]])
    run(pace, cells[0], 10.0, tail=0.0)
    pace.start(cells[3])
    pace.end(cells[3])
    assert pace.all_left() == 40.0
    pace.end(cells[4])
    assert pace.all_left() == 0.0


def test_recorded_runs_tell_until_a_run_of_their_kind_has_ended_here(cells):
    record = SimpleNamespace(training=Training(epochs=4, seconds=100.0))
    pace = Pace(cells[3:], [(cells[0], record), (cells[1], record)])
    assert pace.all_left() == 300.0
    run(pace, cells[3], 2.0, tail=2.0)  # 10 s here
    assert pace.all_left() == 100.0 + 55.0  # vsepp by its record, chan by the mean of 10 and 100


def test_runs_of_one_title_are_told_apart_by_what_differs(tiny):
    small = {"name": "bigru", "width": 16}
    values = {
        **tiny,
        "scorers": [
            {"name": "scan", "key": "a", "text": small},
            {"name": "scan", "key": "b", "text": {"name": "transformer", "width": 16}},
            {"name": "vsepp", "key": "c", "training": {"margin": 0.1}},
            {"name": "vsepp", "key": "d", "training": {"margin": 0.3}},
            "chan",
        ],
    }
    drafts = check(load_experiment(values))
    titles = distinct_titles(list(drafts.values()))
    assert [titles[draft.run_id] for draft in drafts.values()] == [
        "scan seed 0 (bigru)",
        "scan seed 0 (small, transformer)",
        "vsepp seed 0 (training.margin=0.1)",
        "vsepp seed 0 (training.margin=0.3)",
        "chan seed 0",
    ]
