"""How a long job is shown: plain lines in a log, a live table on a terminal."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from rich.console import Console

from harness.cli.progress import ConsoleObserver
from harness.cli.terminal import console as safe_console
from harness.tracking.observer import Step


class Clock:
    """A clock that stands until it is moved, and the time of day that belongs to it."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return datetime(2026, 1, 31, 23, 0) + timedelta(seconds=self.seconds)


def test_a_job_is_shown_as_plain_lines_in_a_log():
    out, clock = io.StringIO(), Clock()
    with ConsoleObserver(Console(file=out, width=40), clock, clock.now) as observer:
        observer.began("", "run", 2, 0)
        observer.started("scan seed 0", 3)
        observer.stepped("scan seed 0", Step(1, 3, "loss a 0.5, validation rSum 100.0", "rSum 100.0", 60.0))
        observer.stepped("scan seed 0", Step(2, 3, "loss a 0.4", "rSum 110.0", 61.0, 60.0, 7200.0))
        observer.stepped("scan seed 0", Step(3, 3, "loss a 0.3", "rSum 120.0", 60.0, 0.0, 1800.0))
        observer.ended(
            "scan seed 0", "scan seed 0: full rSum 123.4 (5 s), a line that is longer than the terminal", 240.0
        )
        observer.ended("grm seed 0", "grm seed 0: full rSum 120.0 (5 s)", 0.0)
        observer.began("study tiny.scan", "trial", 4, 2)
        clock.seconds = 120.0
        observer.ended("trial 2", "trial 2: no epoch")
        observer.ended("trial 3", "trial 3: no epoch")
        observer.noted("waiting")
    assert out.getvalue().splitlines() == [
        "2 runs: 0 already recorded, 2 to run",
        "scan seed 0: epoch 1/3: loss a 0.5, validation rSum 100.0 (60 s)",
        "scan seed 0: epoch 2/3: loss a 0.4 (61 s); left: run 60 s; all 2 h 0 min, until 1 Feb 01:00",
        "scan seed 0: epoch 3/3: loss a 0.3 (60 s); left: all 30 min, until 23:30",
        "[1/2] scan seed 0: full rSum 123.4 (5 s), a line that is longer than the terminal; "
        "left: all 4 min, until 23:04",
        "[2/2] grm seed 0: full rSum 120.0 (5 s)",
        "study tiny.scan, 4 trials: 2 already recorded, 2 to run",
        "[3/4] trial 2: no epoch; left: all 2 min, until 23:04",
        "[4/4] trial 3: no epoch",
        "waiting",
    ]


class Screen:
    """A terminal of a size, and the table that it shows."""

    def __init__(self, width: int = 80, height: int = 25):
        self.clock = Clock()
        options = {"force_terminal": True, "color_system": None, "legacy_windows": False}
        self.console = safe_console(file=io.StringIO(), width=width, height=height, **options)
        self.observer = ConsoleObserver(self.console, self.clock, self.clock.now)

    def lines(self) -> list[str]:
        """What stands below the lines that scroll away."""
        with self.console.capture() as capture:
            self.console.print(self.observer.table())
        return [line.rstrip() for line in capture.get().splitlines()]

    def printed(self) -> str:
        """All that was written, without what moves the cursor."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", self.console.file.getvalue())


def shown(screen: Screen, runs: Sequence[str], steps: int = 10) -> ConsoleObserver:
    """A job of 10 runs, of which these are in progress, each in a worker; the first one has had an epoch."""
    observer = screen.observer
    observer.began("", "run", 10, 2)
    for number, name in enumerate(runs, start=1):
        observer.started(name, steps, f"worker {number}")
    observer.stepped(runs[0], Step(1, steps, "loss a 0.4", "rSum 110.0", 3600.0, 29 * 3600.0, 7200.0))
    return observer


def test_a_terminal_shows_a_row_per_run_and_one_for_the_whole():
    screen = Screen(width=100)
    observer = shown(screen, ["scan seed 0", "vse_infinity.no_image_mlp seed 0"])
    screen.clock.seconds = 1800.0
    assert screen.lines() == [
        "scan seed 0                       worker 1  ━             1/10  rSum 110.0  28 h 30 min left",
        "vse_infinity.no_image_mlp seed 0  worker 2                0/10              for 30 min",
        "runs  ━━            2/10  90 min left, until 1 Feb 01:00",
    ]
    observer.ended("scan seed 0", "scan seed 0: full rSum 123.4 (5 s)", 3600.0)
    assert screen.lines()[1:] == ["runs  ━━━╸          3/10  2 runs/h  60 min left, until 1 Feb 00:30"]
    assert screen.lines()[0].startswith("vse_infinity.no_image_mlp seed 0  worker 2")


def test_runs_that_ended_scroll_away_above_the_table():
    screen = Screen()
    with screen.observer as observer:
        shown(screen, ["scan seed 0", "chan seed 0"])
        observer.ended("scan seed 0", "scan seed 0: full rSum 123.4 (5 s)", 7200.0)
        observer.display.refresh()
    lines = [line.rstrip() for line in screen.printed().splitlines()]
    assert "10 runs: 2 already recorded, 8 to run" in lines
    assert "[3/10] scan seed 0: full rSum 123.4 (5 s)" in lines
    assert not any("epoch 1/10" in line for line in lines)  # the table says it
    last = [line for line in lines if line][-1]
    assert last.startswith("runs ")


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_numbers_stay_whole_where_the_terminal_is_narrow(width):
    screen = Screen(width)
    long = "vse_infinity.no_image_mlp seed 0 (swin_base_patch4_window7_224.ms_in1k)"
    shown(screen, [long, "chan seed 0"])
    screen.clock.seconds = 3600.0
    screen.observer.ended("grm seed 0", "grm seed 0: full rSum 1 (1 s)", 3e7)
    first, second, whole = screen.lines()
    assert all(len(line) <= width for line in (first, second, whole))
    assert re.search(r"^vse_\S*.* 1/10  rSum 110.0  28 h 0 min left$", first)
    assert re.search(r"^chan.* 0/10 +for 60 min$", second)
    assert re.search(r"^runs .*3/10 .*347 d left, until", whole)
    assert ("worker 1" in first) == (width >= 80)
    assert ("━" in first) == (width >= 80)


def test_what_does_not_fit_the_height_is_counted():
    screen = Screen(height=6)
    shown(screen, [f"scan seed {seed}" for seed in range(10)])
    lines = screen.lines()
    assert [line.split("  ")[0] for line in lines] == [
        "scan seed 0", "scan seed 1", "scan seed 2", "scan seed 3", "and 6 more in progress", "runs",
    ]  # fmt: skip


def test_a_run_whose_worker_is_gone_leaves_the_table_and_may_come_back():
    screen = Screen()
    observer = shown(screen, ["scan seed 0", "chan seed 0"])
    observer.stopped("scan seed 0")
    assert [line.split("  ")[0] for line in screen.lines()] == ["chan seed 0", "runs"]
    observer.started("scan seed 0", 10, "worker 2")
    assert [line.split("  ")[0] for line in screen.lines()] == ["chan seed 0", "scan seed 0", "runs"]


def test_names_do_not_act_on_the_terminal():
    screen = Screen()
    with screen.observer as observer:
        shown(screen, ["\x1b[31mred [bold]seed[/bold] 0", "b"])
        observer.display.refresh()
    assert "\x1b[31m" not in screen.console.file.getvalue()
    assert "[bold]seed" in screen.printed()


def test_nothing_is_drawn_before_the_job_begins():
    assert Screen().lines() == []


def test_a_terminal_that_cannot_move_its_cursor_gets_the_lines_of_a_log(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    screen = Screen()
    with screen.observer:
        shown(screen, ["scan seed 0"])
    lines = screen.printed().splitlines()
    assert lines[1].startswith("scan seed 0: epoch 1/10: loss a 0.4 (60 min); left: run 29 h 0 min")
