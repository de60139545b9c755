"""Whether a worker is where it should be: at the command's results folder and plug-ins, with the command's code.

A folder of the same name on a node's own disk would take the records and lose them, and another version of the code
would give other numbers. Both are refused before any work is done.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ClusterUnavailable, counted
from harness.executors.base import Context, Job, Seat
from harness.files import source_code
from harness.files.writing import atomic_path

#: A file in the command's folder, by which a worker knows it.
MARK = "here"
#: Seconds that a shared disk has to show a new file.
PATIENCE_SECONDS = 10.0


@dataclass(frozen=True)
class Place:
    """Where a worker has to be.

    Args:
        context: of its command.
        code: `code_sha256` of the command.
    """

    context: Context
    code: str

    def problem(self, patience: float = PATIENCE_SECONDS) -> str:
        """What is wrong with the place of this process; "" if nothing is."""
        context = self.context
        if not _appears(context.folder / MARK, patience):
            return (
                f"{context.results} is not the command's results folder there: use one on a disk that all nodes share"
            )
        for plugin in context.plugins:
            if not _appears(Path(plugin), patience):
                return f"plug-in {plugin} is not there: put it on a disk that all nodes share"
        if code_sha256() != self.code:
            return "its harness is not the command's: install the same version of itm-harness there"
        return ""


@dataclass(frozen=True)
class Arriving:
    """A job that is refused in the wrong place.

    Args:
        place: where it has to be done.
        job: what is to do.
    """

    place: Place
    job: Job

    def __call__(self, seat: Seat) -> int:
        """Do the job.

        Raises:
            ClusterUnavailable: it cannot be done here.
        """
        if problem := self.place.problem() or missing_device(seat):
            raise ClusterUnavailable(f"node {os.uname().nodename}: {problem}")
        with suppress(OSError):
            _arrival(self.place.context, seat).touch()
        return self.job(seat)


def mark(context: Context, seat: Seat | None = None) -> Place:
    """Leave the mark by which workers know the results folder, and forget who had a seat before.

    Raises:
        ResultsNotWritable: it cannot be written.
    """
    if not (context.folder / MARK).is_file():
        with atomic_path(context.folder / MARK) as path:
            path.write_text(f"{os.uname().nodename}\n", encoding="utf-8")
    if seat is not None:
        _arrival(context, seat).unlink(missing_ok=True)
    return Place(context, code_sha256())


def has_arrived(context: Context, seat: Seat) -> bool:
    """Whether the worker that was started last in a seat has begun."""
    return _arrival(context, seat).is_file()


def missing_device(seat: Seat) -> str:
    """What a seat lacks to compute on its device; "" if nothing: else every run would be recorded as failed."""
    import torch

    if seat.device.startswith("cuda") and (found := torch.cuda.device_count()) < seat.gpus:
        return (
            f"{counted(found, 'GPU')} that torch can use, where a run needs {seat.gpus}: ask for a node with GPUs, "
            "for example --slurm partition=gpu, or use --device cpu"
        )
    return ""


def code_sha256() -> str:
    """SHA-256 of all code of this package."""
    root = Path(source_code.__file__).parents[1]
    files = {}
    for folder, _, names in os.walk(root, followlinks=True):  # the wings are links in a checkout
        found = (Path(folder) / name for name in names if name.endswith(".py"))
        files.update({path.relative_to(root).as_posix(): path for path in found})
    return source_code.sha256(files)


def _arrival(context: Context, seat: Seat) -> Path:
    return context.folder / f"{seat.number}.arrived"


def _appears(path: Path, patience: float) -> bool:
    deadline = time.monotonic() + patience
    while not path.is_file():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True
