"""`itm ensemble`: the mean of the saved scores of several runs, recorded as a run."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import add_plugins, plugin_option, repeatable, results_option
from harness.cli.refreshing import refreshes_site
from harness.cli.scored import find_run, print_numbers
from harness.cli.terminal import say, say_file


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN...")
@repeatable("--protocol", "names", "P", "Protocol to evaluate.", "those that all runs share")
@plugin_option
@results_option
@refreshes_site
def ensemble(runs: tuple[str, ...], names: tuple[str, ...], plugins: tuple[Path, ...], results: Path) -> None:
    """Average the saved scores of recorded runs and record the mean as a run, marked as an ensemble everywhere."""
    from harness.records.store import RunStore
    from harness.runs.ensemble import record_ensemble

    add_plugins(plugins)
    store = RunStore(results)
    record = record_ensemble(store, [find_run(store, run) for run in runs], names)
    say(f"{record.title}: {record.run_id}")
    print_numbers({name: {record.ties: metrics} for name, metrics in record.metrics.items()})
    say_file("written", store.folder(record.run_id) / "record.json")
