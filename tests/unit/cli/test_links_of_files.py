"""Written paths: links on a terminal that knows them, plain text everywhere else."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.cli.terminal import say_file


@pytest.mark.parametrize(
    ("terminal", "environment", "linked"),
    [
        (True, {"TERM": "xterm-256color"}, True),
        (False, {"TERM": "xterm-256color"}, False),
        (True, {"TERM": "dumb"}, False),
        (True, {"TERM": "xterm", "NO_COLOR": "1"}, False),
    ],
    ids=["terminal", "pipe", "dumb", "no colour"],
)
def test_a_path_is_a_link_on_a_real_terminal_only(capsys, monkeypatch, tmp_path, terminal, environment, linked):
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    page = tmp_path / "a page;\x1b[31m.html"
    say_file("written", page, "shown\x1b")
    out = capsys.readouterr().out
    if not linked:
        assert out == "written: shown\\x1b\n"
        return
    address = page.as_uri()
    assert "\x1b" not in address
    assert " " not in address
    assert out == f"written: \x1b]8;;{address}\x1b\\shown\\x1b\x1b]8;;\x1b\\\n"


def test_without_a_text_the_path_is_shown(capsys):
    say_file("site", Path("results/site/index.html"))
    assert capsys.readouterr().out == "site: results/site/index.html\n"
