"""`itm contamination`: which images of the evaluated splits the recorded runs were trained on, written into their records."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import NamedPath, add_plugins, plugin_option, repeatable, results_option
from harness.cli.refreshing import refreshes_site
from harness.cli.scored import dataset_options, dataset_set_option, find_run
from harness.cli.terminal import show_table

if TYPE_CHECKING:
    from harness.records.run import RunRecord

logger = logging.getLogger(__name__)


@click.command()
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@repeatable(
    "--against",
    "against",
    "DATA",
    "Further data that the runs or their towers were trained on: a dataset's folder, or a file of ids or file names.",
    type=NamedPath(),
)
@click.option("--quick", is_flag=True, help="Names, numbers and equal files only: no picture is decoded.")
@dataset_set_option
@plugin_option
@results_option
@refreshes_site
def contamination(
    runs: tuple[str, ...],
    against: tuple[Path, ...],
    quick: bool,
    overrides: tuple[str, ...],
    plugins: tuple[Path, ...],
    results: Path,
) -> None:
    """Look for test images among the training images of RUNs (default: all of the results folder).

    Images are compared by name, by COCO's or Flickr's number, by content and by perceptual hash. Runs that were trained here
    are compared with the train split of their dataset; what else was trained on is named by --against. The counts are
    written into the records, so that leaderboards show them; those of earlier comparisons with other data stay.
    """
    from harness.records.store import RunStore
    from harness.reports.runs.evidence import contamination as told
    from harness.runs.overlaps import record_overlaps
    from harness.runs.reopening import RunDatasets

    add_plugins(plugins)
    store, data = RunStore(results), RunDatasets(dataset_options(overrides))
    chosen = [store.require(find_run(store, run)) for run in runs] if runs else _all(store.records())
    data.require_used(chosen)
    done = record_overlaps(store, chosen, data, against, quick=quick)
    rows = [
        (record.run_id, record.title, f"{record.dataset} {record.split}", str(told([record])), told([record]).how)
        for record in done
    ]
    show_table(("run", "method", "images of", "trained on", "compared"), rows)


def _all(records: list[RunRecord]) -> list[RunRecord]:
    return [record for record in records if record.status == "finished" and record.has_ranks]
