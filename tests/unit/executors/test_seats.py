"""Which workers fill a machine: its CPUs as far as memory goes, or its GPUs."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UnknownName
from harness.executors import local
from harness.executors.base import Context, Seat
from harness.executors.choice import Placement
from harness.executors.local import LocalExecutor
from harness.records.store import RunStore

GIB = 2**30


@pytest.mark.parametrize(
    ("gpus", "cpus", "memory", "workers", "device", "threads", "expected"),
    [
        (0, 8, 64 * GIB, None, "auto", 1, ["cpu"] * 8),
        (0, 8, 64 * GIB, None, "auto", 3, ["cpu"] * 2),
        (0, 2, 64 * GIB, None, "cpu", 4, ["cpu"]),
        (0, 8, 5 * GIB, None, "auto", 1, ["cpu"] * 2),
        (0, 8, GIB // 2, None, "auto", 1, ["cpu"]),
        (0, 2, 64 * GIB, 5, "auto", 1, ["cpu"] * 5),
        (4, 2, 64 * GIB, None, "auto", 1, ["cuda:0", "cuda:1", "cuda:2", "cuda:3"]),
        (2, 2, 64 * GIB, 3, "cuda", 1, ["cuda:0", "cuda:1", "cuda:0"]),
        (4, 8, 64 * GIB, None, "cuda:2", 1, ["cuda:2"]),
        (4, 8, 64 * GIB, 2, "cuda:2", 1, ["cuda:2", "cuda:2"]),
        (4, 3, 64 * GIB, None, "cpu", 1, ["cpu"] * 3),
    ],
)
def test_seats(monkeypatch, gpus, cpus, memory, workers, device, threads, expected):
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    monkeypatch.setattr(local, "usable_cpus", lambda: cpus)
    monkeypatch.setattr(local, "free_memory", lambda: memory)
    seats = LocalExecutor(Context(Path(), "command-1")).seats(workers, device, threads)
    assert [seat.device for seat in seats] == expected
    assert [seat.number for seat in seats] == list(range(1, len(expected) + 1))
    assert {seat.threads for seat in seats} == {threads}


@pytest.mark.parametrize(
    ("there", "gpus", "workers", "expected"),
    [
        (4, 2, None, ["cuda:0", "cuda:2"]),
        (5, 2, None, ["cuda:0", "cuda:2"]),
        (4, 2, 3, ["cuda:0", "cuda:2", "cuda:0"]),
        (4, 4, None, ["cuda:0"]),
        (2, 3, None, ["cuda:0"]),  # refused when the run is checked
    ],
)
def test_workers_whose_runs_fill_several_gpus_share_none(monkeypatch, there, gpus, workers, expected):
    monkeypatch.setattr("torch.cuda.device_count", lambda: there)
    seats = LocalExecutor(Context(Path(), "command-1")).seats(workers, "auto", 1, gpus)
    assert [seat.device for seat in seats] == expected
    assert {seat.gpus for seat in seats} == {gpus}


@pytest.mark.parametrize(
    ("seats", "remark"),
    [
        ([Seat(1, threads=2), Seat(2, threads=2)], ""),
        ([Seat(1, threads=3), Seat(2, threads=3)], "2 workers fill 6 CPUs, and there are 4: they take turns"),
        ([Seat(1, "cuda:0", threads=3), Seat(2, "cuda:1", threads=3)], ""),
    ],
)
def test_more_workers_than_cpus_are_remarked(monkeypatch, seats, remark):
    monkeypatch.setattr(local, "usable_cpus", lambda: 4)
    assert LocalExecutor(Context(Path(), "command-1")).remark(seats) == remark


def test_an_executor_that_does_not_exist_is_named_with_its_neighbours(tmp_path):
    with pytest.raises(UnknownName, match="unknown executor 'locl'; did you mean 'local'"):
        Placement("locl").create(RunStore(tmp_path))
