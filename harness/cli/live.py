"""The live table of a job: a row per piece in progress, and a last one for the whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rich.console import ConsoleDimensions, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harness.reports.document.text import duration, shortened
from harness.tracking.observer import Step

#: Characters of a bar, between two columns, and that a name keeps before the bar and the worker give way.
BAR, GAP, NAME = 12, 2, 20


@dataclass
class Row:
    """A piece in progress.

    Args:
        name: of the piece.
        worker: who has it; "" = there is one worker only.
        steps: of the piece.
        since: when it started or reported, by the display's clock.
        done: steps that have ended.
        reached: what the last of them brought, in short.
        left: seconds until the piece ends, counted from `since`; None = not known yet.
    """

    name: str
    worker: str
    steps: int
    since: float
    done: int = 0
    reached: str = ""
    left: float | None = None

    def step(self, step: Step, now: float) -> None:
        """One more step has ended."""
        self.done, self.reached, self.left, self.since = step.number, step.short, step.left, now


class Whole(NamedTuple):
    """How far the job is.

    Args:
        noun: what a piece is called.
        total: pieces.
        done: those that have ended.
        rate: pieces per hour of this call; None = none has ended yet.
        left: seconds until the job ends, counted from `since`; None = not known yet.
        since: when that was known, by the display's clock.
    """

    noun: str
    total: int
    done: int
    rate: float | None = None
    left: float | None = None
    since: float = 0.0


def table(
    rows: Sequence[Row], whole: Whole | None, now: float, size: ConsoleDimensions, until: Callable[[float], str]
) -> RenderableType:
    """The table as it is now. It fits the terminal: names are shortened and bars left out before any number is.

    Args:
        rows: pieces in progress, in the order of their starts.
        whole: of the job; None = it has not begun, and nothing is shown.
        now: by the display's clock.
        size: of the terminal.
        until: the time of day in so many seconds.
    """
    if whole is None:
        return Group()
    room = max(1, size.height - 2)  # the whole, and a line for those that do not fit
    parts: list[RenderableType] = []
    if rows:
        parts.append(pieces(rows[:room], now, size.width))
    if len(rows) > room:
        parts.append(_line(f"and {len(rows) - room} more in progress", size.width))
    return Group(*parts, _whole(whole, now, size.width, until))


def pieces(rows: Sequence[Row], now: float, width: int) -> Table:
    """One line per piece; the widths are those of the widest cell, and the name takes what is left."""
    cells = [
        [row.worker, f"{row.done}/{row.steps}" if row.steps else "", row.reached, _row_left(row, now)] for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    bar = BAR
    for gives_way in ("bar", "worker", ""):
        needed = sum(wide + GAP for wide in (*widths, bar) if wide)
        if width - needed >= NAME or not gives_way:
            break
        if gives_way == "bar":
            bar = 0
        else:
            widths[0] = 0
    longest = max(len(row.name) for row in rows)
    room = max(4, min(longest, width - needed))
    grid = Table.grid(padding=(0, GAP, 0, 0))
    for number in range(1 + sum(map(bool, (*widths, bar)))):
        grid.add_column(no_wrap=True, width=room if number == 0 else None)
    for row, (worker, *numbers) in zip(rows, cells, strict=True):
        line: list[RenderableType] = [Text(shortened(row.name, room))]
        line += [Text(worker)] if widths[0] else []
        line += [ProgressBar(max(row.steps, 1), row.done, width=bar)] if bar else []
        line += [Text(text) for text, wide in zip(numbers, widths[1:], strict=True) if wide]
        grid.add_row(*line)
    return grid


def _row_left(row: Row, now: float) -> str:
    """Seconds that are left, or that it is at it: nothing looks stuck."""
    passed = max(0.0, now - row.since)
    if row.left is not None and row.left > passed:
        return f"{duration(max(1.0, row.left - passed))} left"
    return f"for {duration(passed)}" if passed >= 1 else ""


def _whole(whole: Whole, now: float, width: int, until: Callable[[float], str]) -> RenderableType:
    """One line, of which the rate and the bar give way first where it is too narrow."""
    left = "" if whole.left is None else _time_left(max(0.0, whole.left - max(0.0, now - whole.since)), until)
    rate = "" if whole.rate is None else f"{whole.rate:.3g} {whole.noun}s/h"
    first, counts = f"{whole.noun}s", f"{whole.done}/{whole.total}"
    bar = BAR
    for texts in ([first, counts, rate, left], [first, counts, left]):
        texts = [text for text in texts if text]
        needed = sum(map(len, texts)) + GAP * len(texts)
        bar = BAR if needed + BAR <= width else 0
        if needed + bar <= width:
            break
    else:
        return _line("  ".join(texts), width)
    grid = Table.grid(padding=(0, GAP, 0, 0))
    cells: list[RenderableType] = [Text(text) for text in texts]
    if bar:
        cells.insert(1, ProgressBar(max(whole.total, 1), whole.done, width=bar))
    for _ in cells:
        grid.add_column(no_wrap=True)
    grid.add_row(*cells)
    return grid


def _time_left(seconds: float, until: Callable[[float], str]) -> str:
    return f"{duration(seconds)} left, until {until(seconds)}" if seconds else ""


def _line(text: str, width: int) -> Text:
    return Text(shortened(text, max(1, width)), no_wrap=True)
