"""The process that talks to Ray for a command.

Ray changes the process that joins a cluster: it takes over signals, writes to the terminal, waits for minutes where
nobody answers, and ends the process when the cluster's head is gone. So a process of its own joins, and the command
asks it over a pipe: a request is `(id, name, arguments)`, a reply `(id, "done" | "failed", value | reason)`.
"""

from __future__ import annotations

import logging
import os
import pickle
import secrets
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from harness.errors import one_line
from harness.executors.deaths import OUT_OF_MEMORY
from harness.executors.entry import STOPPED, leave, work
from harness.executors.reach import Arriving, Place
from harness.machine.waiting import sleep_while_waiting

#: Main memory for objects, of which we pass none worth mentioning: the least that Ray takes.
STORE_BYTES = 80 * 2**20
#: Seconds between two looks at whether the node of this process lives.
WATCH_SECONDS = 2.0
GONE = "the Ray node of this machine is gone"


@dataclass(frozen=True)
class Node:
    """A node of the cluster, and what it has in all."""

    id: str
    host: str
    cpus: int
    gpus: int


@dataclass(frozen=True)
class Fate:
    """How a worker ended; see `harness.executors.base.Worker`.

    Args:
        code: exit code; None = its process was killed, or its node.
        cause: if the job was the cause.
        reason: what Ray says of a job that raised.
    """

    code: int | None
    cause: str = ""
    reason: str = ""


class Driver:
    """What a command can ask for. Every public method is a request."""

    def __init__(self) -> None:
        self._ray: Any = None
        self._own_node = ""
        self._looked = 0.0
        self._folder = ""
        self._tasks: dict[int, Any] = {}

    def open(self, address: str, cpus: int, folder: str) -> None:
        """Join the cluster at an address; `local` starts one of `cpus` CPUs with its files in a folder."""
        options: dict[str, Any] = {}
        if address == "local":
            os.environ.update(_OWN_CLUSTER, RAY_AUTH_TOKEN=secrets.token_hex(32))
            self._folder = folder
            options = {
                "num_cpus": cpus,
                "include_dashboard": False,
                "object_store_memory": STORE_BYTES,
                "_temp_dir": folder,
            }
        import ray

        self._ray = ray
        quiet: dict[str, Any] = {"log_to_driver": False, "configure_logging": False, "logging_level": logging.ERROR}
        ray.init(address=address, namespace="itm", **quiet, **options)
        self._own_node = ray.get_runtime_context().get_node_id()

    def nodes(self) -> list[Node]:
        """The nodes that live."""
        alive = [node for node in self._ray.nodes() if node["Alive"]]
        has = [(node, node["Resources"]) for node in alive]
        return [
            Node(node["NodeID"], node["NodeManagerHostname"], int(amount.get("CPU", 0)), int(amount.get("GPU", 0)))
            for node, amount in has
        ]

    def problems(self, place: Place, nodes: list[Node], timeout: float) -> dict[str, str]:
        """What is wrong with which node, by its host."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        look = self._ray.remote(num_cpus=0, max_retries=0)(_look)
        looks = {
            look.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False)).remote(place): node
            for node in nodes
        }
        done, late = self._ray.wait(list(looks), num_returns=len(looks), timeout=timeout)
        found = {looks[ref].host: f"it did not answer within {timeout:.0f} s" for ref in late}
        for ref in done:
            try:
                found[looks[ref].host] = self._ray.get(ref)
            except self._ray.exceptions.RayError as error:
                found[looks[ref].host] = f"it cannot load the harness ({_last_line(error)}): install itm-harness there"
        return {host: problem for host, problem in found.items() if problem}

    def start(self, number: int, payload: bytes, cpus: int, gpus: int, name: str) -> None:
        """Start a worker where there is room, or when there is."""
        run = self._ray.remote(max_calls=1)(_run)  # a process per worker
        self._tasks[number] = run.options(num_cpus=cpus, num_gpus=gpus, max_retries=0, name=name).remote(payload)

    def fates(self) -> dict[int, Fate]:
        """How workers ended, since the last request."""
        self._require_own_node()
        refs = {ref: number for number, ref in self._tasks.items()}
        done, _ = self._ray.wait(list(refs), num_returns=len(refs), timeout=0) if refs else ([], [])
        return {refs[ref]: self._fate(self._tasks.pop(refs[ref])) for ref in done}

    def cancel(self, number: int, force: bool) -> None:
        """Ask a worker to stop, or end its process."""
        if number in self._tasks:
            self._ray.cancel(self._tasks[number], force=force)

    def close(self) -> None:
        """Leave the cluster; one of our own ends."""
        if self._ray is not None:
            self._ray.shutdown()
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _require_own_node(self) -> None:
        """Without the node of this machine no worker is heard of again."""
        if time.monotonic() - self._looked > WATCH_SECONDS:
            if self._own_node not in {node.id for node in self.nodes()}:
                raise RuntimeError(GONE)
            self._looked = time.monotonic()

    def _fate(self, task: Any) -> Fate:
        errors = self._ray.exceptions
        try:
            return Fate(int(self._ray.get(task)))
        except errors.TaskCancelledError:
            return Fate(STOPPED)
        except errors.OutOfMemoryError:
            return Fate(None, OUT_OF_MEMORY)
        except (errors.WorkerCrashedError, errors.NodeDiedError, errors.LocalRayletDiedError):
            return Fate(None)
        except errors.RayError as error:
            return Fate(1, reason=_last_line(error))


#: Of a cluster of our own: nobody else may join it, and nothing is told to Ray's makers.
_OWN_CLUSTER = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_health_check_period_ms": "1000",  # a node of this machine that is gone is missed within seconds
}


def serve(connection: Connection) -> None:
    """Answer requests until one closes the cluster, or the command is gone."""
    if hasattr(os, "setsid"):
        os.setsid()  # a Ctrl-C of the terminal is the command's affair
    _silence()
    driver = Driver()
    name = ""
    while name != "close":
        try:
            number, name, arguments = connection.recv()
        except (EOFError, OSError):  # the command was killed
            number, name, arguments = 0, "close", ()
        try:
            reply = (number, "done", getattr(driver, name)(*arguments))
        except BaseException as error:  # Ray ends its process by SystemExit
            reply = (number, "failed", one_line(error, 400) or type(error).__name__)
        with suppress(OSError):
            connection.send(reply)
    leave()  # without the farewell of Ray's threads


def _silence() -> None:
    """What Ray writes would stand between the lines of the command."""
    with Path(os.devnull).open("wb") as nowhere:
        for stream in (1, 2):
            os.dup2(nowhere.fileno(), stream)


def _last_line(error: BaseException) -> str:
    """The line of Ray's report that says what was raised."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return one_line(lines[-1] if lines else type(error).__name__)


def _look(place: Place) -> str:
    """What is wrong with the node that runs this."""
    return place.problem()


def _run(payload: bytes) -> int:
    """What a worker does."""
    sleep_while_waiting(os.environ)  # before torch is loaded, with the job
    place, job, seat = pickle.loads(payload)
    return work(Arriving(place, job), seat, place.context)
