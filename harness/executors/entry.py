"""What every worker does first and last, wherever it was started.

A worker ends with its command: it holds nothing that anybody would miss, and what it worked on resumes with the next
call. Its log lines go to a file in the results folder, from which the command tells them.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import NoReturn

from harness import plugins
from harness.errors import ItmError
from harness.executors.base import Context, Job, Seat
from harness.executors.lines import write_refusal, written_to
from harness.files.locks import is_claimed
from harness.machine import turnstile
from harness.machine.cpus import Share, use_share
from harness.machine.interruptions import Interruptions, listen, stop_if_asked
from harness.similarity import settings as engine

#: Seconds between two looks at whether the command lives.
WATCH_SECONDS = 2.0
#: Exit codes of a worker that was asked to stop, and of one whose command is gone.
STOPPED, ORPHANED = 130, 129


def work(job: Job, seat: Seat, context: Context) -> int:
    """Do a job in this process, which is a worker's.

    Returns:
        The job's exit code; that of an error of the user, whose reason the command tells; `STOPPED` after a signal.
    """
    signals = Interruptions()
    try:
        _listen_to_signals(signals)
        threading.Thread(target=_end_with, args=(context,), name="itm-watch", daemon=True).start()
        path = context.folder / f"{seat.number}.jsonl"
        with written_to(path), signals.told():
            try:
                engine.use(context.engine)
                turnstile.use(context.measure_alone)
                use_share(Share(seat.workers, seat.threads if seat.device == "cpu" else None))
                for plugin in context.plugins:
                    plugins.add(plugin)
                return job(seat)
            except ItmError as error:
                stop_if_asked()
                write_refusal(path, error)
                return error.exit_code
    except KeyboardInterrupt:
        return STOPPED


def leave() -> NoReturn:
    """End a worker whose command is gone."""
    os._exit(ORPHANED)


def _listen_to_signals(signals: Interruptions) -> None:
    if threading.current_thread() is threading.main_thread():
        # Never Ctrl-C, which the command hears. SIGUSR2 announces the end of a SLURM job; submitit's own handler raises an
        # error into whatever runs, which would be taken for a failure of the training.
        names = ("SIGTERM", "SIGHUP", "SIGUSR2")
        listen(signals, [getattr(signal, name) for name in names if hasattr(signal, name)])


def _end_with(context: Context) -> None:
    """End with the command, so that nothing works on in the background."""
    if not is_claimed(context.results, context.command):
        return  # a disk without locks, where nobody can tell
    while is_claimed(context.results, context.command):
        time.sleep(WATCH_SECONDS)
    leave()
