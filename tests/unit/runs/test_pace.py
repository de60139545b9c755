"""How long the rest of a plan takes: worked examples in round seconds."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from harness.records.parts import Training
from harness.runs.pace import Pace, time_to_finish
from harness.runs.planning import check
from harness.runs.telling import distinct_titles
from harness.spec import RunSpec, load_experiment


@pytest.fixture
def cells(tiny) -> list[RunSpec]:
    """scan, vsepp, chan of seed 0, then of seed 1; 4 epochs each."""
    values = {**tiny, "scorers": ["scan", "vsepp", "chan"], "training": {"epochs": 4}}
    drafts = check(load_experiment(values)).values()
    return [draft.model_copy(update={"seed": seed}) for seed in (0, 1) for draft in drafts]


class Clock:
    """Stands until it is moved."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def run(pace: Pace, cell: RunSpec, epoch_seconds: float, tail: float) -> None:
    pace.start(cell)
    for number in range(1, cell.training.epochs + 1):
        pace.epoch(cell, number, epoch_seconds)
    pace.end(cell, cell.training.epochs * epoch_seconds + tail)


def test_nothing_is_known_before_the_first_epoch(cells, clock):
    pace = Pace(cells, clock=clock)
    assert (pace.run_left(cells[0]), pace.all_left()) == (None, None)
    pace.start(cells[0])
    assert (pace.run_left(cells[0]), pace.all_left()) == (None, None)


def test_the_first_epoch_tells_of_all_runs(cells, clock):
    pace = Pace(cells, clock=clock)
    pace.start(cells[0])
    pace.epoch(cells[0], 1, 10.0)
    assert pace.run_left(cells[0]) == 30.0
    assert pace.all_left() == 30.0 + 5 * 40.0  # the others count as runs of its kind


def test_a_run_that_ended_tells_of_the_next_seed_and_of_its_evaluation(cells, clock):
    pace = Pace(cells, clock=clock)
    run(pace, cells[0], 10.0, tail=5.0)  # 45 s
    run(pace, cells[1], 1.0, tail=1.0)  # 5 s
    assert pace.all_left() == 45.0 + 5.0 + 2 * 25.0  # chan is unknown: the mean of the two kinds
    pace.start(cells[3])
    assert pace.run_left(cells[3]) is None
    assert pace.all_left() == 45.0 + 5.0 + 2 * 25.0
    pace.epoch(cells[3], 1, 20.0)
    assert pace.run_left(cells[3]) == 60.0 + 5.0


def test_a_resumed_run_is_judged_by_the_epochs_of_this_call(cells, clock):
    pace = Pace(cells[:1], clock=clock)
    pace.start(cells[0])
    pace.epoch(cells[0], 3, 10.0)
    assert pace.run_left(cells[0]) == pace.all_left() == 10.0
    pace.epoch(cells[0], 4, 10.0)
    pace.end(cells[0], 25.0)
    assert pace.all_left() == 0.0


def test_times_of_a_resumed_run_are_not_those_of_a_whole_one(cells, clock):
    pace = Pace([cells[0], cells[3]], clock=clock)
    pace.start(cells[0])
    pace.epoch(cells[0], 4, 10.0)
    pace.end(cells[0], 12.0)
    assert pace.all_left() is None


def test_a_run_that_failed_or_that_another_command_ran_is_left_out(cells, clock):
    pace = Pace([cells[0], cells[3], cells[4]], clock=clock)
    run(pace, cells[0], 10.0, tail=0.0)
    pace.start(cells[3])
    pace.end(cells[3])
    assert pace.all_left() == 40.0
    pace.end(cells[4])
    assert pace.all_left() == 0.0


def test_recorded_runs_tell_until_a_run_of_their_kind_has_ended_here(cells, clock):
    record = SimpleNamespace(training=Training(epochs=4, seconds=100.0))
    pace = Pace(cells[3:], [(cells[0], record), (cells[1], record)], clock=clock)
    assert pace.all_left() == 300.0
    run(pace, cells[3], 2.0, tail=2.0)  # 10 s here
    assert pace.all_left() == 100.0 + 55.0  # vsepp by its record, chan by the mean of 10 and 100


def test_times_pass_between_two_epochs(cells, clock):
    """An epoch that is late does not eat into those that follow it."""
    pace = Pace(cells[:1], clock=clock)
    pace.start(cells[0])
    pace.epoch(cells[0], 1, 10.0)
    for seconds, left in [(0.0, 30.0), (4.0, 26.0), (10.0, 20.0), (60.0, 20.0)]:
        clock.seconds = seconds
        assert pace.run_left(cells[0]) == pace.all_left() == left


def test_two_workers_share_what_waits(cells, clock):
    pace = Pace(cells, workers=2, clock=clock)
    run(pace, cells[0], 10.0, tail=5.0)  # scan 45 s
    run(pace, cells[1], 1.0, tail=1.0)  # vsepp 5 s; chan counts as 25 s
    # chan 25, scan 45, then vsepp 5 and chan 25 in the worker of the first: 25 + 5 + 25
    assert pace.all_left() == 55.0
    pace.start(cells[2])
    pace.start(cells[3])
    clock.seconds = 20.0
    pace.epoch(cells[2], 2, 5.0)  # 10 s left, and chan is known to take 20 s
    pace.epoch(cells[3], 2, 10.0)  # 20 s and its tail of 5 s left
    assert (pace.run_left(cells[2]), pace.run_left(cells[3])) == (10.0, 25.0)
    assert pace.all_left() == 10.0 + 5.0 + 20.0
    clock.seconds = 28.0
    assert (pace.run_left(cells[2]), pace.run_left(cells[3])) == (2.0 + 3.0, 17.0)  # the first one's epoch is late
    pace.workers = 1  # one was taken away: it ends its run, though
    assert pace.all_left() == 5.0 + 5.0 + 20.0


def test_more_workers_than_runs_wait_for_the_longest(cells, clock):
    pace = Pace(cells, workers=64, clock=clock)
    pace.start(cells[0])
    pace.epoch(cells[0], 1, 10.0)
    pace.start(cells[1])
    clock.seconds = 10.0
    pace.epoch(cells[1], 1, 1.0)
    assert pace.all_left() == 40.0  # the second seed of scan, which nobody has yet


def test_runs_of_other_commands_are_waited_for_and_their_workers_help(cells, clock):
    pace = Pace(cells, clock=clock)
    run(pace, cells[0], 10.0, tail=0.0)
    pace.start(cells[1])
    pace.start(cells[2], ours=False)
    pace.epoch(cells[2], 2, 10.0)
    # ours takes 40, theirs 20; then theirs takes 40 and ours 40, and theirs the last 40
    assert pace.all_left() == 20.0 + 40.0 + 40.0
    pace.stop(cells[2])  # it was killed: ours has five runs to do
    assert pace.all_left() == 5 * 40.0


def test_a_run_whose_worker_died_waits_again(cells, clock):
    pace = Pace(cells[:2], workers=2, clock=clock)
    for cell in cells[:2]:
        pace.start(cell)
        pace.epoch(cell, 1, 10.0)
    pace.stop(cells[0])
    assert pace.run_left(cells[0]) is None
    assert pace.all_left() == 40.0  # by the worker that is free, from the beginning as far as is known
    pace.start(cells[0])
    pace.epoch(cells[0], 2, 10.0)
    assert pace.all_left() == 30.0


@pytest.mark.parametrize("seed", range(20))
def test_the_time_to_finish_is_that_of_a_simulation_second_by_second(seed):
    draw = np.random.default_rng(seed)
    busy = draw.integers(0, 30, draw.integers(1, 6)).tolist()
    waiting = draw.integers(1, 40, draw.integers(0, 15)).tolist()

    def simulated() -> int:
        left, queue = list(busy), list(waiting)
        passed = 0
        while any(left) or queue:
            for worker, seconds in enumerate(left):
                if seconds == 0 and queue:
                    left[worker] = queue.pop(0)
            left = [max(0, seconds - 1) for seconds in left]
            passed += 1
        return passed

    assert time_to_finish(busy, waiting) == simulated()


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
