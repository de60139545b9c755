"""`itm report`: leaderboards of everything that is recorded."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import (
    add_plugins,
    baseline_option,
    latex_options,
    named_sections,
    plugin_option,
    published_option,
    results_option,
    section_option,
)
from harness.cli.prices import price_options
from harness.cli.refreshing import follow, refreshes_site
from harness.cli.terminal import complain, show_page
from harness.errors import InvalidRecord, ItmError, UnknownName

if TYPE_CHECKING:
    from harness.records.store import RunStore
    from harness.reports.document.model import Paper, Report
    from harness.reports.leaderboard.prices import Prices

logger = logging.getLogger(__name__)


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="RESULTS...")
@published_option
@baseline_option
@price_options
@latex_options
@section_option
@plugin_option
@results_option
@refreshes_site
def report(
    sources: tuple[str, ...],
    published: bool,
    baseline: str,
    sections: tuple[str, ...],
    plugins: tuple[Path, ...],
    results: Path,
    prices: Prices | None,
    paper: Paper,
) -> int:
    """Write one leaderboard per dataset from all finished runs of RESULTS, without running anything.

    RESULTS is a results folder. Several are joined, and a run that occurs twice counts once; frozen leaderboards (a
    folder, a zip or an http(s) address, docs/frozen.md) and single runs join too: itm report mine/results THEIRS. The
    pages are written below the first results folder, else below --results.

    Exit code 0, or 1 if a section of a plug-in failed, in whose place its page says why.
    """
    from harness.cli.working import Working
    from harness.files.names import safe_name
    from harness.records.frozen.opening import is_frozen
    from harness.reports.document import pages
    from harness.reports.frozen.text import joined_sentences, other_data
    from harness.reports.leaderboard.baseline import read_reference
    from harness.reports.leaderboard.report import build
    from harness.reports.runs.stores import join, results_folder, whole_folder
    from harness.reports.statistics.errors import DifferentGalleries
    from harness.sections.placing import placed

    add_plugins(plugins)
    wanted = named_sections(sections)
    alone = len(sources) == 1 and not is_frozen(sources[0])
    results = Path(sources[0]) if alone else results_folder(sources, results)
    follow(results)
    reference = read_reference(baseline, results) if baseline else None
    with Working() as tell:
        store = whole_folder(results, tell) if alone else join(sources, results, tell)
    by_data: dict[tuple[str, str], list[str]] = {}
    for record in store.records():
        by_data.setdefault((record.dataset, record.data_sha256), []).append(record.run_id)
    for line in other_data(by_data):
        logger.warning(line)
    built: list[tuple[Report, str, dict[str, str], list[str]]] = []
    refused: list[ItmError] = []
    for (dataset, sha256), run_ids in by_data.items():
        # told apart on disks that ignore case, too
        same_name = sum(name.lower() == dataset.lower() for name, _ in by_data) > 1
        stem = f"{dataset}-{sha256[:8]}" if same_name else dataset
        make = partial(build, store, run_ids, title=f"Leaderboard: {stem}", published=published, prices=prices)
        try:
            with Working() as tell:
                page = make(baseline=reference, tell=tell)
        except (UnknownName, DifferentGalleries, InvalidRecord) as error:
            if reference is None:
                raise
            refused.append(error)
            with Working() as tell:
                page = make(tell=tell)
        about = {"all runs of": dataset, "data_sha256": sha256}
        if not alone:
            about["joined from"] = " ".join(store.titles(run_ids))
            said = joined_sentences(store, run_ids)
            page = replace(page, sentences=[*page.sentences, *said], brief=[*page.brief, *said])
        built.append((page, f"{'all' if alone else 'joined'}-{safe_name(stem)}", about, run_ids))
    if refused and len(refused) == len(built):
        raise refused[0]
    lost: list[str] = []
    for page, name, about, run_ids in built:
        page, failed = placed(replace(page, paper=paper), store, wanted)
        lost += failed
        with Working() as tell:
            tell("writing", 0, 0)
            folder = pages.write_page(page, results / "leaderboards", name, about, run_ids)
        show_page(page, folder)
    _across(store, [run_id for run_ids in by_data.values() for run_id in run_ids])
    for reason in refused:
        complain(f"a leaderboard has no differences: {reason}")
    for line in dict.fromkeys(lost):
        complain(line)
    return int(bool(lost))


def _across(store: RunStore, run_ids: list[str]) -> None:
    """The page across datasets, where methods were run on several."""
    from harness.cli.working import Working
    from harness.reports.document import pages
    from harness.reports.significance.across import of_runs
    from harness.reports.statistics.errors import InvalidComparison

    try:
        with Working() as tell:
            page = of_runs(store, run_ids, tell)
    except InvalidComparison as error:
        complain(f"there is no page across datasets: {error}")
        return
    if page:
        about = {"across datasets": "all runs"}
        folder = pages.write_page(page, store.results / "leaderboards", "across-datasets", about, run_ids)
        show_page(page, folder)
