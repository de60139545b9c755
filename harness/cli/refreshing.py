"""The site follows every command: what a command wrote below its results folder is shown there when it ends."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.terminal import say_file
from harness.errors import ItmError, ResultsNotWritable, one_line

if TYPE_CHECKING:
    import torch

    from harness.records.run import RunRecord
    from harness.records.store import RunStore
    from harness.runs.reopening import RunDatasets

logger = logging.getLogger(__name__)

#: What a command keeps for its end: the folder whose site follows, if it is not its parameter `results`, and the device of
#: the runs that it made.
_FOLDER, _DEVICE = "harness.results", "harness.device"
#: Seconds to wait for another command that writes the same site.
_PATIENCE = 30.0


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
            refresh(folder, context.meta.get(_DEVICE))
        return code

    return with_site


def follow(results: Path) -> None:
    """Name the folder whose site follows the current command."""
    click.get_current_context().meta[_FOLDER] = results


def made_on(device: torch.device) -> None:
    """Say that the current command makes runs, and where their models may be asked for what the site shows of them."""
    click.get_current_context().meta[_DEVICE] = device


def refresh(results: Path, device: torch.device | None = None) -> None:
    """Write the site anew; says where it is, or in one line why it is as it was.

    Args:
        results: the folder.
        device: of new runs, whose pictures and alignments are made; None = only what lies in the folder is shown.
    """
    from harness.records.store import RunStore

    store = RunStore(results)
    try:
        write(store, functools.partial(_complete_new, store, device) if device is not None else None)
    except ItmError as error:
        logger.warning("the site of %s is left as it was: %s", results, error)
    except Exception as error:  # the command has done its work, which no page of it may fail
        reason = f"{type(error).__name__}: {one_line(error)}"
        logger.warning("the site of %s could not be written: %s; `itm site %s` shows more", results, reason, results)


def write(store: RunStore, complete: Callable[[], None] | None = None) -> None:
    """Write the site while no other command does, and say where it is.

    Args:
        store: the runs and reports.
        complete: what to do before.

    Raises:
        ResultsNotWritable: it cannot be written, or another command is writing it all the time.
    """
    from harness.cli.working import Working
    from harness.files.locks import claim
    from harness.reports.site.build import write_site

    with claim(store.results, "site", wait=_PATIENCE) as ours:
        if not ours:
            raise ResultsNotWritable(
                f"another command has been writing the site of {store.results} for {_PATIENCE:.0f} s; try again later"
            )
        if complete:
            complete()
        with Working() as tell:
            tell("writing the site", 0, 0)
            page = write_site(store)
        say_file("site", page)


def complete_all(store: RunStore, device: torch.device | None, options: Mapping[str, Any]) -> None:
    """Make what the pages of runs need and is missing, from their datasets and saved models.

    Args:
        store: where the runs lie.
        device: where to compute; None = pictures and captions only, which need no model.
        options: of datasets, where they changed since the runs, as `RunDatasets` takes them.

    Raises:
        InvalidSpec: an option that no dataset of these runs has.
    """
    from harness.runs.reopening import RunDatasets

    data = RunDatasets(options)
    data.require_used(_shown(store))
    if device is not None:
        from harness.runs.completion import complete_tops

        complete_tops(store, device, data)
    _complete_new(store, device, data)


def _complete_new(store: RunStore, device: torch.device | None, data: RunDatasets | None = None) -> None:
    """Pictures and alignments of the runs that a command has just made, whose lists of results lie there already."""
    from harness import alignments, exhibits
    from harness.runs.reopening import RunDatasets

    data, records = data or RunDatasets(), _shown(store)
    exhibits.prepare(store, records, data=data)
    if device is not None:
        alignments.prepare(store, records, device, data)


def _shown(store: RunStore) -> list[RunRecord]:
    """The runs of which there is more to show than their records."""
    return [record for record in store.records() if record.status == "finished" and record.has_ranks]
