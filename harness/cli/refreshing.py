"""The site follows every command: what a command wrote below its results folder is shown there when it ends."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from harness.cli.terminal import say
from harness.errors import ItmError

logger = logging.getLogger(__name__)

#: Where a command keeps the folder whose site is to follow, if it is not its parameter `results`.
_FOLDER = "harness.results"


def refreshes_site(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--no-site`, and refresh the site of its results folder when it is done.

    The folder is the command's parameter `results`, or what it told `follow`. A site that cannot be refreshed never fails
    the command: one line says why.
    """

    @click.option(
        "--no-site", is_flag=True, envvar="ITM_NO_SITE", help="The pages below RESULTS/site/ are left as they are."
    )
    @functools.wraps(command)
    def with_site(*arguments: Any, no_site: bool, **options: Any) -> Any:
        code = command(*arguments, **options)
        context = click.get_current_context()
        folder = context.meta.get(_FOLDER, context.params.get("results"))
        if not no_site and isinstance(folder, Path) and (folder / "runs").is_dir():
            refresh(folder)
        return code

    return with_site


def follow(results: Path) -> None:
    """Name the folder whose site follows the current command."""
    click.get_current_context().meta[_FOLDER] = results


def refresh(results: Path) -> None:
    """Write the site anew, without computing anything that runs lack; says where it is, or in one line why it is not."""
    from harness.files.locks import claim
    from harness.records.store import RunStore
    from harness.reports.site.build import write_site

    try:
        with claim(results, "site", wait=30) as ours:
            if ours:
                say(f"site: {write_site(RunStore(results))}")
            else:
                logger.warning(
                    "another command is writing the site of %s; `itm site %s` refreshes it", results, results
                )
    except ItmError as error:
        logger.warning("the site of %s is left as it was: %s", results, error)
