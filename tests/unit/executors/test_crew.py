"""A crew: workers are replaced when they die, told of, stopped with their command; nothing is left in the folder."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Sequence

import pytest
from ended_workers import Ended as EndedWorker

from harness.errors import ClusterUnavailable, RunFailed, WorkerStopped
from harness.executors import crew
from harness.executors.base import Context, Executor, Job, Seat, Worker
from harness.executors.crew import MOST_DEATHS, Ended, run_crew
from harness.executors.entry import STOPPED
from harness.executors.lines import Teller, write_refusal, written_to
from harness.files.locks import is_claimed

SEATS = [Seat(1), Seat(2)]


class Script(Executor):
    """Starts workers that end as a script says, by seat; those of a seat without any more lines return 0."""

    name = "script"

    def __init__(self, context: Context, ends: dict[int, list[tuple[int | None, str]]]):
        super().__init__(context)
        self.ends, self.started, self.stopped = ends, [], []
        self.claimed = False

    def seats(self, workers: int | None, device: str, threads: int, gpus: int = 1) -> list[Seat]:
        return SEATS

    def start(self, job: Job, seat: Seat) -> Worker:
        self.claimed = is_claimed(self.context.results, self.context.command)
        self.started.append(seat.number)
        lines = self.ends.get(seat.number, [])
        return EndedWorker(seat, *(lines.pop(0) if lines else (0, "")))

    def stop(self, workers: Sequence[Worker]) -> None:
        self.stopped += [worker.seat.number for worker in workers]


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(crew, "POLL_SECONDS", 0)

    def run(
        ends: dict[int, list[tuple[int | None, str]]],
        died: Callable[[Worker, str], bool] = lambda worker, cause: False,
        poll: Callable[[], object] = lambda: None,
    ):
        executor = Script(Context(tmp_path, "command-1"), ends)
        return executor, run_crew(executor, lambda seat: 0, SEATS, poll=poll, died=died)

    return run


def test_a_crew_ends_when_every_job_has_returned(run, tmp_path):
    executor, ended = run({1: [(2, "")]})
    assert (executor.started, ended.codes, ended.deaths) == ([1, 2], [2, 0], 0)
    assert executor.claimed, "workers end with whoever holds the command's claim"
    assert not is_claimed(tmp_path, "command-1")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", [-signal.SIGKILL, STOPPED, None], ids=["killed", "asked to stop", "gone"])
def test_a_worker_that_dies_is_replaced_in_its_seat(run, code):
    seen = []
    executor, ended = run({2: [(code, "")]}, died=lambda worker, cause: seen.append((worker.seat.number, cause)))
    assert executor.started == [1, 2, 2]
    assert (seen, ended.codes, ended.deaths) == ([(2, "")], [0, 0], 1)


def test_a_seat_whose_workers_get_nothing_done_stays_empty(run):
    executor, ended = run({1: [(-9, "")] * 10})
    assert executor.started == [1, 2, *[1] * (MOST_DEATHS - 1)]
    assert sorted(ended.codes) == [-9, 0]


def test_a_seat_whose_workers_get_on_is_filled_again_and_again(run):
    executor, ended = run({1: [(-9, "")] * 10}, died=lambda worker, cause: True)
    assert executor.started.count(1) == 11
    assert (ended.codes.count(0), ended.deaths) == (2, 10)


def test_workers_are_stopped_where_the_command_is_interrupted(run, tmp_path):
    class Living(EndedWorker):
        def is_alive(self) -> bool:
            return True

    class Long(Script):
        def start(self, job: Job, seat: Seat) -> Worker:
            return Living(seat, None, "")

    def interrupted() -> None:
        raise KeyboardInterrupt

    executor = Long(Context(tmp_path, "command-1"), {})
    with pytest.raises(KeyboardInterrupt):
        run_crew(executor, lambda seat: 0, SEATS, poll=interrupted, died=lambda worker, cause: True)
    assert executor.stopped == [1, 2]
    assert list(tmp_path.iterdir()) == []


def test_lines_of_workers_are_told_whole_and_once(tmp_path, caplog):
    teller = Teller(tmp_path)
    for number in (1, 2):
        with written_to(tmp_path / f"{number}.jsonl"):
            logging.getLogger("harness.datasets").warning("%d captions repeat", 3)
    with (tmp_path / "1.jsonl").open("a") as file:
        file.write('[20, "harness.runs", "half of a ')
    caplog.clear()
    with caplog.at_level(logging.INFO, "harness"):
        teller.tell()
        assert [(r.name, r.levelname, r.message) for r in caplog.records] == [
            ("harness.datasets", "WARNING", "3 captions repeat")
        ]
        with (tmp_path / "1.jsonl").open("a") as file:
            file.write('line"]\nno JSON\n[20, "another.library", "ours"]\n')
        teller.tell()
        teller.tell()
    assert [(r.name, r.message) for r in caplog.records[1:]] == [
        ("harness.runs", "half of a line"),
        ("harness", "ours"),
    ]


def test_refusals_of_workers_are_told_once_by_their_command(run, tmp_path, caplog):
    def refusing() -> None:
        for number in (1, 2):
            write_refusal(tmp_path / ".workers" / "command-1" / f"{number}.jsonl", ClusterUnavailable("no GPU here"))

    _, ended = run({1: [(2, "")], 2: [(2, "")]}, poll=refusing)
    assert [(str(refusal), refusal.exit_code) for refusal in ended.refusals] == [("no GPU here", 2)]
    assert not caplog.records
    ended.require_done("")  # others did the work
    assert caplog.messages == ["a worker stopped: no GPU here"]
    with pytest.raises(WorkerStopped, match=r"^no GPU here$"):
        ended.require_done("3 runs to do")
    with pytest.raises(
        RunFailed, match=r"the workers ended early \(exit codes -9, unknown\) with 3 runs to do; what is recorded"
    ):
        Ended([-9, None]).require_done("3 runs to do")


def test_log_lines_of_a_killed_command_are_removed_and_those_of_a_living_one_stay(run, tmp_path):
    from harness.files.locks import claim

    for name in ("command-0", "command-2"):
        (tmp_path / ".workers" / name).mkdir(parents=True)
    with claim(tmp_path, "command-2", wait=0):
        run({})
        assert [path.name for path in (tmp_path / ".workers").iterdir()] == ["command-2"]


class Queued(EndedWorker):
    """A worker that a cluster has no room for."""

    def is_alive(self) -> bool:
        return True

    def waits(self) -> bool:
        return True


class Full(Script):
    """A cluster with room for the first worker only."""

    def start(self, job: Job, seat: Seat) -> Worker:
        return super().start(job, seat) if seat.number == 1 else Queued(seat, None, "")


def test_nobody_waits_for_room_when_nothing_is_left_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(crew, "POLL_SECONDS", 0)
    cluster = Full(Context(tmp_path, "command-1"), {1: [(-9, ""), (None, ""), (0, "")]})
    ended = run_crew(cluster, lambda seat: 0, SEATS, poll=lambda: None, died=lambda worker, cause: True)
    assert cluster.started == [1, 1, 1], "as long as there is work, a worker that waits is kept"
    assert cluster.stopped == [2]
    assert ended.codes == [0]
