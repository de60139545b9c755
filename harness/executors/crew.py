"""A crew: as many workers as there are seats, watched, replaced when they die, and stopped with their command."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from shutil import rmtree

from harness.errors import RunFailed, WorkerStopped
from harness.executors.base import FOLDER, Executor, Job, Seat, Worker
from harness.executors.entry import STOPPED
from harness.executors.lines import Teller
from harness.files.locks import claim, is_claimed
from harness.machine.interruptions import stop_if_asked

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5
#: A seat whose workers die this many times in a row, none of them getting anything done, stays empty.
MOST_DEATHS = 3


@dataclass
class Ended:
    """How a crew ended.

    Args:
        codes: exit codes of the workers that were not replaced.
        deaths: how many died, replaced or not.
        refusals: why workers did not work, each reason once.
    """

    codes: list[int | None] = field(default_factory=list)
    deaths: int = 0
    refusals: list[WorkerStopped] = field(default_factory=list)

    def require_done(self, left: str) -> None:
        """Refuse an end at which something is `left` to do, in words; "" = nothing is, and refusals are only told.

        Raises:
            WorkerStopped: the first refusal.
            RunFailed: workers ended early without one.
        """
        for refusal in self.refusals[bool(left) :]:
            logger.error("a worker stopped: %s", refusal)
        if not left:
            return
        if self.refusals:
            raise self.refusals[0]
        codes = ", ".join("unknown" if code is None else str(code) for code in self.codes)
        raise RunFailed(
            f"the workers ended early (exit codes {codes}) with {left}; what is recorded is kept, and the same command "
            "continues"
        )


def new_command() -> str:
    """A name for a command's claim on its workers."""
    return f"command-{uuid.uuid4().hex[:12]}"


def run_crew(
    executor: Executor,
    job: Job,
    seats: Sequence[Seat],
    *,
    poll: Callable[[], object],
    died: Callable[[Worker, str], bool],
) -> Ended:
    """Run a job in workers until all of them have ended.

    Args:
        executor: opened; starts them.
        job: of each; it returns when it has nothing left to do.
        seats: one worker each.
        poll: called about twice a second, and once at the end; where it raises, the workers are stopped.
        died: called with a worker that ended otherwise than by returning from its job, and the cause if its job was the
            cause; returns whether it got anything done.
    """
    context, ended = executor.context, Ended()
    seats = [replace(seat, workers=len(seats)) for seat in seats]
    _remove_left_behind(context.results)
    if remark := executor.remark(seats):
        logger.warning("%s", remark)
    teller = Teller(context.folder)
    with claim(context.results, context.command, wait=0):
        crew: list[Worker] = []
        idle_deaths = dict.fromkeys(seats, 0)
        try:
            crew += [executor.start(job, seat) for seat in seats]
            while crew:
                time.sleep(POLL_SECONDS)
                stop_if_asked()
                for worker in [worker for worker in crew if not worker.is_alive()]:
                    crew.remove(worker)
                    if not _is_death(worker.exit_code):
                        ended.codes.append(worker.exit_code)
                        continue
                    ended.deaths += 1
                    idle_deaths[worker.seat] += 1
                    if died(worker, worker.cause_of_death()):
                        idle_deaths[worker.seat] = 0
                    if idle_deaths[worker.seat] < MOST_DEATHS:
                        crew.append(executor.start(job, worker.seat))
                    else:
                        ended.codes.append(worker.exit_code)
                if 0 in ended.codes:  # nothing is left that nobody does, so nobody has to wait for a cluster's room
                    spare = [worker for worker in crew if worker.waits()]
                    executor.stop(spare)
                    crew = [worker for worker in crew if worker not in spare]
                teller.tell()
                poll()
        finally:
            executor.stop(crew)
            teller.tell()
            ended.refusals = teller.refusals
            rmtree(context.folder, ignore_errors=True)
            with suppress(OSError):  # another command's workers have theirs there
                context.folder.parent.rmdir()
    poll()
    return ended


def _is_death(exit_code: int | None) -> bool:
    """Whether a worker ended without returning from its job: by a signal, even in order, or in an unknown way.

    >>> [_is_death(code) for code in (0, 1, 2, STOPPED, -9, None)]
    [False, False, False, True, True, True]
    """
    return exit_code is None or exit_code < 0 or exit_code == STOPPED


def _remove_left_behind(results: Path) -> None:
    """Remove the log lines of killed commands' workers."""
    for folder in (results / FOLDER).glob("*/"):
        if not folder.is_symlink() and not is_claimed(results, folder.name):
            rmtree(folder, ignore_errors=True)
