"""What every command shares: its options, their help, and how a long job is shown."""

from __future__ import annotations

import io

import click
import pytest
from click.testing import CliRunner
from rich.console import Console

from harness.cli.main import COMMANDS, cli
from harness.cli.progress import ConsoleObserver

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
    shared = [option.opts[-1] for option in cli.get_command(CONTEXT, name).params][-5:]
    assert shared == ["--set", "--results", "--plugin", "--device", "--no-mlflow"]


@pytest.mark.parametrize(
    "command", ["leaderboard", "ablate --scorer scan", "sweep --scorer scan --trials 1", "profile"]
)
def test_a_device_that_is_not_there_is_refused_before_data_are_opened(command, tmp_path):
    name, *options = command.split()
    options += ["--device", "tpu9", "--results", str(tmp_path), "--no-mlflow", "--set", "dataset.test_images=41"]
    result = CliRunner().invoke(cli, [name, "quickstart", *options])
    assert "device 'tpu9' cannot be used here" in str(result.exception)
    assert result.output == ""  # opening the data would say what was generated


def test_a_job_is_shown_as_plain_lines_in_a_log():
    out = io.StringIO()
    with ConsoleObserver(Console(file=out, width=40)) as observer:
        observer.began("", "run", 1, 0)
        observer.started("scan seed 0", 2)
        observer.stepped(1, "validation rSum 100.0")
        observer.ended("scan seed 0: full rSum 123.4 (5 s), a line that is longer than the terminal")
        observer.began("study tiny.scan", "trial", 3, 2)
        observer.ended("trial 2: no epoch")
        observer.noted("waiting")
    assert out.getvalue().splitlines() == [
        "1 run: 0 already recorded, 1 to run",
        "[1/1] scan seed 0: full rSum 123.4 (5 s), a line that is longer than the terminal",
        "study tiny.scan, 3 trials: 2 already recorded, 1 to run",
        "[3/3] trial 2: no epoch",
        "waiting",
    ]
