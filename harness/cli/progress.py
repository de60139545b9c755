"""Progress of a command on stderr: bars on a terminal, a line per epoch and per run in a log."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from harness.cli.terminal import console as terminal_console
from harness.errors import counted
from harness.reports.document.text import duration, shortened
from harness.tracking.observer import Observer, Step


class ConsoleObserver(Observer):
    """Shows what a job begins with and how each of its pieces ends. Use as a context manager around the job.

    Args:
        console: where to; None = stderr.
        clock: seconds, for the time that is left of a job that does not know it.
        now: the time of day, for the time at which a job will end.
    """

    def __init__(
        self,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = datetime.now,
    ):
        self.console = console or terminal_console(stderr=True)
        self.live = self.console.is_terminal
        self.clock, self.now = clock, now
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=12),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=self.console,
            disable=not self.live,
            transient=True,
        )
        self.pieces = self.progress.add_task("", total=None, note="", visible=False)
        self.steps = self.progress.add_task("", total=None, note="", visible=False)
        self.total = self.done = self.before = 0
        self.since = self.clock()

    def __enter__(self) -> ConsoleObserver:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def began(self, job: str, noun: str, total: int, done: int) -> None:
        self.total, self.done, self.before, self.since = total, done, done, self.clock()
        lead = f"{job}, " if job else ""
        self.noted(f"{lead}{counted(total, noun)}: {done} already recorded, {max(0, total - done)} to run")
        self.progress.update(self.pieces, description=f"{noun}s", total=total, completed=done, visible=self.live)

    def started(self, piece: str, steps: int) -> None:
        # What stands behind it takes up to 58 characters, and a narrower column would lose its numbers first.
        name = shortened(piece, max(16, self.console.width - 58))
        self.progress.reset(self.steps, total=steps, description=name, note="", visible=self.live)

    def stepped(self, piece: str, step: Step) -> None:
        if self.live:
            note = ", ".join(filter(None, (step.short, _left(step.left))))
            self.progress.update(self.steps, completed=step.number, note=note)
            self.progress.update(self.pieces, note=_left(step.all_left))
            return
        run = f"run {duration(step.left)}" if step.left else ""
        left = self._left(run, step.all_left)
        self.noted(f"{piece}: epoch {step.number}/{step.steps}: {step.text} ({duration(step.seconds)}){left}")

    def ended(self, text: str, all_left: float | None = None) -> None:
        self.done += 1
        left = self._usual() if all_left is None else all_left
        self.noted(f"[{self.done}/{self.total}] {text}{'' if self.live else self._left('', left)}")
        self.progress.update(self.pieces, completed=self.done, note=_left(left))
        self.progress.update(self.steps, visible=False)

    def noted(self, text: str) -> None:
        self.console.print(text, soft_wrap=True)

    def _usual(self) -> float | None:
        """Seconds that are left if the other pieces take as long as those of this call did, side by side or not."""
        ours = self.done - self.before
        return (self.clock() - self.since) / ours * (self.total - self.done) if ours else None

    def _left(self, run: str, seconds: float | None) -> str:
        """How a line of a log ends: what is left of the run and of the job, and when that will be over."""
        parts = [run] if run else []
        if seconds:
            now = self.now()
            end = now + timedelta(seconds=seconds)
            day = "" if end.date() == now.date() else f"{end.day} {end:%b} "
            parts.append(f"all {duration(seconds)}, until {day}{end:%H:%M}")
        return f"; left: {'; '.join(parts)}" if parts else ""


def _left(seconds: float | None) -> str:
    return f"{duration(seconds)} left" if seconds else ""
