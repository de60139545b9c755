"""What a report is at: one line on a terminal, with what is left; nothing in a log."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from harness.cli.terminal import console as safe_console
from harness.cli.working import Working


def terminal(out: io.StringIO) -> Console:
    options: dict[str, Any] = {"force_terminal": True, "color_system": None, "legacy_windows": False}
    return safe_console(file=out, width=80, height=25, **options)


@pytest.mark.parametrize(
    ("told", "line"),
    [
        ([], ""),
        ([("writing", 0, 0, 12)], "writing                for 12 s"),
        ([("reading ranks", 0, 40, 30)], "reading ranks                0/40  for 30 s"),
        (
            [("reading ranks", 0, 40, 10), ("reading ranks", 10, 40, 12)],
            "reading ranks  ━━━           10/40  18 s left",
        ),
        ([("reading ranks", 40, 40, 10), ("primary tests", 0, 780, 0)], "primary tests                0/780"),
    ],
)
def test_a_terminal_shows_the_stage_and_what_is_left_of_it(told, line):
    now = 0.0
    working = Working(terminal(io.StringIO()), lambda: now)
    for stage, done, total, seconds_after in told:
        working.tell(stage, done, total)
        now += seconds_after
    with working.console.capture() as capture:
        working.console.print(working.line())
    assert capture.get().strip() == line


def test_the_line_is_gone_when_the_work_fails():
    out = io.StringIO()
    working = Working(terminal(out))

    def fail() -> None:
        with working as tell:
            tell("writing", 0, 0)
            working.display.refresh()
            raise ValueError("damaged")

    with pytest.raises(ValueError, match="damaged"):
        fail()
    assert not working.display.is_started
    shown = out.getvalue()
    assert "writing" in shown
    assert shown.endswith("\x1b[2K")  # erases the line


@pytest.mark.parametrize("options", [{"force_terminal": False}, {"force_terminal": True, "_environ": {"TERM": "dumb"}}])
def test_a_log_has_nothing_of_it(options: dict[str, Any]):
    out = io.StringIO()
    with Working(safe_console(file=out, **options)) as tell:
        tell("reading ranks", 0, 2)
        tell("reading ranks", 2, 2)
    assert out.getvalue() == ""
