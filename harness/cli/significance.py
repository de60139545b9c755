"""`itm significance`: which differences between recorded runs are real, for which claim, and how sure the ranking is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import NamedPath, repeatable, results_option
from harness.cli.refreshing import follow, refreshes_site
from harness.cli.terminal import complain, show_page

if TYPE_CHECKING:
    from harness.reports.significance.examine import Result


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="RESULTS...")
@click.option("--pairs", default="all", metavar="all|A:B,...", help="Pairs of methods.")
@click.option(
    "--reference",
    default="",
    show_default=False,
    metavar="NAME",
    help="Method that every other one is compared with, instead of all pairs.",
)
@repeatable("--dataset", "datasets", "NAME", "Dataset to report.", "all")
@repeatable("--protocol", "protocols", "NAME", "Protocol to report.", "all")
@repeatable(
    "--metric",
    "metrics",
    "NAME",
    "rsum or a recall such as t2i_r1; the primary one is rsum, else the first.",
    "rsum, six recalls",
)
@click.option(
    "--claim",
    type=click.Choice(["checkpoint", "method"]),
    help="These trained models, or the methods retrained, from 3 seeds on  [default: method where the seeds allow it]",
)
@repeatable(
    "--equivalence",
    "equivalence",
    "DELTA|METRIC=DELTA",
    "Margin of equivalence in points, of the primary metric or of METRIC.",
)
@click.option("--alpha", type=float, default=0.05, help="Level of each family of tests.")
@click.option(
    "--correction",
    type=click.Choice(["holm", "maxt", "bh"]),
    default="holm",
    help="Correction of the primary family; bh makes all tests exploratory.",
)
@click.option(
    "--resamples",
    type=int,
    default=10_000,
    help="Number of sign flips, at most 1,000,000; raised where the correction needs more.",
)
@click.option("--seed", type=int, default=0, help="Random seed of the sign flips.")
@click.option(
    "--ranks-from",
    type=click.Choice(["0", "1"]),
    help="First place in a rank CSV; needed only where no query has rank 0.",
)
@click.option("--allow-unequal-seeds", is_flag=True, help="Comparison of methods with different numbers of seeds.")
@click.option(
    "--bayes", is_flag=True, help="Second reading of claims about methods, by a hierarchical model (extra: bayes)."
)
@click.option("--out", type=NamedPath(file_okay=False), help="Folder of the report  [default: RESULTS/significance]")
@results_option
@refreshes_site
def significance(
    sources: tuple[str, ...],
    datasets: tuple[str, ...],
    protocols: tuple[str, ...],
    metrics: tuple[str, ...],
    equivalence: tuple[str, ...],
    ranks_from: str | None,
    out: Path | None,
    results: Path,
    **settings: Any,
) -> int:
    """Test the differences between recorded methods.

    RESULTS is a results folder, a leaderboards/NAME folder, a run id, a CSV of ranks, a folder of TREC runs with qrels
    (docs/significance.md), or a frozen leaderboard by path or address (docs/frozen.md).
    Writes significance.md, .html, .csv, .json, .tex and figures below
    RESULTS/significance/, one folder per dataset and protocol, and one across datasets if there are several.
    """
    from harness.cli.working import Working
    from harness.reports.runs.sources import read_sources
    from harness.reports.runs.stores import results_folder
    from harness.reports.significance.examine import Request, examine_all

    if metrics:
        settings["metrics"] = metrics
    request = Request(equivalence=_margins(equivalence), **settings)
    origin: Any = None if ranks_from is None else int(ranks_from)
    with Working() as tell:
        subjects = read_sources(
            sources, results, datasets=datasets, protocols=protocols, depth=request.depth, ranks_from=origin, tell=tell
        )
        done, refused = examine_all(subjects, request, tell)
    follow(results_folder(sources, results))
    root = out or results_folder(sources, results) / "significance"
    _write(done, root, alone=out is not None and len(subjects) == 1)
    for title, error in refused.items():
        complain(f"{title}: {error}")
    unread = {result.subject.title: result.reading.failures for result in done if result.reading}
    for title, failures in unread.items():
        if failures:
            complain(f"{title}: no second reading: {'; '.join(failures)}")
    return 2 if refused else 1 if any(unread.values()) else 0


def _write(done: Sequence[Result], root: Path, *, alone: bool) -> None:
    from harness.cli.working import Working
    from harness.reports.document import render
    from harness.reports.significance import across, report

    with Working() as tell:
        tell("making pages", 0, 0)
        pages = [(report.build(result), root if alone else root / result.subject.slug) for result in done]
        together = across.build(done)
    for page, folder in [*pages, *([(together, root / "across-datasets")] if together else [])]:
        with Working() as tell:
            tell("writing", 0, 0)
            render.write(page, folder)
        show_page(page, folder)


def _margins(spelled: tuple[str, ...]) -> dict[str, float]:
    """`5` or `t2i_r1=1` as margins by metric; the metric "" is the primary one."""
    margins = {}
    for part in spelled:
        metric, _, number = part.rpartition("=")
        if metric in margins:
            raise click.UsageError(
                f"--equivalence is given twice for {metric or 'the primary metric'}; declare one margin"
            )
        try:
            margins[metric] = float(number)
        except ValueError:
            raise click.UsageError(f"--equivalence must be a number of points or METRIC=POINTS, got '{part}'") from None
    return margins
