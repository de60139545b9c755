"""What a SLURM job runs."""

from __future__ import annotations

from harness.errors import ClusterUnavailable, ItmError
from harness.executors.base import Job, Seat
from harness.executors.entry import work
from harness.executors.lines import write_refusal
from harness.executors.reach import Arriving, Place, missing_device


def in_job(place: Place, job: Job, seat: Seat) -> int:
    """Do a job in a process that submitit started."""
    return work(Arriving(place, job), seat, place.context)


def here(place: Place, job: Job, seat: Seat) -> int:
    """Do a job in the command's own process, whose signals, log and plug-ins are in place."""
    try:
        if problem := missing_device(seat):
            raise ClusterUnavailable(f"this machine: {problem}")
        return job(seat)
    except ItmError as error:
        write_refusal(place.context.folder / f"{seat.number}.jsonl", error)
        return error.exit_code
