"""A training on several devices of this machine: one process per device, watched by the one that runs the cell.

The processes share each batch (`harness.training.ranks`). The first one writes the checkpoint after each epoch, as a
training in one process does, so that a run whose processes were killed resumes from its last epoch, and the one that
runs the cell reads the result from it.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from harness import plugins
from harness.errors import InvalidSpec, RankFailed, counted
from harness.executors.deaths import cause_of_death
from harness.machine.children import own_interrupts
from harness.machine.cpus import share, usable_cpus
from harness.measure.quiet import pass_by
from harness.runs.rank import DONE, EPOCH, FAILED, LOG, RESUMED, RankJob, rank_process
from harness.similarity import settings as engine
from harness.spec import RunSpec
from harness.training.products.choice import named
from harness.training.state import Epoch

logger = logging.getLogger(__name__)

#: Seconds between two looks at whether this process has to let others be alone.
POLL_SECONDS = 0.2


def check_devices(specs: Sequence[RunSpec], device: torch.device) -> None:
    """Refuse runs that want more devices than there are; warn of those that want more CPUs.

    Raises:
        InvalidSpec: more processes than GPUs, or than pairs of a batch; another kind of device.
    """
    for spec in {spec.devices: spec for spec in specs if spec.devices > 1}.values():
        _check(spec, device)


def check_products(specs: Sequence[RunSpec], device: torch.device) -> None:
    """Refuse runs whose trainings ask for a matrix product that is not to be had there.

    Raises:
        InvalidSpec: see `harness.training.products.choice.named`.
    """
    for spec in specs:
        if spec.training.epochs:
            named(spec.training, device, spec.devices)


def devices_of(count: int, device: torch.device) -> tuple[str, ...]:
    """The devices of a run's processes, from the one that was chosen on.

    >>> devices_of(2, torch.device("cuda")), devices_of(2, torch.device("cpu"))
    (('cuda:0', 'cuda:1'), ('cpu', 'cpu'))
    """
    if device.type == "cpu":
        return ("cpu",) * count
    first = device.index or 0
    return tuple(f"{device.type}:{number}" for number in range(first, first + count))


@dataclass
class Together:
    """How a training on several devices went, beside its checkpoint.

    Args:
        step_ms: latency figures of a step, by name.
        described: for the record.
    """

    step_ms: dict[str, float] = field(default_factory=dict)
    described: dict[str, Any] = field(default_factory=dict)


def train_together(
    spec: RunSpec,
    device: torch.device,
    checkpoint: Path,
    on_epoch: Callable[[Epoch], None],
    on_resume: Callable[[list[Epoch]], None],
) -> Together:
    """Train a run in one process per device, until its last epoch is in the checkpoint.

    Args:
        spec: of the run; its data are known to be those of the plan.
        device: the first one.
        checkpoint: of the training; what is there is resumed.
        on_epoch, on_resume: see `harness.training.loop.fit`.

    Raises:
        InvalidSpec: see `check_devices`.
        RankFailed: a process failed or was killed; the others have been ended.
        ItmError: what a process refused.
    """
    _check(spec, device)  # a worker elsewhere may have other devices than the command
    devices = devices_of(spec.devices, device)
    hear: dict[str, Callable[[Any], None]] = {
        EPOCH: on_epoch,
        RESUMED: on_resume,
        LOG: lambda line: logging.getLogger(line[1]).log(line[0], "%s", line[2]),
    }
    left: dict[int, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="itm-") as folder:
        meeting = f"{folder}/meeting"
        job = RankJob(spec, devices, checkpoint, meeting, engine.current(), plugins.files(), share().workers)
        with _started(job) as ranks:
            for number, kind, content in _heard(ranks):
                if kind == DONE:
                    left[number] = content
                elif kind == FAILED:
                    raise _failure(content, number, ranks)
                else:
                    hear[kind](content)
    first = left[0]
    described = {
        "count": len(devices),
        "names": list(devices),
        "backend": "gloo" if devices[0] == "cpu" else "nccl",
        "first_process_memory": first["memory"],
    }
    return Together(first["step_ms"], described)


@dataclass(frozen=True)
class _Rank:
    process: BaseProcess
    connection: Connection


@contextmanager
def _started(job: RankJob) -> Iterator[list[_Rank]]:
    """The processes of a training; all of them have ended when the block is left, however it is left."""
    context = multiprocessing.get_context("spawn")  # a fork would share the locks of threads, and the GPU
    ranks: list[_Rank] = []
    try:
        for number in range(len(job.devices)):
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=rank_process, args=(number, job, theirs), name=f"itm-rank-{number}")
            with own_interrupts(), _quiet_torch():
                process.start()
            theirs.close()  # so that its end is heard here
            ranks.append(_Rank(process, ours))
        yield ranks
    finally:
        for rank in ranks:
            rank.process.kill()  # a process in a collective operation hears nothing else
        for rank in ranks:
            rank.process.join()
            rank.connection.close()


@contextmanager
def _quiet_torch() -> Iterator[None]:
    """Processes started in this block do not print the warnings of torch's C++ parts: each would, of unused parameters
    that are looked for and not found."""
    name = "TORCH_CPP_LOG_LEVEL"  # read when torch is loaded, so nothing but the environment can carry it
    if name in os.environ:
        yield
        return
    os.environ[name] = "ERROR"
    try:
        yield
    finally:
        del os.environ[name]


def _heard(ranks: Sequence[_Rank]) -> Iterator[tuple[int, str, Any]]:
    """What the processes tell, until each has told its end.

    Raises:
        RankFailed: one of them ended without a word.
    """
    talking = {rank.connection: number for number, rank in enumerate(ranks)}
    while talking:
        for ready in wait(list(talking), POLL_SECONDS):
            assert isinstance(ready, Connection)
            number = talking[ready]
            try:
                kind, content = ready.recv()
            except (EOFError, OSError):
                raise _death(number, ranks) from None
            if kind in (DONE, FAILED):
                del talking[ready]
            yield number, kind, content
        pass_by()


def _failure(content: tuple[str, int, str], number: int, ranks: Sequence[_Rank]) -> Exception:
    """The error of a process. One that lost another one knows less than that one's end says."""
    message, code, trace = content
    for other, rank in enumerate(ranks):
        if other != number and trace:
            rank.process.join(1.0 if rank.process.exitcode is None else 0)
            if rank.process.exitcode:
                return _death(other, ranks)
    error = RankFailed(f"process {number + 1} of {len(ranks)} failed: {message}" if trace else message)
    error.exit_code = code
    if trace:
        error.add_note(trace)
    return error


def _death(number: int, ranks: Sequence[_Rank]) -> RankFailed:
    process = ranks[number].process
    process.join(5.0)
    code = process.exitcode
    how = cause_of_death(code, kernel_killed=False) or (f"signal {-code}" if code and code < 0 else f"exit code {code}")
    return RankFailed(
        f"process {number + 1} of {len(ranks)} ended in the training ({how}); the others were stopped, and the same command "
        "resumes from the last epoch"
    )


def _check(spec: RunSpec, device: torch.device) -> None:
    count = spec.devices
    if count > spec.training.batch_size:
        raise InvalidSpec(
            f"devices is {count}, but a batch has {counted(spec.training.batch_size, 'pair')} to share out; set "
            "training.batch_size to at least as many"
        )
    if device.type == "cpu":
        if count * spec.threads > usable_cpus():
            logger.warning(
                "devices=%d with %s each take more than the %s here: the run has the same numbers, later",
                count,
                counted(spec.threads, "thread"),
                counted(usable_cpus(), "CPU"),
            )
        return
    if device.type != "cuda":
        raise InvalidSpec(f"devices is {count}, which is for cpu and cuda; the device is {device}")
    found = torch.cuda.device_count() - (device.index or 0)
    if count > found:
        raise InvalidSpec(
            f"devices is {count}, but there {'is' if found == 1 else 'are'} {counted(found, 'GPU')} from {device} on; set "
            f"devices to at most {found}"
        )
