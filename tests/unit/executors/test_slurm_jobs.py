"""How a SLURM job ended: what SLURM and submitit say of it, and what the crew is told."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from harness.executors import slurm
from harness.executors.base import Context, Seat
from harness.executors.entry import STOPPED
from harness.executors.reach import Arriving, mark
from harness.executors.slurm import SlurmWorker
from harness.executors.squeue import Queue


class FakeJob:
    """A job as submitit shows it."""

    job_id = "7"
    state = "RUNNING"

    def __init__(self, folder):
        self.paths = SimpleNamespace(result_pickle=folder / "7_0_result.pkl", stderr=folder / "7_0_log.err")
        self.paths.stderr.write_text("what the job wrote\n")
        self.outcome: object = 0
        self.cancelled = 0

    def end(self, outcome: object) -> None:
        self.outcome = outcome
        self.paths.result_pickle.touch()

    def result(self) -> object:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def cancel(self, check: bool = True) -> None:
        self.cancelled += 1


class FakeQueue(Queue):
    says = "RUNNING"

    def state(self, job_id: str) -> str:
        assert job_id == "7"
        return self.says


@pytest.fixture
def job(tmp_path):
    return FakeJob(tmp_path)


@pytest.fixture
def queue():
    return FakeQueue()


@pytest.fixture
def worker(job, queue, tmp_path):
    return SlurmWorker(Seat(1), job, queue, Context(tmp_path, "command-1"))


@pytest.mark.parametrize(("code", "kept"), [(0, False), (1, True), (2, False)])
def test_a_job_returns_its_code_and_its_log_is_kept_where_it_told_no_reason(worker, job, tmp_path, code, kept):
    assert worker.is_alive()
    assert worker.exit_code is None
    job.end(code)
    assert not worker.is_alive()
    assert worker.exit_code == code
    assert (tmp_path / slurm.LOGS).exists() == kept


def test_a_job_that_stops_though_nobody_asked_it_to_has_died(worker, job, tmp_path):
    job.end(STOPPED)  # it was preempted, or reached its time limit
    assert not worker.is_alive()
    assert worker.exit_code is None
    assert job.cancelled == 1, "SLURM may have put it back into its queue"
    assert not (tmp_path / slurm.LOGS).exists()


def test_a_job_waits_until_it_has_begun(worker, job, tmp_path):
    context = Context(tmp_path, "command-1")
    place = mark(context, worker.seat)
    assert worker.waits()
    Arriving(place, lambda seat: 0)(worker.seat)
    assert not worker.waits()
    mark(context, worker.seat)  # for the one that replaces it
    assert worker.waits()
    job.end(0)
    assert not worker.waits()


def test_a_job_that_was_asked_to_stop(worker, job, tmp_path):
    worker.cancel()
    job.end(STOPPED)
    assert not worker.is_alive()
    assert worker.exit_code == STOPPED
    assert job.cancelled == 1
    assert not (tmp_path / slurm.LOGS).exists()


@pytest.mark.parametrize(
    ("state", "cause"),
    [("OUT_OF_MEMORY", slurm.OUT_OF_MEMORY), ("TIMEOUT", ""), ("NODE_FAIL", ""), (Queue.FORGOTTEN, "")],
)
def test_a_job_that_slurm_ended(worker, queue, tmp_path, monkeypatch, caplog, state, cause):
    queue.says = state
    assert worker.is_alive(), "its result may come later than the news"
    monkeypatch.setattr(slurm, "RESULT_SECONDS", 0.0)
    with caplog.at_level(logging.WARNING, "harness"):
        assert not worker.is_alive()
    assert worker.exit_code is None
    assert worker.cause_of_death() == cause
    assert f"({state})" in caplog.text
    assert (tmp_path / slurm.LOGS / "7.err").read_text() == "what the job wrote\n"


def test_a_result_that_is_late(worker, job, queue):
    queue.says = "COMPLETED"
    assert worker.is_alive()
    job.end(0)
    assert not worker.is_alive()
    assert worker.exit_code == 0


def test_a_job_that_raised(worker, job, caplog):
    job.end(
        RuntimeError(
            "Job (task=0) failed during processing with trace:\n---\nModuleNotFoundError: torch\n---\nYou can check"
        )
    )
    with caplog.at_level(logging.ERROR, "harness"):
        assert not worker.is_alive()
    assert worker.exit_code == 1
    assert "worker 1 failed: ModuleNotFoundError: torch" in caplog.text
