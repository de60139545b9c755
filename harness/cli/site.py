"""`itm site`: static pages of all that a results folder holds."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from harness.cli.options import NamedPath, add_plugins, device_option, plugin_option, torch_device
from harness.cli.scored import dataset_options, dataset_set_option

logger = logging.getLogger(__name__)


@click.command()
@click.argument("results", type=NamedPath())
@click.option("--quick", is_flag=True, help="Only what lies in RESULTS: no dataset is opened and no model loaded.")
@dataset_set_option
@device_option
@plugin_option
def site(results: Path, quick: bool, overrides: tuple[str, ...], device: str, plugins: tuple[Path, ...]) -> None:
    """Write the site of RESULTS into RESULTS/site/: open index.html there, from a file or any web server.

    Leaderboards and all other reports in one frame, a page per run, galleries of what runs retrieve, and alignments of words
    and pictures. What runs of earlier versions lack for them is made from their saved models. Every command that writes into
    a results folder refreshes its site (`--no-site` leaves it out).
    """
    from harness.cli.refreshing import complete_all, write
    from harness.errors import InvalidRecord
    from harness.files.extras import is_installed, missing
    from harness.records.store import RunStore

    if not results.is_dir():
        raise InvalidRecord(f"no folder at {results}; name a results folder, such as results")
    if not any((results / "runs").glob("*/record.json")) and not any(results.glob("*/*/*.json")):
        raise InvalidRecord(
            f"{results} holds neither runs nor reports; name a results folder, such as results, or run "
            f"`itm leaderboard EXP --results {results}` first"
        )
    if quick and overrides:
        raise click.UsageError("--set names where datasets lie, and --quick opens none; leave one out")
    add_plugins(plugins)
    store = RunStore(results)
    with_models = device != "auto" or is_installed("torch")  # a device that is named needs torch, which is said there
    if not (quick or with_models):
        logger.warning("only pages and pictures are made: %s", missing("torch", "asking saved models"))
    on, options = torch_device(device) if with_models else None, dataset_options(overrides)
    write(store, None if quick else lambda: complete_all(store, on, options))
