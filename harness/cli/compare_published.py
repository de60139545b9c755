"""`itm compare-published`: how near the recorded runs are to what papers printed."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import FiniteRange, NamedPath
from harness.cli.terminal import say


@click.command("compare-published")
@click.argument("results", type=NamedPath())
@click.option(
    "--tolerance",
    default=0.2,
    show_default=True,
    type=FiniteRange(min=0),
    help="Points of a recall that two harnesses differ by on the same weights.",
)
def compare_published(results: Path, tolerance: float) -> None:
    """Compare every finished run below RESULTS with the published rows of its method, backbone, dataset and protocol.

    Writes compare-published.md, .html, .csv, .json and .tex below RESULTS/compare-published/.
    """
    from harness.records.store import RunStore
    from harness.reports.document import render
    from harness.reports.published import compare as comparing
    from harness.reports.runs.loading import sound_records

    store = RunStore(results)
    finished = [record.run_id for record in sound_records(store)]
    built = comparing.build(store, finished, tolerance=tolerance)
    folder = results / comparing.STEM
    render.write(built, folder)
    for sentence in built.sentences:
        say(sentence)
    say(f"written: {folder}/{comparing.STEM}.md, .html, .csv, .json, .tex")
