"""Progress of an experiment: bars on a terminal, plain lines in a log."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from harness.cli.terminal import console as terminal_console
from harness.protocols import summary
from harness.records.run import RunRecord
from harness.runs.experiment import Observer
from harness.spec import RunSpec

if TYPE_CHECKING:
    from harness.training.loop import Epoch


class ConsoleObserver(Observer):
    """Shows the plan, the epochs and the end of every cell on stderr.

    Use as a context manager around the experiment.
    """

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
        self.cells = self.progress.add_task("runs", total=None, note="")
        self.epochs = self.progress.add_task("epochs", total=None, note="", visible=False)
        self.total = self.done = 0
        self.since = time.perf_counter()

    def __enter__(self) -> ConsoleObserver:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def planned(self, specs: Sequence[RunSpec], missing: Sequence[RunSpec]) -> None:
        self.total = len(missing)
        kept = len(specs) - len(missing)
        self.console.print(f"{len(specs)} runs: {kept} already recorded, {len(missing)} to run")
        self.progress.update(self.cells, total=len(missing))

    def started(self, spec: RunSpec) -> None:
        self.since = time.perf_counter()
        self.progress.reset(
            self.epochs, total=spec.training.epochs, description=_title(spec), note="", visible=self.live
        )

    def epoch(self, spec: RunSpec, epoch: Epoch) -> None:
        note = f"validation rSum {epoch.validation['rsum']:.1f}"
        self.progress.update(self.epochs, completed=epoch.epoch + 1, note=note)

    def ended(self, record: RunRecord) -> None:
        self._tell(record, f"{time.perf_counter() - self.since:.0f} s")

    def taken(self, record: RunRecord) -> None:
        self._tell(record, "by another command")

    def waiting(self, specs: Sequence[RunSpec]) -> None:
        names = ", ".join(_title(spec) for spec in specs[:3]) + (", ..." if len(specs) > 3 else "")
        runs = f"{len(specs)} run{'' if len(specs) == 1 else 's'}"
        line = f"waiting for {runs} that other commands on this folder are at: {names}"
        self.console.print(line, soft_wrap=True)

    def _tell(self, record: RunRecord, how: str) -> None:
        self.done += 1
        result = f"FAILED: {record.error}" if record.status == "failed" else summary(record.metrics)
        line = f"[{self.done}/{self.total}] {record.label} seed {record.seed}: {result} ({how})"
        self.console.print(line, soft_wrap=True)
        self.progress.update(self.cells, completed=self.done)
        self.progress.update(self.epochs, visible=False)


def _title(spec: RunSpec) -> str:
    return f"{spec.label} seed {spec.seed}"
