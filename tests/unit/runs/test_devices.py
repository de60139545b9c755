"""A run on several devices: its record against that of one process, a killed process, and what is refused."""

from __future__ import annotations

import logging
import multiprocessing
import os
import re
import signal

import pytest
import torch

from harness.errors import InvalidSpec, RankFailed
from harness.executors.base import Context
from harness.executors.choice import Placement
from harness.executors.local import LocalExecutor
from harness.records.store import RunStore
from harness.runs import devices, workers
from harness.runs.cell import run_cell
from harness.runs.devices import check_devices, devices_of
from harness.runs.planning import plan
from harness.runs.rank import FAILED
from harness.spec import RunSpec, load_experiment
from harness.sweeps.plan import draft_study

CPU = torch.device("cpu")


def _cells(tiny, **changes) -> list[RunSpec]:
    return plan(load_experiment({**tiny, **changes}))


def test_a_killed_process_ends_the_run_which_then_resumes_and_agrees_with_one_process(tiny, tmp_path):
    (alone,), (together,) = _cells(tiny), _cells(tiny, devices=2)
    store, epochs = RunStore(tmp_path), []

    def kill(epoch):
        epochs.append(epoch.epoch)
        victim = next(child for child in multiprocessing.active_children() if child.name == "itm-rank-1")
        os.kill(victim.pid, signal.SIGKILL)

    record, code = run_cell(together, store, CPU, kill)
    assert (record.status, code, epochs) == ("failed", 1, [0])
    assert record.error == (
        "process 2 of 2 ended in the training (signal 9); the others were stopped, and the same command resumes from the "
        "last epoch"
    )
    assert not multiprocessing.active_children()

    record, code = run_cell(together, store, CPU, lambda epoch: epochs.append(epoch.epoch))
    assert (record.status, code, epochs) == ("finished", 0, [0, 1])
    expected, _ = run_cell(alone, store, CPU)
    for one, other in zip(record.training.history, expected.training.history, strict=True):
        assert one.losses == pytest.approx(other.losses, rel=1e-4)
        assert one.validation == pytest.approx(other.validation, abs=11)  # a query of ten may change its place
    assert record.training.devices.count == 2
    assert record.training.devices.backend == "gloo"
    assert record.cost.peak_memory_mib >= record.training.devices.first_process_memory["peak_memory_mib"] > 0
    assert record.cost.train_step_ms_p50 > 0
    assert expected.training.devices is None


class Process:
    """A process that has ended, or has not."""

    def __init__(self, exitcode):
        self.exitcode = exitcode

    def join(self, timeout=None):
        pass


TRACE = "Traceback (most recent call last): ..."


@pytest.mark.parametrize(
    ("exit_codes", "message", "line", "asks_for"),
    [
        ((None, None), ("lower training.learning_rate", 2, ""), "lower training.learning_rate", 2),
        ((None, None), ("ValueError: a bug", 1, TRACE), "process 1 of 2 failed: ValueError: a bug", 1),
        # The first one says only that the second one is gone, which is no news.
        ((None, -11), ("RuntimeError: Connection closed by peer", 1, TRACE), "invalid memory access", 1),
        ((None, 3), ("RuntimeError: Connection closed by peer", 1, TRACE), r"process 2 of 2 .* \(exit code 3\)", 1),
    ],
)
def test_the_first_cause_of_a_failure_is_told(exit_codes, message, line, asks_for):
    ours, theirs = multiprocessing.Pipe(duplex=False)
    ranks = [devices._Rank(Process(exit_code), ours) for exit_code in exit_codes]
    theirs.send((FAILED, message))
    number, _, content = next(devices._heard(ranks[:1]))
    error = devices._failure(content, number, ranks)
    assert re.search(line, str(error))
    assert error.exit_code == asks_for


def test_a_process_that_ends_without_a_word_is_told_by_its_end():
    ours, theirs = multiprocessing.Pipe(duplex=False)
    theirs.close()
    with pytest.raises(RankFailed, match=r"process 1 of 1 ended in the training \(signal 9\)"):
        next(devices._heard([devices._Rank(Process(-9), ours)]))


def test_devices_count_as_a_setting_only_where_several_are_asked_for(tiny):
    (plain,), (one,), (two,) = _cells(tiny), _cells(tiny, devices=1), _cells(tiny, devices=2)
    assert plain.run_id == one.run_id != two.run_id
    assert "devices" not in plain.model_dump()
    assert RunSpec.model_validate(two.model_dump(mode="json")).devices == 2


def test_a_run_without_a_training_has_one_device(tiny):
    (cell,) = _cells(tiny, devices=2, training={"epochs": 0}, scorers=["clip"])
    assert cell.devices == 1


@pytest.mark.parametrize(
    ("count", "batch_size", "device", "gpus", "line"),
    [
        (3, 32, "cuda", 2, "devices is 3, but there are 2 GPUs from cuda on; set devices to at most 2"),
        (2, 32, "cuda:1", 2, "devices is 2, but there is 1 GPU from cuda:1 on; set devices to at most 1"),
        (
            4,
            3,
            "cpu",
            0,
            "devices is 4, but a batch has 3 pairs to share out; set training.batch_size to at least as many",
        ),
        (2, 32, "mps", 0, "devices is 2, which is for cpu and cuda; the device is mps"),
    ],
)
def test_more_than_there_are_is_refused_in_one_line(tiny, monkeypatch, count, batch_size, device, gpus, line):
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    cells = _cells(tiny, devices=count, training={"batch_size": batch_size})
    with pytest.raises(InvalidSpec) as caught:
        check_devices(cells, torch.device(device))
    assert str(caught.value) == line
    assert caught.value.exit_code == 2


def test_more_processes_than_cpus_are_warned_of(tiny, monkeypatch, caplog):
    def told() -> list[logging.LogRecord]:
        return [record for record in caplog.records if record.name == "harness.runs.devices"]

    monkeypatch.setattr(devices, "usable_cpus", lambda: 3)
    check_devices(_cells(tiny, devices=3), CPU)
    assert not told()
    check_devices(_cells(tiny, devices=3, threads=2), CPU)
    (record,) = told()
    assert record.getMessage() == (
        "devices=3 with 2 threads each take more than the 3 CPUs here: the run has the same numbers, later"
    )


def test_a_sweep_refuses_several_devices(tiny, tmp_path):
    with pytest.raises(InvalidSpec, match="a sweep trains each trial on one device, and devices is 2; set devices=1"):
        draft_study(load_experiment({**tiny, "devices": 2}), "scan", tmp_path)


def test_processes_take_the_devices_from_the_chosen_one_on():
    assert devices_of(2, torch.device("cuda:2")) == ("cuda:2", "cuda:3")
    assert devices_of(3, CPU) == ("cpu", "cpu", "cpu")


@pytest.mark.parametrize(
    ("gpus", "workers_asked", "devices_each", "expected"),
    [
        (4, None, 2, ["cuda:0", "cuda:2"]),
        (3, None, 2, ["cuda:0"]),
        (4, 2, 2, ["cuda:0", "cuda:2"]),
        (4, 3, 2, ["cuda:0", "cuda:2", "cuda:0"]),
        (2, None, 1, ["cuda:0", "cuda:1"]),
    ],
)
def test_workers_whose_runs_take_several_gpus_share_none(
    tiny, tmp_path, monkeypatch, gpus, workers_asked, devices_each, expected
):
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    cells = _cells(tiny, devices=devices_each, seeds=5)
    executor = LocalExecutor(Context(tmp_path, "command-1"))
    seats = workers._seats(executor, Placement(workers=workers_asked), cells)
    assert [seat.device for seat in seats] == expected
    assert [seat.number for seat in seats] == list(range(1, len(expected) + 1))
