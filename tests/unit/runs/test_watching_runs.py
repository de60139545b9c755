"""What a command sees of runs in progress, its own and those of other commands, from the files in their folders."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from harness.executors.base import Seat, Worker
from harness.records.store import RunStore
from harness.runs import experiment
from harness.runs.cell import failed
from harness.runs.planning import check
from harness.runs.progress import ProgressWriter
from harness.runs.telling import Teller
from harness.runs.workers import Watch
from harness.spec import RunSpec, load_experiment
from harness.tracking.base import Tracker
from harness.tracking.observer import Observer, Step
from harness.training.state import Epoch

OURS = "command-ours"


class Heard(Observer):
    """What the observer was told, and the time that is left of the whole."""

    def __init__(self) -> None:
        self.news: list[tuple] = []
        self.all_left: float | None = None

    def started(self, piece: str, steps: int, worker: str = "") -> None:
        self.news.append(("started", piece, worker))

    def stepped(self, piece: str, step: Step) -> None:
        self.news.append(("stepped", piece, step.number))
        self.all_left = step.all_left

    def stopped(self, piece: str) -> None:
        self.news.append(("stopped", piece))

    def ended(self, piece: str, text: str, all_left: float | None = None) -> None:
        self.news.append(("ended", piece, text))


class DeadWorker(Worker):
    """It was killed from outside."""

    exit_code = -9

    def is_alive(self) -> bool:
        return False


@pytest.fixture
def cells(tiny) -> list[RunSpec]:
    values = {**tiny, "scorers": ["scan", "vsepp"], "training": {"epochs": 4}}
    return list(check(load_experiment(values)).values())


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def watch(cells, heard, tmp_path) -> Watch:
    store = RunStore(tmp_path)
    teller = Teller(cells, cells, (), store, Tracker(), heard)
    return Watch(cells, {cell.run_id: ("missing", None) for cell in cells}, store, OURS, teller)


def epoch(number: int) -> Epoch:
    return Epoch(epoch=number - 1, losses={"triplet": 0.5}, validation={"rsum": 100.0}, learning_rate=0.1, seconds=10.0)


def test_a_run_of_another_command_is_shown_while_somebody_has_it(cells, heard, watch, tmp_path):
    store, run = RunStore(tmp_path), cells[0].run_id
    writer = ProgressWriter(store.folder(run), 4, "command-theirs", 1)
    writer.begin()
    watch.poll()
    assert heard.news == []  # a command that was killed left the file
    with ExitStack() as theirs:
        theirs.enter_context(store.claim(run))
        writer.begin()
        watch.poll()
        writer.epoch(epoch(1))
        watch.poll()
        assert heard.news == [("started", "scan seed 0", "another command"), ("stepped", "scan seed 0", 1)]
        # Theirs has 30 s to go; the other run takes 40 s in our worker.
        assert heard.all_left == pytest.approx(40.0, abs=1.0)
    watch.poll()
    assert heard.news[2:] == [("stopped", "scan seed 0")]
    watch.poll()
    assert len(heard.news) == 3  # told once


def test_a_run_goes_on_in_the_worker_that_takes_the_seat_of_a_dead_one(cells, heard, watch, tmp_path):
    store, run = RunStore(tmp_path), cells[0].run_id
    writer = ProgressWriter(store.folder(run), 4, OURS, 2)
    writer.begin()
    watch.poll()
    writer.epoch(epoch(1))
    assert watch.died(DeadWorker(Seat(2)), "")
    again = ProgressWriter(store.folder(run), 4, OURS, 2)
    again.begin()
    again.resumed([epoch(1)])
    watch.poll()
    again.epoch(epoch(2))
    watch.poll()
    store.write(failed(cells[0], "out of luck", "2026-01-01T00:00:00+00:00"))
    watch.poll()
    told = [news if news[0] != "ended" else news[:2] for news in heard.news]
    assert told == [
        ("started", "scan seed 0", "worker 2"),
        ("stepped", "scan seed 0", 1),
        ("stopped", "scan seed 0"),
        ("started", "scan seed 0", "worker 2"),
        ("stepped", "scan seed 0", 2),
        ("ended", "scan seed 0"),
    ]


def test_a_command_without_workers_shows_what_others_run_beside_it(cells, heard, tmp_path, monkeypatch):
    """Between two of its epochs, and once each: the run of another command starts, moves on, and ends."""
    store = RunStore(tmp_path)
    ours, theirs = cells
    other = ProgressWriter(store.folder(theirs.run_id), 4, "command-theirs", 1)
    claims = ExitStack()

    def run_cell(spec, store, device, on_epoch):
        assert spec == ours
        other.begin()
        on_epoch(epoch(1))
        other.epoch(epoch(1))
        on_epoch(epoch(2))
        store.write(failed(theirs, "out of memory", "2026-01-01T00:00:00+00:00"))
        claims.close()
        record = failed(ours, "out of luck", "2026-01-01T00:00:00+00:00")
        store.write(record)
        return record, 1

    monkeypatch.setattr(experiment, "run_cell", run_cell)
    with claims:
        claims.enter_context(store.claim(theirs.run_id))
        outcome = experiment.run_cells(cells, store, observer=heard)
    assert [news[:2] if news[0] == "ended" else news for news in heard.news] == [
        ("started", "scan seed 0", ""),
        ("started", "vsepp seed 0", "another command"),
        ("stepped", "scan seed 0", 1),
        ("stepped", "vsepp seed 0", 1),
        ("stepped", "scan seed 0", 2),
        ("ended", "scan seed 0"),
        ("ended", "vsepp seed 0"),
    ]
    assert [failure.error for failure in outcome.failures] == ["out of luck", "out of memory"]
    assert outcome.exit_code == 1
