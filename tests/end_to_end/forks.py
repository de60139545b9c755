"""Commands in processes of their own that need no start: one process imports everything, and forks a child for each call."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, cast

#: What the commands would import one after the other. None of them may start a thread, which no fork would have.
IMPORTED = (
    "torch._dynamo", "mlflow.store.tracking.sqlalchemy_store", "optuna", "moments", "harness.runs.experiment",
    "harness.training.loop", "harness.sweeps.run", "harness.reports.leaderboard.report", "harness.cli.leaderboard",
)  # fmt: skip
#: Reads calls as lines of JSON. {"arguments": [...], "log": PATH, "before": [[MODULE, FUNCTION, ARGUMENT, ...], ...]} is
#: answered with the id of the child, {"wait": ID, "patience": SECONDS} with its exit code, or null while it works.
#: A shell that starts the tests in the background hands on a SIGINT that is ignored.
PARENT = """
import gc, importlib, json, os, signal, sys, time

signal.signal(signal.SIGINT, signal.default_int_handler)
for name in sys.argv[1:]:
    importlib.import_module(name)
from harness.cli.main import main
from harness.registry import engine_sha256

engine_sha256()
gc.collect()
gc.freeze()  # what nobody writes to stays one for all

def ended(child, patience):
    deadline = time.monotonic() + patience
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= deadline:
            return None
        time.sleep(0.005)

def answer(value):
    print(json.dumps(value), flush=True)

answer("ready")
for line in sys.stdin:
    call = json.loads(line)
    if "wait" in call:
        answer(ended(call["wait"], call["patience"]))
    elif child := os.fork():
        answer(child)
    else:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(os.open(call["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND), 1)
        os.dup2(1, 2)
        for module, function, *arguments in call["before"]:
            getattr(importlib.import_module(module), function)(*arguments)
        main(call["arguments"])
"""


class Fork:
    """A command that runs, with those methods of `subprocess.Popen` that tests ask for."""

    def __init__(self, forks: Forks, pid: int, log: Path):
        self.pid, self.returncode = pid, cast("int | None", None)
        self._forks, self._log = forks, log

    def poll(self) -> int | None:
        return self._ended(0)

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float = 300) -> tuple[str, None]:
        """What it wrote, once it has ended."""
        if self._ended(timeout) is None:
            raise subprocess.TimeoutExpired(str(self._log), timeout)
        return self._log.read_text(encoding="utf-8"), None

    def _ended(self, patience: float) -> int | None:
        if self.returncode is None:
            self.returncode = self._forks.asked(wait=self.pid, patience=patience)
        return self.returncode


class Forks:
    """The process that has imported everything."""

    def __init__(self) -> None:
        path = os.pathsep.join((str(Path(__file__).parent), *sys.path))
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONPATH": path}
        command = [sys.executable, "-c", PARENT, *IMPORTED]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        assert self._heard() == "ready"
        names = [path.read_text().strip() for path in Path("/proc").glob(f"{self._process.pid}/task/*/comm")]
        assert len([name for name in names if name != "jemalloc_bg_thd"]) <= 1, names  # pyarrow's, which knows of forks

    def start(self, *arguments: object, log: Path, before: tuple[tuple[object, ...], ...] = ()) -> Fork:
        """Start `itm ARGUMENTS`; what it writes is appended to a file.

        Args:
            arguments: of the command.
            log: where its output goes.
            before: functions that are called first in the child: module, name and arguments.
        """
        pid = self.asked(arguments=[str(argument) for argument in arguments], log=str(log), before=before)
        assert pid is not None
        return Fork(self, pid, log)

    def asked(self, **call: object) -> int | None:
        writing = cast(IO[str], self._process.stdin)
        writing.write(f"{json.dumps(call)}\n")
        writing.flush()
        return cast("int | None", self._heard())

    def close(self) -> None:
        cast(IO[str], self._process.stdin).close()
        assert self._process.wait() == 0

    def _heard(self) -> object:
        return json.loads(cast(IO[str], self._process.stdout).readline())
