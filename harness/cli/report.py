"""`itm report`: leaderboards of everything that is recorded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import NamedPath, latex_options, published_option
from harness.cli.refreshing import refreshes_site
from harness.cli.terminal import show_page

if TYPE_CHECKING:
    from harness.reports.document.model import Paper


@click.command()
@click.argument("results", type=NamedPath())
@published_option
@latex_options
@refreshes_site
def report(results: Path, published: bool, paper: Paper) -> None:
    """Write one leaderboard per dataset from all finished runs below RESULTS, without running anything."""
    from harness.files.names import safe_name
    from harness.records.store import RunStore
    from harness.reports.document import pages
    from harness.reports.leaderboard.report import build
    from harness.reports.runs.loading import sound_records

    store = RunStore(results)
    by_data: dict[tuple[str, str], list[str]] = {}
    for record in sound_records(store):
        by_data.setdefault((record.dataset, record.data_sha256), []).append(record.run_id)
    for (dataset, sha256), run_ids in by_data.items():
        # told apart on disks that ignore case, too
        same_name = sum(name.lower() == dataset.lower() for name, _ in by_data) > 1
        stem = f"{dataset}-{sha256[:8]}" if same_name else dataset
        built = build(store, run_ids, title=f"Leaderboard: {stem}", published=published)
        about = {"all runs of": dataset, "data_sha256": sha256}
        built = replace(built, paper=paper)
        show_page(built, pages.write_page(built, results / "leaderboards", f"all-{safe_name(stem)}", about, run_ids))
