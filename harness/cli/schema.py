"""`itm schema`: what an editor needs to complete and check the YAML of an experiment."""

from __future__ import annotations

import json
from pathlib import Path

import click

from harness.cli.options import NamedPath, add_plugins, plugin_option
from harness.cli.terminal import say, say_file


@click.command()
@click.option("--output", type=NamedPath(dir_okay=False), help="File to write.  [default: the terminal]")
@plugin_option
def schema(output: Path | None, plugins: tuple[Path, ...]) -> None:
    """Print the JSON Schema of an experiment's YAML file.

    Editors complete and explain keys with it: put "# yaml-language-server: $schema=FILE" on the first line of the YAML.
    """
    from harness.files.writing import atomic_path
    from harness.runs.experiment_schema import experiment_schema

    add_plugins(plugins)
    text = json.dumps(experiment_schema(), indent=2, ensure_ascii=False)
    if output is None:
        say(text)
        return
    with atomic_path(output) as path:
        path.write_text(text + "\n", encoding="utf-8")
    say_file("written", output)
