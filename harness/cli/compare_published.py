"""`itm compare-published`: how near the recorded runs are to what papers printed."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import FiniteRange, NamedPath
from harness.cli.refreshing import refreshes_site
from harness.cli.terminal import say, written


@click.command("compare-published")
@click.argument("results", type=NamedPath())
@click.option(
    "--tolerance",
    default=0.2,
    type=FiniteRange(min=0),
    help="Points of a recall by which two harnesses may differ on the same weights.",
)
@refreshes_site
def compare_published(results: Path, tolerance: float) -> None:
    """Compare every finished run below RESULTS with the published rows of its method, backbone, dataset and protocol.

    Writes compare-published.md, .html, .csv, .json and .tex below RESULTS/compare-published/.
    """
    from harness.records.store import RunStore
    from harness.reports.document import render
    from harness.reports.published import compare
    from harness.reports.runs.loading import sound_records

    store = RunStore(results)
    built = compare.build(store, [record.run_id for record in sound_records(store)], tolerance=tolerance)
    folder = results / compare.STEM
    render.write(built, folder)
    for sentence in built.sentences:
        say(sentence)
    written(built, folder)
