"""What SLURM says of jobs, read by one call of squeue for all of them."""

from __future__ import annotations

import logging

import pytest

from harness.executors import squeue
from harness.executors.squeue import Queue

SQUEUE = "#!/bin/sh\necho call >> {folder}/calls\ncat {folder}/table\nexit $(cat {folder}/code)\n"


@pytest.fixture
def controller(tmp_path, monkeypatch):
    """Sets what squeue prints, and its exit code."""
    script = tmp_path / "squeue"
    script.write_text(SQUEUE.format(folder=tmp_path))
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(squeue, "FRESH_SECONDS", -1.0)

    def says(table: str, code: int = 0) -> None:
        (tmp_path / "table").write_text(table)
        (tmp_path / "code").write_text(str(code))

    return says


def test_a_job_is_over_when_slurm_says_so_or_has_forgotten_it(controller):
    queue = Queue()
    controller("7 PENDING\n8 RUNNING\n")
    assert queue.state("7") in ("", "PENDING")  # the table may be older than the job
    assert (queue.state("7"), queue.state("8")) == ("PENDING", "RUNNING")
    assert not {"PENDING", "RUNNING", "COMPLETING", "REQUEUED", ""} & queue.OVER
    controller("7 TIMEOUT\n")
    assert (queue.state("7"), queue.state("8")) == ("TIMEOUT", queue.FORGOTTEN)
    assert {"TIMEOUT", queue.FORGOTTEN} <= queue.OVER


def test_while_the_controller_does_not_answer_jobs_count_as_alive_and_it_is_told_once(controller, caplog):
    queue = Queue()
    controller("", code=1)
    with caplog.at_level(logging.WARNING, "harness"):
        assert [queue.state("7") for _ in range(3)] == ["", "", ""]
    assert [record.getMessage().startswith("squeue fails") for record in caplog.records] == [True]
    controller("7 RUNNING\n")
    assert queue.state("7") == "RUNNING"
    controller("", code=1)
    assert queue.state("7") == "RUNNING"


def test_one_call_serves_all_jobs(controller, tmp_path, monkeypatch):
    monkeypatch.setattr(squeue, "FRESH_SECONDS", 60.0)
    controller("1 RUNNING\n2 RUNNING\n")
    queue = Queue()
    for number in range(50):
        queue.state(str(number))
    assert (tmp_path / "calls").read_text() == "call\n"
