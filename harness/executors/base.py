"""The interface of executors: a job runs in workers, each of which has a seat."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Self

from harness.similarity import settings as engine

#: Below the results folder: log lines of workers.
FOLDER = ".workers"


@dataclass(frozen=True)
class Seat:
    """A worker's place.

    Args:
        number: 1-based, among the workers of a command.
        device: what it computes on: `cpu`, `cuda:0`.
        threads: CPUs that it fills.
        workers: of the command, this one included.
        gpus: that a run of it fills, from its device on.
    """

    number: int
    device: str = "cpu"
    threads: int = 1
    workers: int = 1
    gpus: int = 1

    @property
    def name(self) -> str:
        """What people call the worker in this seat.

        >>> Seat(2).name
        'worker 2'
        """
        return f"worker {self.number}"


#: What a worker does, in a process of its own: picklable, returns an exit code. See `harness.executors.entry.work`.
Job = Callable[[Seat], int]


@dataclass(frozen=True)
class Context:
    """What a worker has to know of its command.

    Args:
        results: the results folder, which every worker can reach under this path.
        command: name of the command's claim in that folder, and of the folder of its workers' log lines.
        engine: settings of the scoring engine.
        plugins: plug-in files.
        measure_alone: see `harness.machine.turnstile.use`.
    """

    results: Path
    command: str
    engine: engine.Settings = field(default_factory=engine.Settings)
    plugins: tuple[str, ...] = ()
    measure_alone: bool = True

    @property
    def folder(self) -> Path:
        """Where the workers of the command leave their log lines."""
        return self.results / FOLDER / self.command


class Worker(ABC):
    """A worker that was started.

    Args:
        seat: its place; a worker that replaces another one takes its seat.
    """

    def __init__(self, seat: Seat):
        self.seat = seat

    @abstractmethod
    def is_alive(self) -> bool:
        """Whether it works, or waits to be started. Called about twice a second."""

    @property
    @abstractmethod
    def exit_code(self) -> int | None:
        """What its job returned, or minus the signal that ended it; None while it lives, and where nobody knows."""

    def waits(self) -> bool:
        """Whether it waits to be started: for room on a cluster."""
        return False

    def cause_of_death(self) -> str:
        """How its job ended it, if it did (a crash, memory); "" where it ended well or was stopped from outside."""
        return ""


class Executor(ABC):
    """Starts workers.

    Args:
        context: what every worker has to know of the command.
    """

    name: ClassVar[str]

    def __init__(self, context: Context):
        self.context = context

    def __enter__(self) -> Self:
        """Get ready, before any work is given out.

        Raises:
            ItmError: there is nothing to run on: one line with what was tried and what to do.
        """
        return self

    def __exit__(self, *exception: object) -> None:  # noqa: B027 - nothing to give back on this machine
        """Give back what was taken."""

    @abstractmethod
    def seats(self, workers: int | None, device: str, threads: int, gpus: int = 1) -> list[Seat]:
        """A seat for each worker.

        Args:
            workers: how many; None = as many as there is room for, and at least one.
            device: as the user named it, or `auto`.
            threads: compute threads of each.
            gpus: of each, where it computes on GPUs.

        Raises:
            ItmError: there is no such device, or the number has to be given.
        """

    def remark(self, seats: Sequence[Seat]) -> str:
        """What to warn of before workers are started in these seats; "" = nothing."""
        return ""

    @abstractmethod
    def start(self, job: Job, seat: Seat) -> Worker:
        """Start a worker, which calls `harness.executors.entry.work(job, seat, self.context)`."""

    @abstractmethod
    def stop(self, workers: Sequence[Worker]) -> None:
        """Ask workers to leave what they do in order, and end those that do not in time."""
