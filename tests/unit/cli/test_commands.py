"""What every command shares: its options and their help."""

from __future__ import annotations

import click
import pytest
import torch
from click.testing import CliRunner

from harness.cli.main import COMMANDS, cli
from harness.cli.options import Setup
from harness.errors import InvalidSpec

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
    shared = [option.opts[-1] for option in cli.get_command(CONTEXT, name).params][-11:]
    placed = ["--device", "--executor", "--workers", "--ray-address", "--slurm"]
    assert shared == ["--set", "--results", "--plugin", *placed, "--no-feature-store", "--no-mlflow", "--no-site"]


@pytest.mark.parametrize(
    "command", ["leaderboard", "ablate --scorer scan", "sweep --scorer scan --trials 1", "profile"]
)
def test_a_device_that_is_not_there_is_refused_before_data_are_opened(command, tmp_path):
    name, *options = command.split()
    options += ["--device", "tpu9", "--results", str(tmp_path), "--no-mlflow", "--set", "dataset.test_images=41"]
    result = CliRunner().invoke(cli, [name, "quickstart", *options])
    assert "device 'tpu9' cannot be used here" in str(result.exception)
    assert result.output == ""  # opening the data would say what was generated


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_login_node_without_a_gpu_may_ask_for_workers_with_one(tmp_path, caplog):
    elsewhere = Setup((), tmp_path, (), "cuda", mlflow=False, executor="slurm")
    with caplog.at_level("INFO", "harness"):
        assert elsewhere.device() == torch.device("cpu")
    assert "no GPU on this machine" in caplog.text
    with pytest.raises(InvalidSpec, match="cuda"):
        Setup((), tmp_path, (), "cuda", mlflow=False).device()
