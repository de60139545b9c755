"""What every command shares: its options, their help, and how a long job is shown."""

from __future__ import annotations

import io
import re
from datetime import datetime, timedelta

import click
import pytest
from click.testing import CliRunner
from rich.console import Console

from harness.cli.main import COMMANDS, cli
from harness.cli.progress import ConsoleObserver
from harness.tracking.observer import Step

CONTEXT = click.Context(cli)
ON_EXPERIMENTS = ("leaderboard", "ablate", "sweep", "profile")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_says_what_it_takes(name):
    """Help texts are noun phrases: none begins with a verb in the imperative, or with what it belongs to."""
    command = cli.get_command(CONTEXT, name)
    assert command.name == name
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, option.name
            assert option.help.split()[0] not in {"Of", "Do", "Use", "Set", "Also", "Compare", "Join", "Measure"}


@pytest.mark.parametrize("name", ON_EXPERIMENTS)
def test_commands_on_an_experiment_share_their_options(name):
    shared = [option.opts[-1] for option in cli.get_command(CONTEXT, name).params][-8:]
    placed = ["--device", "--executor", "--workers"]
    assert shared == ["--set", "--results", "--plugin", *placed, "--no-feature-store", "--no-mlflow"]


@pytest.mark.parametrize(
    "command", ["leaderboard", "ablate --scorer scan", "sweep --scorer scan --trials 1", "profile"]
)
def test_a_device_that_is_not_there_is_refused_before_data_are_opened(command, tmp_path):
    name, *options = command.split()
    options += ["--device", "tpu9", "--results", str(tmp_path), "--no-mlflow", "--set", "dataset.test_images=41"]
    result = CliRunner().invoke(cli, [name, "quickstart", *options])
    assert "device 'tpu9' cannot be used here" in str(result.exception)
    assert result.output == ""  # opening the data would say what was generated


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
        observer.ended("scan seed 0: full rSum 123.4 (5 s), a line that is longer than the terminal", 240.0)
        observer.ended("grm seed 0: full rSum 120.0 (5 s)", 0.0)
        observer.began("study tiny.scan", "trial", 4, 2)
        clock.seconds = 120.0
        observer.ended("trial 2: no epoch")
        observer.ended("trial 3: no epoch")
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


def test_a_job_is_shown_as_two_bars_on_a_terminal():
    """The whole and the run, each with the time that is left, on lines that do not fold."""
    out, clock = io.StringIO(), Clock()
    console = Console(file=out, width=80, force_terminal=True, color_system=None, legacy_windows=False)
    with ConsoleObserver(console, clock, clock.now) as observer:
        observer.began("", "run", 50, 0)
        long = "vse_infinity.no_image_mlp seed 0 (swin_base_patch4_window7_224.ms_in1k)"
        observer.started(long, 30)
        observer.stepped(long, Step(1, 30, "loss a 0.4", "rSum 110.0", 3600.0, 29 * 3600.0, 3e7))
        observer.progress.refresh()
        bars = out.getvalue().splitlines()[-2:]
    assert all(len(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", bar)) <= 80 for bar in bars)
    assert "runs" in bars[0]
    assert "0/50" in bars[0]
    assert "347 d left" in bars[0]
    assert "1/30" in bars[1]
    assert "rSum 110.0, 29 h 0 min left" in bars[1]
