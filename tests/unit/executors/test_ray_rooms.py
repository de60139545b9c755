"""Seats on a Ray cluster: as many as its CPUs or GPUs have room for, and what is told where they do not fit."""

from __future__ import annotations

import logging
import socket
from pathlib import Path

import pytest

from harness.errors import ClusterUnavailable, InvalidSpec
from harness.executors import ray_cluster
from harness.executors.base import Context, Seat
from harness.executors.entry import STOPPED
from harness.executors.ray_cluster import RayExecutor, RayWorker
from harness.executors.ray_driver import Fate, Node


def executor(*rooms: tuple[int, int]) -> RayExecutor:
    made = RayExecutor(Context(Path(), "command-1"))
    made._nodes = [Node(str(number), f"node{number}", cpus, gpus) for number, (cpus, gpus) in enumerate(rooms)]
    return made


@pytest.mark.parametrize(
    ("rooms", "workers", "device", "threads", "expected", "told"),
    [
        ([(8, 0)], None, "auto", 1, ["cpu"] * 8, ""),
        ([(8, 0), (4, 0)], None, "auto", 3, ["cpu"] * 3, ""),
        ([(8, 2), (8, 0)], None, "auto", 1, ["cuda:0"] * 2, ""),
        ([(1, 4)], None, "cuda", 1, ["cuda:0"], ""),
        ([(8, 2)], None, "cpu", 4, ["cpu"] * 2, ""),
        ([(4, 0)], 2, "cpu", 1, ["cpu"] * 2, ""),
        ([(2, 0)], 3, "cpu", 1, ["cpu"] * 3, "Ray has room for 2 workers at once; the others wait for room"),
        ([(2, 0)], None, "cpu", 4, ["cpu"], "a run uses 4 threads, but no node of Ray has more than 2 CPUs"),
    ],
)
def test_seats(caplog, rooms, workers, device, threads, expected, told):
    with caplog.at_level(logging.WARNING, "harness"):
        seats = executor(*rooms).seats(workers, device, threads)
    assert [seat.device for seat in seats] == expected
    assert {seat.threads for seat in seats} == {threads}
    assert [record.getMessage() for record in caplog.records] == ([told] if told else [])


def test_a_run_on_several_gpus_takes_them_of_one_node():
    seats = executor((8, 5), (8, 1), (8, 2)).seats(None, "auto", 1, 2)
    assert [(seat.device, seat.gpus) for seat in seats] == [("cuda:0", 2)] * 3
    with pytest.raises(
        ClusterUnavailable, match=r"takes 3 GPUs of one node \(devices\), but no node .* more than 2; set devices=2"
    ):
        executor((8, 2), (8, 2)).seats(None, "auto", 1, 3)


@pytest.mark.parametrize(("device", "error"), [("cuda", ClusterUnavailable), ("cuda:1", InvalidSpec)])
def test_devices_that_ray_cannot_hand_out(device, error):
    with pytest.raises(error, match="cpu"):
        executor((8, 0)).seats(None, device, 1)


@pytest.mark.parametrize(
    ("fate", "asked", "code", "cause"),
    [
        (Fate(0), False, 0, ""),
        (Fate(2), False, 2, ""),
        (Fate(None), False, None, ""),
        (Fate(None, "out of memory"), False, None, "out of memory"),
        (Fate(STOPPED), True, STOPPED, ""),
        (Fate(STOPPED), False, None, ""),  # its node gives way: another worker takes its seat
    ],
)
def test_how_a_worker_ended(fate, asked, code, cause):
    worker = RayWorker(Seat(1), 7, executor((1, 0)))
    worker.asked_to_stop = asked
    worker._executor._fates[7] = fate
    assert not worker.is_alive()
    assert (worker.exit_code, worker.cause_of_death()) == (code, cause)


@pytest.mark.parametrize("address", ["", "head", "head:", ":6379", "head:0x1", "head:70000", "http://head:6379"])
def test_no_address(address):
    with pytest.raises(InvalidSpec, match="HOST:PORT"):
        RayExecutor(Context(Path(), "command-1"), address)


def test_a_port_where_something_else_listens_is_given_up_in_time(tmp_path, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setattr(ray_cluster, "JOIN_SECONDS", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with (
            pytest.raises(ClusterUnavailable, match=f"Ray at {address} does not answer within 2 s"),
            RayExecutor(Context(tmp_path, "command-1"), address),
        ):
            raise AssertionError("entered a cluster that is none")
