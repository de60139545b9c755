"""`itm show`: everything that is recorded of one run."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import NamedPath, results_option
from harness.cli.scored import find_run
from harness.cli.terminal import console, say_file


@click.command()
@click.argument("run", metavar="RUN")
@click.option("--json", "out", type=NamedPath(dir_okay=False), help="File for the record and the intervals as JSON.")
@results_option
def show(run: str, out: Path | None, results: Path) -> None:
    """Show RUN (an id, its beginning, or the run's folder): numbers with intervals, training, settings, costs and files.

    Its page in the site of the results folder (`itm site`) shows the same with figures.
    """
    from harness.records.documents import write_json
    from harness.records.store import RunStore
    from harness.reports.document.terminal import Page
    from harness.reports.run.overview import overview
    from harness.reports.run.peers import Peers

    store = RunStore(results)
    run_id = find_run(store, run)
    record = store.read(run_id)
    assert record is not None  # it was found
    report = overview(store, record, Peers(store.records()))
    console().print(Page(report))
    if out:
        write_json(out, report.data)
        say_file("written", out)
