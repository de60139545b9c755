"""Progress of a command on stderr: bars on a terminal, plain lines in a log."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from harness.cli.terminal import console as terminal_console
from harness.errors import counted
from harness.tracking.observer import Observer


class ConsoleObserver(Observer):
    """Shows what a job begins with and how each of its pieces ends. Use as a context manager around the job."""

    def __init__(self, console: Console | None = None):
        self.console = console or terminal_console(stderr=True)
        self.live = self.console.is_terminal
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=self.console,
            disable=not self.live,
            transient=True,
        )
        self.pieces = self.progress.add_task("", total=None, note="", visible=False)
        self.steps = self.progress.add_task("", total=None, note="", visible=False)
        self.total = self.done = 0

    def __enter__(self) -> ConsoleObserver:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def began(self, job: str, noun: str, total: int, done: int) -> None:
        self.total, self.done = total, done
        lead = f"{job}, " if job else ""
        self.noted(f"{lead}{counted(total, noun)}: {done} already recorded, {max(0, total - done)} to run")
        self.progress.update(self.pieces, description=f"{noun}s", total=total, completed=done, visible=self.live)

    def started(self, piece: str, steps: int) -> None:
        self.progress.reset(self.steps, total=steps, description=piece, note="", visible=self.live)

    def stepped(self, done: int, text: str) -> None:
        self.progress.update(self.steps, completed=done, note=text)

    def ended(self, text: str) -> None:
        self.done += 1
        self.noted(f"[{self.done}/{self.total}] {text}")
        self.progress.update(self.pieces, completed=self.done)
        self.progress.update(self.steps, visible=False)

    def noted(self, text: str) -> None:
        self.console.print(text, soft_wrap=True)
