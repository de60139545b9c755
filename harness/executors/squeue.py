"""What SLURM says of this user's jobs: one call of `squeue` for all of them, now and then.

`squeue` asks SLURM's controller, which every cluster has; `sacct`, which submitit asks, needs a database.
"""

from __future__ import annotations

import logging
import subprocess
import time
from typing import ClassVar

from harness.errors import one_line

logger = logging.getLogger(__name__)

#: Seconds between two calls, and for one.
FRESH_SECONDS, CALL_SECONDS = 5.0, 30.0
COMMAND = ("squeue", "--me", "--noheader", "--states=all", "--format=%i %T")


class Queue:
    """States of jobs."""

    #: States of jobs that are over; SLURM forgets a job some minutes after its end.
    FORGOTTEN = "FORGOTTEN"
    OVER: ClassVar[frozenset[str]] = frozenset(
        [
            "BOOT_FAIL",
            "CANCELLED",
            "COMPLETED",
            "DEADLINE",
            "FAILED",
            "NODE_FAIL",
            "OUT_OF_MEMORY",
            "PREEMPTED",
            "TIMEOUT",
        ]
    ) | {FORGOTTEN}

    def __init__(self) -> None:
        self._table: dict[str, str] = {}
        self._read = float("-inf")
        self._first: dict[str, float] = {}
        self._failed = False

    def state(self, job_id: str) -> str:
        """A job's state; "" while it is not known."""
        first = self._first.setdefault(job_id, time.monotonic())
        if time.monotonic() - self._read > FRESH_SECONDS:
            self.refresh()
        return self._table.get(job_id, self.FORGOTTEN) if self._read > first else ""

    def refresh(self) -> None:
        """Ask now."""
        started = time.monotonic()
        try:
            done = subprocess.run(COMMAND, capture_output=True, text=True, timeout=CALL_SECONDS, check=True)
        except (OSError, subprocess.SubprocessError) as error:  # a busy controller; the jobs run on
            if not self._failed:
                said = getattr(error, "stderr", None) or error  # its own words rather than Python's about them
                logger.warning("squeue fails (%s): jobs that end are noticed when it answers again", one_line(said))
            self._failed = True
            return
        self._failed = False
        self._table = dict(words for line in done.stdout.splitlines() if len(words := line.split()) == 2)
        self._read = started
