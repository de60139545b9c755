"""Options that several commands share."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


class FiniteRange(click.FloatRange):
    """A number within bounds; `nan` and `inf` pass click's own test of bounds, and are refused here."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


class NamedPath(click.Path):
    """A path; an empty text is refused, where pathlib would take it for the current folder."""

    def __init__(self, **options: Any):
        super().__init__(path_type=Path, **options)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("the path is empty; name a file or a folder, or leave the option out.", param, ctx)
        return super().convert(value, param, ctx)


set_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a key of the experiment, e.g. training.epochs=3 or scorers.chan.config.coding=tha. Repeatable.",
)
results_option = click.option(
    "--results",
    type=NamedPath(file_okay=False),
    default=Path("results"),
    envvar="ITM_RESULTS",
    show_default=True,
    help="Folder of runs and reports.",
)
plugin_option = click.option(
    "--plugin",
    "plugins",
    multiple=True,
    type=NamedPath(),
    metavar="FILE",
    expose_value=True,
    help="Register the scorer that this Python file defines, under the file's name. Repeatable.",
)
device_option = click.option(
    "--device", default="auto", show_default=True, metavar="DEVICE", help="cpu, cuda, cuda:1, ...; auto = a GPU if any."
)


def add_plugins(plugins: tuple[Path, ...]) -> None:
    """Register plug-in files."""
    from harness import registry

    for plugin in plugins:
        registry.add_plugin(plugin)


def torch_device(name: str) -> Any:
    """The torch device of a `--device` value.

    Raises:
        InvalidSpec: no such device here.
    """
    import torch

    from harness.errors import InvalidSpec

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InvalidSpec(f"device '{name}' cannot be used here: {reason}; use cpu or auto") from None
    return device
