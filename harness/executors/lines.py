"""Log lines of workers: written to a file per worker, and told by the command, each once.

The results folder is what a command and its workers share on every executor, so the lines go through it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.errors import ItmError, WorkerStopped

#: In the place of a level: what follows is the exit code and the reason of a worker that does not work.
REFUSED = "refused"
#: The logger of the whole harness.
ROOT = "harness"


class _Writer(logging.Handler):
    """Appends a JSON line for each message."""

    def __init__(self, path: Path):
        super().__init__()
        self._path = path

    def emit(self, record: logging.LogRecord) -> None:
        line = json.dumps([record.levelno, record.name, record.getMessage()])
        with suppress(OSError), self._path.open("a", encoding="utf-8") as file:  # a full disk ends no run
            file.write(f"{line}\n")


@contextmanager
def written_to(path: Path) -> Iterator[logging.Logger]:
    """The harness's log lines go to a file for the duration of a block, and nowhere else."""
    logger = logging.getLogger(ROOT)
    before, level = list(logger.handlers), logger.level
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
    writer = _Writer(path)
    logger.handlers[:] = [writer]
    logger.setLevel(logging.INFO)
    try:
        yield logger
    finally:
        logger.handlers[:] = before
        logger.setLevel(level)


def write_refusal(path: Path, error: ItmError) -> None:
    """Leave word of why a worker does not work."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps([REFUSED, error.exit_code, str(error)])}\n")


class Teller:
    """Tells what workers wrote. A line that several of them write is told once.

    Args:
        folder: of the workers' files.

    Attributes:
        refusals: why workers did not work, each reason once; it is for their command to tell.
    """

    def __init__(self, folder: Path):
        self.refusals: list[WorkerStopped] = []
        self._folder = folder
        self._read: dict[Path, int] = {}
        self._told: set[tuple[int, str]] = set()

    def tell(self) -> None:
        """Log what was written since the last call. Half a line waits for its other half."""
        for path in sorted(self._folder.glob("*.jsonl")):
            with suppress(OSError), path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                whole = file.read().rpartition(b"\n")[0]
            if whole:
                self._read[path] = self._read.get(path, 0) + len(whole) + 1
                for line in whole.splitlines():
                    self._log(line)

    def _log(self, line: bytes) -> None:
        try:
            level, name, text = json.loads(line)
            if level == REFUSED:
                self._refuse(WorkerStopped(str(text), int(name)))
                return
            level, name, text = int(level), str(name), str(text)
        except (ValueError, TypeError):  # a file that somebody else wrote
            return
        if (level, text) not in self._told:
            self._told.add((level, text))
            logging.getLogger(name if name.split(".")[0] == ROOT else ROOT).log(level, "%s", text)

    def _refuse(self, refusal: WorkerStopped) -> None:
        if str(refusal) not in map(str, self.refusals):
            self.refusals.append(refusal)
