"""Several commands on one results folder: each cell is run once, and everybody learns how it ended."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from harness import protocols
from harness.records.run import RunRecord
from harness.records.store import RunStore
from harness.runs import sharing
from harness.runs.planning import plan
from harness.runs.sharing import share, state_of
from harness.spec import RunSpec, load_experiment

OWNER = np.repeat(np.arange(6), 2)


@pytest.fixture
def cells(tiny) -> list[RunSpec]:
    return plan(load_experiment({**tiny, "seeds": 3}))


@pytest.fixture
def store(tmp_path, monkeypatch) -> RunStore:
    monkeypatch.setattr(sharing, "WAIT_SECONDS", 0.01)
    return RunStore(tmp_path / "results")


def record(store, spec, status="finished", **changes) -> RunRecord:
    """A run of made-up scores, written."""
    scores = np.random.default_rng(spec.seed).normal(size=(6, 12))
    ids = {"image_ids": [f"i{k}" for k in range(6)], "caption_ids": [f"c{k}" for k in range(12)]}
    found = protocols.evaluate("full", scores, caption_image=OWNER, **ids)
    values = {
        "run_id": spec.run_id,
        "scorer": spec.scorer,
        "backbone": spec.backbone,
        "dataset": "scenes",
        "protocols": ("full",),
        "seed": spec.seed,
        "metrics": {"full": found.metrics} if status == "finished" else {},
        "data_sha256": spec.data_sha256,
        "spec": spec.model_dump(mode="json"),
        "status": status,
        "started": "2026-01-01T00:00:00+00:00",
    }
    made = RunRecord(**(values | changes))
    if status == "finished":
        store.write_ranks(spec.run_id, {"full": found.ranks})
    store.write(made)
    return made


class Heard:
    def __init__(self, store):
        self.store, self.ran, self.waiting = store, [], []

    def run(self, spec):
        self.ran.append(spec.seed)
        return record(self.store, spec), 0

    def share(self, cells, before=None):
        before = before or {spec.run_id: state_of(self.store, spec.run_id) for spec in cells}
        ended = list(
            share(cells, before, self.store, self.run, lambda specs: self.waiting.append([s.seed for s in specs]))
        )
        self.taken = [cell.record.seed for cell in ended if not cell.ours]
        return ended


class Other(threading.Thread):
    """Another command, which holds a cell until it is told to end it."""

    def __init__(self, store, spec, end):
        super().__init__(daemon=True)
        self.store, self.spec, self.end = store, spec, end
        self.holds, self.go_on = threading.Event(), threading.Event()
        self.start()
        assert self.holds.wait(30)

    def run(self):
        with self.store.claim(self.spec.run_id):
            self.holds.set()
            self.go_on.wait(30)
            self.end(self.spec)


def share_with(store, cells, end):
    heard = Heard(store)
    other = Other(store, cells[0], end)
    heard_waiting = heard.waiting.append

    class Ends(list):
        def append(self, seeds):
            heard_waiting(seeds)
            super().append(seeds)
            other.go_on.set()

    heard.waiting = Ends()
    return heard, heard.share(cells)


def test_a_cell_of_another_command_is_waited_for_last_and_not_run_again(store, cells):
    heard, ended = share_with(store, cells, lambda spec: record(store, spec))
    assert heard.ran == [1, 2]
    assert heard.waiting  # once, or oftener where the machine is busy
    assert all(cells == [0] for cells in heard.waiting)
    assert heard.taken == [0]
    assert [(cell.record.seed, cell.ours, cell.code) for cell in ended] == [(1, True, 0), (2, True, 0), (0, False, 0)]


def test_a_cell_whose_command_died_is_taken_over(store, cells):
    heard, ended = share_with(store, cells, lambda spec: None)
    assert heard.ran == [1, 2, 0]
    assert all(cell.ours for cell in ended)


def test_a_cell_that_failed_in_another_command_is_not_tried_again(store, cells):
    heard, ended = share_with(store, cells, lambda spec: record(store, spec, "failed", error="out of memory"))
    assert heard.ran == [1, 2]
    assert heard.taken == [0]
    assert (ended[-1].record.error, ended[-1].code) == ("out of memory", 1)


def test_a_cell_that_failed_in_an_earlier_call_is_tried_again(store, cells):
    record(store, cells[0], "failed", error="out of memory")
    heard = Heard(store)
    heard.share(cells)
    assert heard.ran == [0, 1, 2]


DAMAGES = {
    "half a record": lambda folder: (folder / "record.json").write_text('{"schema'),
    "another run's record": lambda folder: (folder / "record.json").write_text(
        (folder / "record.json").read_text().replace(folder.name, "0" * 16, 1)
    ),
    "a folder as record": lambda folder: ((folder / "record.json").unlink(), (folder / "record.json").mkdir()),
    "no ranks": lambda folder: (folder / "ranks.npz").unlink(),
    "half of the ranks": lambda folder: (folder / "ranks.npz").write_bytes((folder / "ranks.npz").read_bytes()[:200]),
    "other metrics": lambda folder: (folder / "record.json").write_text(
        (folder / "record.json").read_text().replace('"rsum": ', '"rsum": 1', 1)
    ),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_cell_is_kept_aside_and_run_again(store, cells, caplog, damage):
    whole = record(store, cells[0])
    folder = store.folder(whole.run_id)
    damage(folder)
    assert state_of(store, whole.run_id) == ("damaged", None)
    heard = Heard(store)
    heard.share(cells[:1])
    assert heard.ran == [0]
    assert state_of(store, whole.run_id) == ("finished", whole)
    assert (folder / "record.json.damaged").exists()
    assert any("is damaged and is kept as" in log.getMessage() for log in caplog.records)


def test_leftovers_of_killed_writers_are_removed_and_those_of_living_ones_kept(store, cells):
    folder = store.folder(cells[0].run_id)
    folder.mkdir(parents=True)
    (folder / "record.json").write_text("{}")
    old = [folder / ".record.json.123-abc", folder / ".checkpoint.pt.c0ffee-99999999-0123abcd"]
    probe = store.results / "runs" / ".probe-0123"
    with store.claim(cells[0].run_id):
        for path in (*old, probe):
            path.write_bytes(b"half")
        RunStore(store.results).prepare()
        assert all(path.exists() for path in old), "somebody is at this run"
    RunStore(store.results).prepare()
    assert not any(path.exists() for path in (*old, probe))
    assert sorted(path.name for path in store.results.iterdir()) == ["runs"]
