"""Workers as tasks of a Ray cluster: one that exists, or one that is started on this machine for the command."""

from __future__ import annotations

import itertools
import logging
import multiprocessing
import pickle
import shutil
import socket
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Self

from harness.errors import ClusterUnavailable, InvalidSpec, RunFailed, counted
from harness.executors import ray_driver
from harness.executors.base import Context, Executor, Job, Seat, Worker
from harness.executors.entry import STOPPED
from harness.executors.ray_driver import Fate, Node
from harness.executors.reach import has_arrived, mark
from harness.files.extras import is_installed, missing
from harness.files.locks import claim
from harness.records.environment import usable_cpus

logger = logging.getLogger(__name__)

LOCAL, AUTO = "local", "auto"
#: Seconds that a cluster has to be found, to be started, and to answer.
CONNECT_SECONDS, JOIN_SECONDS, START_SECONDS, ANSWER_SECONDS = 5.0, 30.0, 120.0, 30.0
#: Seconds that a worker has to leave what it does.
PATIENCE_SECONDS = 10.0
#: Seconds for which an answer about all workers serves.
FRESH_SECONDS = 0.4
#: Ray makes sockets below its folder, whose paths may have 107 characters.
MOST_CHARACTERS = 40


class RayWorker(Worker):
    """A task of the cluster."""

    def __init__(self, seat: Seat, number: int, executor: RayExecutor):
        super().__init__(seat)
        self.number = number
        self.asked_to_stop = False
        self._executor = executor

    def is_alive(self) -> bool:
        return self._executor.fate(self.number) is None

    def waits(self) -> bool:
        return self.is_alive() and not has_arrived(self._executor.context, self.seat)

    @property
    def exit_code(self) -> int | None:
        fate = self._executor.fate(self.number)
        if fate is None or (fate.code == STOPPED and not self.asked_to_stop):  # its node gives way
            return None
        return fate.code

    def cause_of_death(self) -> str:
        fate = self._executor.fate(self.number)
        return "" if fate is None else fate.cause


class RayExecutor(Executor):
    """Tasks of a Ray cluster.

    Args:
        context: see `Executor`.
        address: of a cluster that exists, `HOST:PORT`, or `auto` = that of this machine; `local` = a cluster of this
            machine alone, which ends with the command.

    Raises:
        InvalidSpec: no address.
    """

    name = "ray"

    def __init__(self, context: Context, address: str = LOCAL):
        super().__init__(context)
        self._address = _checked(address)
        self._driver: _Line | None = None
        self._nodes: list[Node] = []
        self._fates: dict[int, Fate] = {}
        self._asked = 0.0
        self._numbers = itertools.count(1)
        self._told: set[str] = set()

    def __enter__(self) -> Self:
        if not is_installed("ray"):
            raise missing("ray", "--executor ray")
        _require_listener(self._address)
        self._driver = _Line(self._address)
        try:
            seconds = START_SECONDS if self._address == LOCAL else JOIN_SECONDS
            opening = (self._address, usable_cpus(), self._driver.folder)
            self._driver.ask("open", *opening, seconds=seconds, error=ClusterUnavailable)
            self._nodes = [node for node in self._ask("nodes") if node.cpus]
            self._require_places()
        except BaseException:
            self._driver.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        assert self._driver is not None
        self._driver.close()

    def seats(self, workers: int | None, device: str, threads: int, gpus: int = 1) -> list[Seat]:
        on_gpus = _on_gpus(device, self._nodes)
        most = max((node.cpus for node in self._nodes), default=0)
        if threads > most:
            self._tell(f"a run uses {threads} threads, but no node of Ray has more than {counted(most, 'CPU')}")
        cpus = min(threads, most)
        room = sum(min(node.cpus // cpus, node.gpus // gpus if on_gpus else node.cpus) for node in self._nodes)
        if on_gpus and not room:
            most_gpus = max(node.gpus for node in self._nodes)
            raise ClusterUnavailable(
                f"a run takes {counted(gpus, 'GPU')} of one node (devices), but no node of Ray has more than {most_gpus}; set "
                f"devices={most_gpus}"
            )
        if workers is not None and workers > room:
            self._tell(f"Ray has room for {counted(room, 'worker')} at once; the others wait for room")
        device = "cuda:0" if on_gpus else "cpu"  # Ray shows a worker its own GPUs only
        return [Seat(number + 1, device, threads, gpus=gpus) for number in range(workers or room)]

    def start(self, job: Job, seat: Seat) -> RayWorker:
        place = mark(self.context, seat)
        number = next(self._numbers)
        cpus = min(seat.threads, max(node.cpus for node in self._nodes))
        payload = pickle.dumps((place, job, seat))
        self._ask(
            "start", number, payload, cpus, seat.gpus if seat.device.startswith("cuda") else 0, f"itm {seat.name}"
        )
        return RayWorker(seat, number, self)

    def stop(self, workers: Sequence[Worker]) -> None:
        left = [worker for worker in workers if isinstance(worker, RayWorker)]
        with suppress(RunFailed):  # with the cluster, its workers are gone
            for force in (False, True):
                for worker in left:
                    worker.asked_to_stop = True
                    self._ask("cancel", worker.number, force)
                deadline = time.monotonic() + PATIENCE_SECONDS
                while (left := [worker for worker in left if worker.is_alive()]) and time.monotonic() < deadline:
                    time.sleep(FRESH_SECONDS)

    def fate(self, number: int) -> Fate | None:
        """How a worker ended; None while it lives, or waits for room.

        Raises:
            RunFailed: the cluster is gone.
        """
        if number not in self._fates and time.monotonic() - self._asked > FRESH_SECONDS:
            found: dict[int, Fate] = self._ask("fates")
            self._fates |= found
            for fate in found.values():
                if fate.reason:
                    logger.error("a worker failed: %s", fate.reason)
            self._asked = time.monotonic()
        return self._fates.get(number)

    def _ask(self, name: str, *arguments: Any) -> Any:
        assert self._driver is not None
        return self._driver.ask(name, *arguments, seconds=ANSWER_SECONDS, error=RunFailed)

    def _require_places(self) -> None:
        if not self._nodes:
            raise ClusterUnavailable(f"no node of the Ray cluster at {self._address} has a CPU")
        with claim(self.context.results, self.context.command, wait=0):  # so that nobody clears our folder away
            place = mark(self.context)
            seconds = START_SECONDS
            problems = self._driver.ask(  # type: ignore[union-attr]
                "problems", place, self._nodes, seconds, seconds=seconds + ANSWER_SECONDS, error=ClusterUnavailable
            )
        for host, problem in problems.items():
            others = f" (and {counted(len(problems) - 1, 'more node')})" if len(problems) > 1 else ""
            raise ClusterUnavailable(f"node {host} of Ray{others}: {problem}")

    def _tell(self, line: str) -> None:
        if line not in self._told:
            self._told.add(line)
            logger.warning("%s", line)


class _Line:
    """A driver process and the pipe to it."""

    def __init__(self, address: str):
        self._address = address
        context = multiprocessing.get_context("spawn")
        self._connection: Connection
        self._connection, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(target=ray_driver.serve, args=(theirs,), name="itm-ray")
        self._process.start()
        theirs.close()
        self._ids = itertools.count()
        self._is_stuck = False
        #: Of a cluster of our own.
        self.folder = _short_folder() if address == LOCAL else ""

    def ask(self, name: str, *arguments: Any, seconds: float, error: type[ClusterUnavailable | RunFailed]) -> Any:
        """The answer of the driver, or an error of the kind given."""
        number = next(self._ids)
        deadline = time.monotonic() + seconds
        where = "Ray on this machine" if self._address == LOCAL else f"Ray at {self._address}"
        remedy = "" if error is ClusterUnavailable else "; what is recorded is kept, and the same command continues"
        try:
            self._connection.send((number, name, arguments))
            while self._connection.poll(max(0.0, deadline - time.monotonic())):
                replied, outcome, value = self._connection.recv()
                if replied != number:  # to a question that was interrupted
                    continue
                if outcome == "failed":
                    raise error(f"{value if value == ray_driver.GONE else f'{where}: {value}'}{remedy}")
                return value
        except (EOFError, OSError):
            raise error(f"{where} ended{remedy}") from None
        self._is_stuck = True
        raise error(f"{where} does not answer within {seconds:.0f} s{remedy}")

    def close(self) -> None:
        """Leave the cluster."""
        if not self._is_stuck or self.folder:  # a cluster of our own that starts slowly has processes to end
            with suppress(RunFailed):
                self.ask("close", seconds=ANSWER_SECONDS, error=RunFailed)
            self._process.join(1.0)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._connection.close()
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)


def _short_folder() -> str:
    base = tempfile.gettempdir()
    return tempfile.mkdtemp(prefix="itm-ray-", dir=base if len(base) <= MOST_CHARACTERS else "/tmp")


def _checked(address: str) -> str:
    """An address in a form that is known.

    >>> _checked("10.0.0.1:6379")
    '10.0.0.1:6379'
    """
    host, _, port = address.rpartition(":")
    if address in (LOCAL, AUTO) or (host and "//" not in host and port.isdecimal() and int(port) < 2**16):
        return address
    if address.startswith("ray://"):
        raise InvalidSpec(
            f"Ray's address '{address}' is that of Ray Client; call the command on a node of the cluster, with "
            "--ray-address auto"
        )
    raise InvalidSpec(f"Ray's address '{address}' is neither HOST:PORT nor auto nor local")


def _require_listener(address: str) -> None:
    """Find out soon that nobody listens; Ray itself would take two minutes."""
    if address in (LOCAL, AUTO):
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise ClusterUnavailable(
            f"no Ray cluster can be reached at {address} ({error.strerror or error}); start one there with "
            f"`ray start --head --port {port}`, or leave --ray-address out"
        ) from None


def _on_gpus(device: str, nodes: Sequence[Node]) -> bool:
    """Whether workers compute on GPUs."""
    has = any(node.gpus for node in nodes)
    if device == "auto":
        return has
    if device not in ("cpu", "cuda"):
        raise InvalidSpec(
            f"device '{device}' cannot be asked for on Ray, which hands out the GPUs; use cpu, cuda or auto"
        )
    if device == "cuda" and not has:
        raise ClusterUnavailable("no node of the Ray cluster has a GPU; use --device cpu or auto")
    return device == "cuda"
