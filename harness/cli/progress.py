"""Progress of a command on stderr: a live table on a terminal, a line per epoch and per run in a log."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from rich.console import Console, RenderableType
from rich.live import Live

from harness.cli.live import Row, Whole, table
from harness.cli.terminal import console as terminal_console
from harness.errors import counted
from harness.reports.document.text import duration
from harness.tracking.observer import Observer, Step

#: Times a second that the table is drawn anew, for its times.
REFRESH_HZ = 2


class ConsoleObserver(Observer):
    """Shows what a job begins with and how each of its pieces ends; on a terminal, also what is in progress.

    Use as a context manager around the job.

    Args:
        console: where to; None = stderr.
        clock: seconds, for times that pass, and for the time that is left of a job that does not know it.
        now: the time of day, for the time at which a job will end.
    """

    def __init__(
        self,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = datetime.now,
    ):
        self.console = console or terminal_console(stderr=True)
        self.live = self.console.is_terminal and not self.console.is_dumb_terminal
        self.clock, self.now = clock, now
        self.total = self.done = self.before = 0
        self.since = self.clock()
        self.rows: dict[str, Row] = {}
        self.whole: Whole | None = None
        self.display = Live(
            console=self.console,
            get_renderable=self.table,
            refresh_per_second=REFRESH_HZ,
            transient=True,
        )

    def __enter__(self) -> ConsoleObserver:
        if self.live:
            self.display.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.display.stop()

    def table(self) -> RenderableType:
        """What is in progress now, as rich draws it."""
        return table(list(self.rows.values()), self.whole, self.clock(), self.console.size, self.until)

    def began(self, job: str, noun: str, total: int, done: int) -> None:
        self.total, self.done, self.before, self.since = total, done, done, self.clock()
        lead = f"{job}, " if job else ""
        self.noted(f"{lead}{counted(total, noun)}: {done} already recorded, {max(0, total - done)} to run")
        self.rows.clear()
        self.whole = Whole(noun, total, done)

    def started(self, piece: str, steps: int, worker: str = "") -> None:
        self.rows[piece] = Row(piece, worker, steps, since=self.clock())

    def stepped(self, piece: str, step: Step) -> None:
        row = self.rows.setdefault(piece, Row(piece, "", step.steps, since=self.clock()))
        row.step(step, self.clock())
        if step.all_left is not None:
            self._tell_left(step.all_left)
        if not self.live and step.text:
            run = f"run {duration(step.left)}" if step.left else ""
            left = self._left(run, step.all_left)
            self.noted(f"{piece}: epoch {step.number}/{step.steps}: {step.text} ({duration(step.seconds)}){left}")

    def stopped(self, piece: str) -> None:
        self.rows.pop(piece, None)

    def ended(self, piece: str, text: str, all_left: float | None = None) -> None:
        self.rows.pop(piece, None)
        self.done += 1
        left = self._usual() if all_left is None else all_left
        self._tell_left(left)
        self.noted(f"[{self.done}/{self.total}] {text}{'' if self.live else self._left('', left)}")

    def noted(self, text: str) -> None:
        self.console.print(text, soft_wrap=True)

    def until(self, seconds: float) -> str:
        """The time of day in so many seconds; with the day, if it is another one."""
        now = self.now()
        end = now + timedelta(seconds=seconds)
        return f"{'' if end.date() == now.date() else f'{end.day} {end:%b} '}{end:%H:%M}"

    def _tell_left(self, left: float | None) -> None:
        if self.whole is None:
            return
        ours, passed = self.done - self.before, self.clock() - self.since
        rate = 3600 * ours / passed if ours > 0 and passed > 0 else None
        self.whole = Whole(self.whole.noun, self.total, self.done, rate, left, self.clock())

    def _usual(self) -> float | None:
        """Seconds that are left if the other pieces take as long as those of this call did, side by side or not."""
        ours = self.done - self.before
        return (self.clock() - self.since) / ours * (self.total - self.done) if ours else None

    def _left(self, run: str, seconds: float | None) -> str:
        """How a line of a log ends: what is left of the run and of the job, and when that will be over."""
        parts = [run] if run else []
        if seconds:
            parts.append(f"all {duration(seconds)}, until {self.until(seconds)}")
        return f"; left: {'; '.join(parts)}" if parts else ""
