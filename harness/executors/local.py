"""Workers as processes of this machine."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Sequence
from multiprocessing.process import BaseProcess

from harness.errors import counted
from harness.executors.base import Context, Executor, Job, Seat, Worker
from harness.executors.deaths import cause_of_death, kernel_kills
from harness.executors.entry import ORPHANED, work
from harness.machine.children import end_with_parent, own_interrupts, stop
from harness.machine.cpus import usable_cpus
from harness.scoring.memory import free_memory

#: Main memory that a worker is taken to need where nobody says how many there shall be: torch, a small model and its data.
WORKER_BYTES = 2 * 2**30


class LocalWorker(Worker):
    """A process of this machine, and how many the kernel had killed when it began."""

    def __init__(self, seat: Seat, process: BaseProcess):
        super().__init__(seat)
        self.process = process
        self._kills = kernel_kills()

    def is_alive(self) -> bool:
        return self.process.is_alive()

    @property
    def exit_code(self) -> int | None:
        return self.process.exitcode

    def cause_of_death(self) -> str:
        now = kernel_kills()
        return cause_of_death(self.exit_code, now is not None and self._kills is not None and now > self._kills)


class LocalExecutor(Executor):
    """Processes that are started anew: a fork would share the threads' locks of this one, and the GPU."""

    name = "local"

    def seats(self, workers: int | None, device: str, threads: int, gpus: int = 1) -> list[Seat]:
        devices = _devices(device, gpus)
        count = workers or _room(devices, threads)
        return [Seat(number + 1, devices[number % len(devices)], threads, gpus=gpus) for number in range(count)]

    def remark(self, seats: Sequence[Seat]) -> str:
        needed, there = sum(seat.threads for seat in seats if seat.device == "cpu"), usable_cpus()
        if needed <= there:
            return ""
        return f"{counted(len(seats), 'worker')} fill {counted(needed, 'CPU')}, and there are {there}: they take turns"

    def start(self, job: Job, seat: Seat) -> LocalWorker:
        process = multiprocessing.get_context("spawn").Process(
            target=_run, args=(job, seat, self.context), name=f"itm-{seat.number}"
        )
        with own_interrupts():
            process.start()
        return LocalWorker(seat, process)

    def stop(self, workers: Sequence[Worker]) -> None:
        stop([worker.process for worker in workers if isinstance(worker, LocalWorker)])


def _devices(device: str, gpus: int) -> list[str]:
    """The devices that workers share out, where none is named: every GPU, or the first one of each group of `gpus`."""
    import torch

    there = torch.cuda.device_count() if device in ("auto", "cuda") else 0
    firsts = range(0, max(1, there - gpus + 1), gpus) if there else ()
    return [f"cuda:{number}" for number in firsts] or ["cpu" if device == "auto" else device]


def _room(devices: Sequence[str], threads: int) -> int:
    """How many workers fill the GPUs, or the CPUs as far as memory goes."""
    if devices[0] != "cpu":
        return len(devices)
    return max(1, min(usable_cpus() // threads, free_memory() // WORKER_BYTES))


def _run(job: Job, seat: Seat, context: Context) -> None:
    # Sooner than the watch over the command's claim sees it, and on a disk without locks too.
    end_with_parent(ORPHANED)
    sys.exit(work(job, seat, context))
