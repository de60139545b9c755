"""What a command that trains nothing is at: one line with a bar on a terminal's stderr, nothing in a log."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console, Group, RenderableType
from rich.live import Live

from harness.cli.live import Row, pieces
from harness.cli.progress import REFRESH_HZ
from harness.cli.terminal import console as terminal_console
from harness.reports.statistics.telling import Tell


class Working:
    """The stage of a report, how far it is, and how long the rest of it takes; gone when it is done.

    Use as a context manager around work that tells its stages. Print the result after it.

    Args:
        console: where to; None = stderr.
        clock: seconds.
    """

    def __init__(self, console: Console | None = None, clock: Callable[[], float] = time.monotonic):
        self.console = console or terminal_console(stderr=True)
        self.live = self.console.is_terminal and not self.console.is_dumb_terminal
        self.clock = clock
        self.row: Row | None = None
        self.began = 0.0
        self.display = Live(
            console=self.console,
            get_renderable=self.line,
            refresh_per_second=REFRESH_HZ,
            transient=True,
        )

    def __enter__(self) -> Tell:
        if self.live:
            self.display.start()
        return self.tell

    def __exit__(self, *_: object) -> None:
        self.display.stop()

    def tell(self, stage: str, done: int, total: int) -> None:
        """Show how far a stage is; another name, or nothing done, begins a new one."""
        now = self.clock()
        if done == 0 or self.row is None or self.row.name != stage:
            self.began = now
        left = (now - self.began) / done * (total - done) if done else None
        self.row = Row(stage, "", total, since=now, done=done, left=left)

    def line(self) -> RenderableType:
        """What is at work now, as rich draws it."""
        return Group() if self.row is None else pieces([self.row], self.clock(), self.console.width)
