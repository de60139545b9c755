"""Workers as SLURM jobs, submitted by submitit; its local executor runs them on this machine, its debug executor here.

A worker is a job of its own. A job that reaches its time limit, or that gives way to another one, stops in order when
SLURM announces it; the crew then submits another one in its place, which resumes from the last epoch.
"""

from __future__ import annotations

import importlib
import io
import logging
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import redirect_stderr, suppress
from pathlib import Path
from typing import Any, Self

from harness.errors import ClusterUnavailable, InvalidSpec, ItmError, one_line
from harness.executors.base import Context, Executor, Job, Seat, Worker
from harness.executors.batch_options import GPU_OPTIONS, BatchOptions, parse
from harness.executors.batch_work import here, in_job
from harness.executors.deaths import OUT_OF_MEMORY
from harness.executors.entry import STOPPED
from harness.executors.reach import has_arrived, mark
from harness.executors.squeue import Queue
from harness.files.extras import missing
from harness.machine.children import own_interrupts

logger = logging.getLogger(__name__)

COMMANDS = ("sbatch", "srun", "squeue", "scancel")
#: Below the results folder: what jobs wrote that ended unasked.
LOGS = "slurm-logs"
#: Seconds before its time limit at which a job is told.
NOTICE_SECONDS = 90
#: Seconds that a shared disk has to show a job's result; that a job has to leave what it does.
RESULT_SECONDS, PATIENCE_SECONDS = 15.0, 10.0
#: Minutes without a limit, which submitit's local executor does not know.
FOREVER = 60 * 24 * 365


class SlurmWorker(Worker):
    """A job.

    Args:
        seat: see `Worker`.
        job: submitit's.
        queue: SLURM's; None = the job is a process of this machine, or runs in this one when it is looked at.
        context: of its command.
    """

    def __init__(self, seat: Seat, job: Any, queue: Queue | None, context: Context):
        super().__init__(seat)
        self._job, self._queue, self._context = job, queue, context
        self._asked_to_stop = False
        self._over_since: float | None = None
        self._ended = False
        self._code: int | None = None

    def is_alive(self) -> bool:
        if not self._ended and self._is_over():
            self._over_since = self._over_since or time.monotonic()
            # Its result may reach us later than the news of its end.
            patience = RESULT_SECONDS if self._queue and not self._asked_to_stop else 0.0
            if self._has_result() or time.monotonic() - self._over_since >= patience:
                self._settle()
        return not self._ended

    def waits(self) -> bool:
        return self.is_alive() and not has_arrived(self._context, self.seat)

    @property
    def exit_code(self) -> int | None:
        return self._code

    def cause_of_death(self) -> str:
        return OUT_OF_MEMORY if self._state() == "OUT_OF_MEMORY" else ""

    def cancel(self) -> None:
        """Ask it to stop, or take it out of the queue."""
        self._asked_to_stop = True
        with suppress(OSError, subprocess.SubprocessError):
            if self._queue:
                self._job.cancel(check=False)
            elif not self._job.done():  # submitit would interrupt the job's parent, which shows where it was at
                os.kill(int(self._job.job_id), signal.SIGTERM)

    def _is_over(self) -> bool:
        if self._queue is None:
            return bool(self._job.done())
        return self._has_result() or self._state() in Queue.OVER

    def _has_result(self) -> bool:
        return self._job.paths.result_pickle.exists()

    def _ran_here(self) -> bool:
        """Whether it was a job of submitit's debug executor, which leaves no file."""
        return self._queue is None and self._job.state == "DONE"

    def _state(self) -> str:
        return self._queue.state(self._job.job_id) if self._queue else ""

    def _settle(self) -> None:
        """Find out how it ended."""
        self._ended = True
        try:
            self._code = int(self._job.result()) if self._has_result() or self._ran_here() else None
        except Exception as error:  # that of its process, as submitit tells it
            self._code = 1
            logger.error("%s failed: %s", self.seat.name, _reason(error))
        if self._asked_to_stop or self._code == 0:
            return
        if self._code == STOPPED:
            self._code = None
            logger.warning(
                "%s has to give way (its time limit, or preemption); another job takes its seat", self.seat.name
            )
        elif self._code != ItmError.exit_code:  # else it told its reason
            self._keep_log()
        if self._queue:  # SLURM may have put it back into its queue, and another one takes its place
            self.cancel()

    def _keep_log(self) -> None:
        kept = self._context.results / LOGS / f"{self._job.job_id}.err"
        with suppress(OSError):
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self._job.paths.stderr, kept)
        said = f" ({state})" if (state := self._state()) else ""
        logger.warning("job %s of %s ended early%s; its log: %s", self._job.job_id, self.seat.name, said, kept)


class SlurmExecutor(Executor):
    """Jobs of SLURM.

    Args:
        context: see `Executor`.
        options: see `harness.executors.batch_options.parse`.

    Raises:
        InvalidSpec: see there.
    """

    name = "slurm"

    def __init__(self, context: Context, options: Sequence[str] = ()):
        super().__init__(context)
        self._options = parse(options)
        self._submitit: Any = None
        self._queue = Queue() if self._options.cluster == "slurm" else None

    def __enter__(self) -> Self:
        try:
            self._submitit = importlib.import_module("submitit")
        except ImportError:
            raise missing("submitit", "--executor slurm") from None
        logging.getLogger("submitit").setLevel(logging.CRITICAL)  # it writes to the terminal
        absent = [command for command in COMMANDS if shutil.which(command) is None]
        if self._queue and absent:
            raise ClusterUnavailable(
                f"SLURM is not on this machine (no {absent[0]}); call the command on a login node, or use --executor local"
            )
        return self

    def seats(self, workers: int | None, device: str, threads: int, gpus: int = 1) -> list[Seat]:
        if device not in ("auto", "cpu", "cuda"):
            raise InvalidSpec(
                f"device '{device}' cannot be asked for on SLURM, which hands out the GPUs; use cpu, cuda or auto"
            )
        if self._options.cluster == "debug":
            return [Seat(1, device, threads, gpus=gpus)]
        if workers is None:
            raise InvalidSpec("--executor slurm needs --workers, the number of jobs: SLURM does not say how many fit")
        if device == "auto":
            device = "cuda" if any(key in self._options.sbatch for key in GPU_OPTIONS) else "cpu"
        return [Seat(number + 1, device, threads, gpus=gpus) for number in range(workers)]

    def start(self, job: Job, seat: Seat) -> SlurmWorker:
        place = mark(self.context, seat)
        folder = self.context.folder / "jobs"
        folder.mkdir(mode=0o700, exist_ok=True)  # what lies there is executed
        run = here if self._options.cluster == "debug" else in_job
        try:
            # What sbatch says is in the error, too. A Ctrl-C of the terminal is the command's affair.
            with redirect_stderr(io.StringIO()), own_interrupts():
                submitted = self._create(folder, seat).submit(run, place, job, seat)
        except Exception as error:  # submitit's own, and of the commands that it calls
            raise ClusterUnavailable(f"SLURM refused the job of {seat.name}: {_reason(error)}") from None
        return SlurmWorker(seat, submitted, self._queue, self.context)

    def stop(self, workers: Sequence[Worker]) -> None:
        left = [worker for worker in workers if isinstance(worker, SlurmWorker)]
        if self._options.cluster == "debug":
            return
        for worker in left:
            worker.cancel()
        if self._queue:
            self._queue.refresh()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (left := [worker for worker in left if worker.is_alive()]) and time.monotonic() < deadline:
            time.sleep(0.2)

    def _create(self, folder: Path, seat: Seat) -> Any:
        """Submitit's executor for a worker."""
        options = self._options
        if options.cluster == "debug":
            return self._submitit.DebugExecutor(folder)
        if options.cluster == "local":
            executor = self._submitit.LocalExecutor(folder)
            executor.update_parameters(
                timeout_min=options.minutes or FOREVER,
                signal_delay_s=_notice(options),
                gpus_per_node=seat.gpus if seat.device == "cuda" else 0,
                setup=list(options.setup),
            )
            return executor
        executor = self._submitit.SlurmExecutor(folder)
        executor.update_parameters(**sbatch_parameters(options, seat))
        return executor


def sbatch_parameters(options: BatchOptions, seat: Seat) -> dict[str, Any]:
    """What submitit writes into the script of a worker's job."""
    asked = seat.device == "cuda" and not set(GPU_OPTIONS) & set(options.sbatch)
    own = {"gpus-per-node": str(seat.gpus)} if asked else {}
    return {
        "job_name": f"itm-{seat.number}",
        "time": None,  # that of the partition, unless the user says otherwise
        "cpus_per_task": seat.threads,
        "signal_delay_s": _notice(options),
        "setup": list(options.setup) or None,
        "srun_args": [f"--cpus-per-task={seat.threads}"],  # srun does not take it from sbatch since 22.05
        "additional_parameters": {**own, **options.sbatch},
    }


def _notice(options: BatchOptions) -> int:
    """How many seconds before its time limit a job is told: less for a very short one."""
    return min(NOTICE_SECONDS, int((options.minutes or FOREVER) * 60 / 2))


def _reason(error: Exception) -> str:
    """What a failed command or job said last."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip(" -=")]
    return one_line(
        next((line for line in reversed(lines) if not line.startswith("You can check")), type(error).__name__)
    )
