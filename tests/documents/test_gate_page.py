"""The workflows of docs/gate.md: valid YAML, whose commands and options exist."""

from __future__ import annotations

import shlex

import pytest
import yaml
from test_documents import blocks

from harness.cli.main import COMMANDS, cli

WORKFLOWS = blocks("docs/gate.md", "yml")


def test_there_is_a_whole_workflow():
    workflow = yaml.safe_load(WORKFLOWS[0])
    steps = workflow["jobs"]["gate"]["steps"]
    assert any("itm gate" in step.get("run", "") for step in steps)


def itm_lines() -> list[list[str]]:
    lines = []
    for block in WORKFLOWS:
        parsed = yaml.safe_load(block)
        steps = parsed if isinstance(parsed, list) else parsed["jobs"]["gate"]["steps"]
        lines += [shlex.split(step["run"])[1:] for step in steps if step.get("run", "").startswith("itm ")]
    return lines


@pytest.mark.parametrize("words", itm_lines(), ids=" ".join)
def test_their_commands_take_these_options(words):
    assert words[0] in COMMANDS
    command = cli.get_command(None, words[0])  # type: ignore[arg-type]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in words if word.startswith("--")} <= known
