"""What a command tells of the runs of its workers, which it reads in the runs' folders."""

from __future__ import annotations

import json

import pytest

from harness.errors import ResultsNotWritable
from harness.executors.base import Seat
from harness.records.environment import now
from harness.records.run import RunRecord
from harness.records.store import RunStore
from harness.runs.cell import failed, run_cell
from harness.runs.planning import plan
from harness.runs.progress import (
    MOST_DEATHS,
    ProgressWriter,
    add_death,
    deaths_of,
    read_progress,
    verdict,
)
from harness.runs.sharing import state_of
from harness.runs.workers import CellJob, Watch
from harness.spec import load_experiment
from harness.training.state import Epoch

OURS = "command-1"


class Told:
    """A teller that keeps what it is told."""

    def __init__(self) -> None:
        self.news: list[tuple[object, ...]] = []

    def started(self, spec, worker, *, ours) -> None:
        self.news.append(("started", spec.scorer, worker))

    def stopped(self, spec) -> None:
        self.news.append(("stopped", spec.scorer))

    def epoch(self, spec, epoch) -> None:
        self.news.append(("epoch", spec.scorer, epoch.epoch))

    def ended(self, spec, record, code, *, ours) -> None:
        self.news.append((record.status, spec.scorer, code, "ours" if ours else "theirs"))

    def waiting(self, specs) -> None:
        self.news.append(("waiting", *(spec.scorer for spec in specs)))

    def take(self) -> list[tuple[object, ...]]:
        news, self.news = self.news, []
        return news


class Dead:
    """A worker that died."""

    def __init__(self, number: int):
        self.seat = Seat(number)


def epoch(number: int) -> Epoch:
    return Epoch(epoch=number, losses={"matching": 1.0}, validation={"rsum": 5.0}, learning_rate=0.1, seconds=2.0)


@pytest.fixture
def plant(tiny, tmp_path):
    specs = plan(load_experiment({**tiny, "scorers": ["scan", "chan"]}))
    store, told = RunStore(tmp_path), Told()
    before = {spec.run_id: state_of(store, spec.run_id) for spec in specs}
    return specs, store, told, Watch(specs, before, store, OURS, told)


def writer(store, spec, command=OURS, worker=1) -> ProgressWriter:
    return ProgressWriter(store.folder(spec.run_id), spec.training.epochs, command, worker)


def test_epochs_are_told_once_in_their_order_and_those_of_earlier_calls_not_at_all(plant):
    (scan, chan), store, told, watch = plant
    watch.poll()
    assert told.take() == []
    progress = writer(store, scan)
    progress.begin()
    watch.poll()
    assert told.take() == [("started", "scan", "worker 1")]
    progress.epoch(epoch(0))
    progress.epoch(epoch(1))
    watch.poll()
    watch.poll()
    assert told.take() == [("epoch", "scan", 0), ("epoch", "scan", 1)]
    resumed = writer(store, chan, worker=2)
    resumed.begin()
    resumed.resumed([epoch(0)])
    resumed.epoch(epoch(1))
    watch.poll()
    assert told.take() == [("started", "chan", "worker 2"), ("epoch", "chan", 1)]


def test_a_run_that_ended_between_two_looks_is_told_whole(plant):
    (scan, _), store, told, watch = plant
    import torch

    writer(store, scan).begin()
    watch.poll()
    record, code = run_cell(scan, store, torch.device("cpu"), command=OURS, worker=1)
    assert (record.status, code) == ("finished", 0)
    watch.poll()
    assert told.take() == [
        ("started", "scan", "worker 1"),
        ("epoch", "scan", 0),
        ("epoch", "scan", 1),
        ("finished", "scan", 0, "ours"),
    ]
    assert [spec.scorer for spec in watch.left.values()] == ["chan"]
    assert read_progress(store.folder(scan.run_id)) is None


def fail(store: RunStore, spec, code: int, command: str = OURS) -> RunRecord:
    progress = writer(store, spec, command)
    progress.begin()
    record = failed(spec, "no such file", now())
    progress.failed(code)
    store.write(record)
    return record


@pytest.mark.parametrize("ours", [True, False])
def test_a_run_that_began_and_ended_between_two_looks(plant, ours):
    specs, store, told, watch = plant
    watch = Watch(specs, watch.before, store, OURS, told, unseen_are_ours=ours)
    assert CellJob((specs[0],), watch.before, store.results, "command-9")(Seat(1)) == 0
    watch.poll()
    assert told.take() == [("finished", "scan", 0, "ours" if ours else "theirs")]


@pytest.mark.parametrize("code", [1, 2])
def test_a_run_that_fails_keeps_its_exit_code(plant, code):
    (scan, _), store, told, watch = plant
    fail(store, scan, code)
    watch.poll()
    assert told.take() == [("failed", "scan", code, "ours")]


def test_a_run_that_failed_in_an_earlier_call_is_still_to_do(tiny, tmp_path):
    (scan,) = plan(load_experiment(tiny))
    store, told = RunStore(tmp_path), Told()
    fail(store, scan, 2, "command-0")
    watch = Watch([scan], {scan.run_id: state_of(store, scan.run_id)}, store, OURS, told)
    assert watch.unclaimed() == [scan]
    assert told.take() == []


def test_runs_of_another_command_are_told_as_theirs_and_waited_for(plant):
    (scan, chan), store, told, watch = plant
    with store.claim(scan.run_id, wait=0):
        writer(store, scan, "command-9").begin()
        assert watch.unclaimed() == [chan]
        with store.claim(chan.run_id, wait=0):
            assert watch.unclaimed() == []
            watch.wait()
            watch.wait()
        assert told.take() == [("started", "scan", "another command"), ("waiting", "scan", "chan")]
        fail(store, scan, 1, "command-9")
    watch.poll()
    assert told.take() == [("failed", "scan", 1, "theirs")]


def test_a_crash_counts_against_the_run_and_a_kill_does_not(plant, caplog):
    (scan, chan), store, _, watch = plant
    writer(store, scan, worker=1).begin()
    writer(store, chan, worker=2).begin()
    watch.poll()
    assert watch.died(Dead(1), "abort (SIGABRT)")
    assert not watch.died(Dead(2), "")
    assert deaths_of(store.folder(scan.run_id)) == ["abort (SIGABRT)"]
    assert deaths_of(store.folder(chan.run_id)) == []
    assert "scan seed 0 ended its worker: abort (SIGABRT)" in caplog.text
    assert "worker 2 is gone; chan seed 0 resumes from its last epoch" in caplog.text
    progress = writer(store, chan, worker=2)
    progress.begin()
    progress.epoch(epoch(0))
    assert watch.died(Dead(2), ""), "an epoch was got done"
    assert not watch.died(Dead(2), "")


def test_a_crash_counts_although_another_worker_has_the_run_already(plant):
    (scan, _), store, _, watch = plant
    writer(store, scan, worker=1).begin()
    watch.poll()
    writer(store, scan, worker=2).begin()
    watch.died(Dead(1), "abort (SIGABRT)")
    assert deaths_of(store.folder(scan.run_id)) == ["abort (SIGABRT)"]


def test_settings_that_end_their_workers_are_given_up_once(tiny, tmp_path):
    (scan,) = plan(load_experiment(tiny))
    store = RunStore(tmp_path)
    for _ in range(MOST_DEATHS):
        assert verdict(deaths_of(store.folder(scan.run_id))) == ""
        add_death(store.folder(scan.run_id), "abort (SIGABRT)")
    job = CellJob((scan,), {scan.run_id: ("missing", None)}, tmp_path, OURS)
    assert job(Seat(1)) == 0
    record = store.read(scan.run_id)
    assert (record.status, record.error) == ("failed", "these settings ended their worker 3 times: abort (SIGABRT)")
    # The next call tries again.
    assert CellJob((scan,), {scan.run_id: ("failed", record)}, tmp_path, OURS)(Seat(1)) == 0
    assert store.read(scan.run_id).status == "finished"


@pytest.mark.parametrize("again", [False, True])
def test_a_worker_ends_where_the_end_of_a_run_cannot_be_recorded(tiny, tmp_path, monkeypatch, again):
    """Else its command, which sees no end of the run, would start it for ever."""
    (scan,) = plan(load_experiment(tiny))
    store = RunStore(tmp_path)
    if again:
        store.write(failed(scan, "earlier", "2020-01-01T00:00:00+00:00"))
    before = state_of(store, scan.run_id)

    def full(self, record):
        raise ResultsNotWritable("cannot write record.json: No space left on device")

    monkeypatch.setattr(RunStore, "write", full)
    with pytest.raises(ResultsNotWritable, match=r"scan seed 0 failed, .* recorded: .*No space left"):
        CellJob((scan,), {scan.run_id: before}, tmp_path, OURS)(Seat(1))


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"epochs": "x"}', json.dumps({"epochs": 2, "history": [{}]})])
def test_progress_that_cannot_be_read_is_none(tmp_path, content):
    (tmp_path / "progress.json").write_text(content)
    (tmp_path / "deaths.json").write_text(content)
    assert read_progress(tmp_path) is None
    assert deaths_of(tmp_path) in ([], ["1"])
