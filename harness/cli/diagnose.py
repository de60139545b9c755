"""`itm diagnose`: what each level of a run's score ranks alone, and what its gates and regions do."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import add_plugins, device_option, plugin_option, results_option, torch_device
from harness.cli.refreshing import refreshes_site
from harness.cli.scored import dataset_options, dataset_set_option, find_run
from harness.cli.terminal import console, say_file


@click.command()
@click.argument("run", metavar="RUN")
@dataset_set_option
@device_option
@plugin_option
@results_option
@refreshes_site
def diagnose(run: str, overrides: tuple[str, ...], device: str, plugins: tuple[Path, ...], results: Path) -> None:
    """Show what each level of the score of RUN (an id, its beginning, or the run's folder) ranks alone.

    Also the distributions of its gates and regions. They are part of the record; where the record is of an earlier
    version, or of evaluation.diagnostics=false, they are made from the weights of the run and written into it.
    """
    from harness.records.store import RunStore
    from harness.reports.document.terminal import Page
    from harness.reports.leaderboard.report import inside_of_run
    from harness.runs.completion import complete_diagnostics

    add_plugins(plugins)
    store = RunStore(results)
    run_id = find_run(store, run)
    made = complete_diagnostics(store, run_id, torch_device(device), dataset_options(overrides))
    console().print(Page(inside_of_run(store, run_id)))
    if made:
        say_file("written", store.folder(run_id) / "record.json")
