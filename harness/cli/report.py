"""`itm report`: leaderboards of everything that is recorded."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import NamedPath, baseline_option, latex_options, published_option
from harness.cli.refreshing import refreshes_site
from harness.cli.terminal import complain, show_page
from harness.errors import InvalidRecord, ItmError, UnknownName

if TYPE_CHECKING:
    from harness.reports.document.model import Paper, Report


@click.command()
@click.argument("results", type=NamedPath())
@published_option
@baseline_option
@latex_options
@refreshes_site
def report(results: Path, published: bool, baseline: str, paper: Paper) -> None:
    """Write one leaderboard per dataset from all finished runs below RESULTS, without running anything."""
    from harness.files.names import safe_name
    from harness.records.store import RunStore
    from harness.reports.document import pages
    from harness.reports.leaderboard.baseline import read_reference
    from harness.reports.leaderboard.report import build
    from harness.reports.runs.loading import sound_records
    from harness.reports.statistics.errors import DifferentGalleries

    reference = read_reference(baseline, results) if baseline else None
    store = RunStore(results)
    by_data: dict[tuple[str, str], list[str]] = {}
    for record in sound_records(store):
        by_data.setdefault((record.dataset, record.data_sha256), []).append(record.run_id)
    built: list[tuple[Report, str, dict[str, str], list[str]]] = []
    refused: list[ItmError] = []
    for (dataset, sha256), run_ids in by_data.items():
        # told apart on disks that ignore case, too
        same_name = sum(name.lower() == dataset.lower() for name, _ in by_data) > 1
        stem = f"{dataset}-{sha256[:8]}" if same_name else dataset
        make = partial(build, store, run_ids, title=f"Leaderboard: {stem}", published=published)
        try:
            page = make(baseline=reference)
        except (UnknownName, DifferentGalleries, InvalidRecord) as error:
            if reference is None:
                raise
            refused.append(error)
            page = make()
        about = {"all runs of": dataset, "data_sha256": sha256}
        built.append((page, f"all-{safe_name(stem)}", about, run_ids))
    if refused and len(refused) == len(built):
        raise refused[0]
    for page, name, about, run_ids in built:
        page = replace(page, paper=paper)
        show_page(page, pages.write_page(page, results / "leaderboards", name, about, run_ids))
    for reason in refused:
        complain(f"a leaderboard has no differences: {reason}")
