"""One of the processes that train a run together: what it does, and what it tells the process that started it."""

from __future__ import annotations

import logging
import signal
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from harness import plugins
from harness.errors import ItmError, one_line
from harness.executors.entry import ORPHANED
from harness.machine.children import end_with_parent
from harness.machine.cpus import Share, use_share
from harness.machine.threads import compute_threads
from harness.measure.system import peak_memory
from harness.runs.building import build_scorer, open_dataset, splits_for
from harness.runs.watching import watched_splits, watcher
from harness.similarity import settings as engine
from harness.spec import RunSpec
from harness.training.loop import fit
from harness.training.ranks import joined

#: What a rank tells: an epoch, the epochs it resumes from, a log line, how it failed, what it leaves at its end.
EPOCH, RESUMED, LOG, FAILED, DONE = "epoch", "resumed", "log", "failed", "done"
Tell = Callable[[str, Any], None]


@dataclass(frozen=True)
class RankJob:
    """A training that several processes do together.

    Args:
        spec: of the run.
        devices: of each process.
        checkpoint: of the training.
        meeting: a file by which they find each other, which does not exist yet.
        engine: settings of the scoring engine.
        plugins: plug-in files.
        workers: that train side by side, each with as many processes.
    """

    spec: RunSpec
    devices: tuple[str, ...]
    checkpoint: Path
    meeting: str
    engine: engine.Settings = field(default_factory=engine.Settings)
    plugins: tuple[str, ...] = ()
    workers: int = 1


def rank_process(number: int, job: RankJob, connection: Connection) -> None:
    """The whole life of one process; it ends with the one that started it, and at once when asked to."""
    end_with_parent(ORPHANED)
    # What it has done since the last checkpoint is lost in any case, and a collective operation hears no exception.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def tell(kind: str, content: Any) -> None:
        connection.send((kind, content))

    _speak(tell if number == 0 else lambda *_: None)
    try:
        engine.use(job.engine)
        on_cpu = job.devices[number] == "cpu"
        use_share(Share(job.workers * len(job.devices), job.spec.threads if on_cpu else None))
        for plugin in job.plugins:
            plugins.add(plugin)
        tell(DONE, train(number, job, tell))
    except ItmError as error:
        tell(FAILED, (str(error), error.exit_code, ""))
    except Exception as error:
        tell(FAILED, (f"{type(error).__name__}: {one_line(error)}", 1, traceback.format_exc()))


def train(number: int, job: RankJob, tell: Tell) -> dict[str, Any]:
    """Do one process's part of the training.

    Returns:
        The latency figures of a step, and the peak memory of this process.
    """
    spec, device = job.spec, torch.device(job.devices[number])
    with (
        compute_threads(spec.threads),
        joined(number, len(job.devices), device, job.meeting) as group,
        peak_memory(device) as memory,
    ):
        dataset = open_dataset(spec.dataset)
        scorer = build_scorer(spec, dataset).to(device)
        splits, _ = splits_for(scorer, spec, dataset, ("train", "val", *watched_splits(spec)))
        result = fit(
            scorer,
            splits["train"],
            splits["val"],
            spec.training,
            seed=spec.seed,
            checkpoint=job.checkpoint,
            on_epoch=lambda epoch: tell(EPOCH, epoch),
            on_resume=lambda history: tell(RESUMED, history) if group.leads else None,
            batch_size_eval=spec.evaluation.batch_size,
            ranks=group,
            feeding=spec.feeding,
            title=spec.title,
            watch=watcher(scorer, splits, spec),
        )
    return {"step_ms": result.step_ms, "memory": memory}


class _Speaker(logging.Handler):
    def __init__(self, tell: Tell):
        super().__init__()
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        self._tell(LOG, (record.levelno, record.name, record.getMessage()))


def _speak(tell: Tell) -> None:
    """Log lines of the harness go to the process that started this one."""
    logger = logging.getLogger("harness")
    logger.handlers[:] = [_Speaker(tell)]
    logger.setLevel(logging.INFO)
