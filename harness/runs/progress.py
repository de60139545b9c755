"""How far a run has come, as files in its folder: whoever trains it writes them, every command on the folder can read them.

`progress.json` is replaced after each epoch and removed when the run is finished; that of a failed run keeps its exit code.
`deaths.json` lists how workers died of a run; only a command that watches its workers writes it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from harness.errors import ResultsNotWritable
from harness.files.reading import Damaged, read_json
from harness.files.writing import atomic_path
from harness.records.store import DEATHS, PROGRESS
from harness.spec import Spec
from harness.training.state import Epoch

#: Settings that end their process this many times (out of memory, say) are given up.
MOST_DEATHS = 3


class Progress(Spec):
    """How far a run has come.

    Args:
        command: that runs it, see `harness.executors.base.Context`; "" = one without workers.
        worker: number of its seat; 0 = the command itself.
        epochs: of the whole training.
        history: the epochs so far, those of earlier calls too.
        resumed: how many of them are of earlier calls.
        exit_code: that it asks for, once it has failed.
    """

    command: str = ""
    worker: int = 0
    epochs: int
    history: tuple[Epoch, ...] = ()
    resumed: int = 0
    exit_code: int | None = None


class ProgressWriter:
    """Writes the progress of one run.

    Args:
        folder: of the run.
        epochs: of the whole training.
        command, worker: see `Progress`.
    """

    def __init__(self, folder: Path, epochs: int, command: str = "", worker: int = 0):
        self._path = folder / PROGRESS
        self._progress = Progress(command=command, worker=worker, epochs=epochs)

    def begin(self) -> None:
        """The run starts, or resumes."""
        self._write()

    def resumed(self, history: Sequence[Epoch]) -> None:
        """It goes on after these epochs."""
        self._write(history=tuple(history), resumed=len(history))

    def epoch(self, epoch: Epoch) -> None:
        """An epoch has ended."""
        self._write(history=(*self._progress.history, epoch))

    def failed(self, exit_code: int) -> None:
        """The run failed."""
        self._write(exit_code=exit_code)

    def finished(self) -> None:
        """The run is recorded."""
        for name in (PROGRESS, DEATHS):
            with suppress(OSError):
                self._path.with_name(name).unlink()

    def _write(self, **changes: object) -> None:
        self._progress = self._progress.model_copy(update=changes)
        # Nothing depends on it: a disk that is full fails the run where its results are written, with a better reason.
        with suppress(ResultsNotWritable, OSError), atomic_path(self._path) as path:
            path.write_text(self._progress.model_dump_json(), encoding="utf-8")


def read_progress(folder: Path) -> Progress | None:
    """The progress of a run; None where there is none, or none that can be read."""
    if not os.path.lexists(folder / PROGRESS):
        return None
    try:
        return Progress.model_validate_json((folder / PROGRESS).read_bytes())
    except (OSError, ValidationError, RecursionError):
        return None


def deaths_of(folder: Path) -> list[str]:
    """How workers died of a run."""
    if not os.path.lexists(folder / DEATHS):
        return []
    try:
        deaths = read_json(folder / DEATHS)
    except (Damaged, OSError):
        return []
    return [str(cause) for cause in deaths] if isinstance(deaths, list) else []


def add_death(folder: Path, cause: str) -> None:
    """Note that a worker died of a run."""
    with suppress(ResultsNotWritable), atomic_path(folder / DEATHS) as path:
        path.write_text(json.dumps([*deaths_of(folder), cause]), encoding="utf-8")


def verdict(deaths: Sequence[str]) -> str:
    """Why a run is given up; "" while it is not.

    >>> verdict(["abort", "abort", "abort"])
    'these settings ended their worker 3 times: abort'
    """
    if len(deaths) < MOST_DEATHS:
        return ""
    return f"these settings ended their worker {len(deaths)} times: {'; '.join(dict.fromkeys(deaths))}"
