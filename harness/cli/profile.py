"""`itm profile`: what trained scorers cost where they would be used, and which of them are dominated."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import FiniteRange, Setup, add_plugins, ended, experiment_options, repeatable
from harness.cli.refreshing import follow, refreshes_site
from harness.cli.terminal import show_page

if TYPE_CHECKING:
    from harness.records.run import RunRecord

    #: profile -> method -> its run
    Jobs = dict[str, dict[str, RunRecord]]


def _whole_numbers(ctx: click.Context, param: click.Parameter, text: str) -> tuple[int, ...]:
    try:
        return tuple(sorted({int(part) for part in text.split(",") if part.strip()}))
    except ValueError:
        raise click.BadParameter(f"whole numbers expected, for example 1000,5000, got '{text}'") from None


def _cascades(ctx: click.Context, param: click.Parameter, texts: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    pairs = []
    for text in texts:
        coarse, comma, fine = (part.strip() for part in text.partition(","))
        if not (coarse and comma and fine):
            raise click.BadParameter(f"COARSE,FINE expected, for example clip,scan, got '{text}'")
        pairs.append((coarse, fine))
    return tuple(pairs)


@click.command()
@click.argument("target", metavar="EXP|RESULTS")
@click.option("--seconds", default=180.0, type=FiniteRange(min=1), help="Seconds of measuring, all points together.")
@click.option("--rounds", default=5, type=click.IntRange(min=2, max=1_000), help="Interleaved rounds.")
@click.option(
    "--samples",
    default=30,
    type=click.IntRange(min=3, max=1_000_000),
    help="Samples of each latency; a p99 needs 1000.",
)
@click.option(
    "--galleries",
    default="1000,5000,25000,100000",
    metavar="N,N,...",
    callback=_whole_numbers,
    help="Gallery sizes of the scaling curves.",
)
@click.option(
    "--gallery",
    default=25_000,
    type=click.IntRange(min=2, max=100_000_000),
    help="Gallery size of the charts.",
)
@repeatable(
    "--cascade",
    "cascades",
    "COARSE,FINE",
    "Cascade of two scorers.",
    "every global scorer before every other one",
    callback=_cascades,
)
@click.option("--no-cascades", is_flag=True, help="No cascades.")
@click.option("--ann", is_flag=True, help="Shortlists of cascades from an approximate index (needs faiss).")
@click.option("--budget", metavar="LIMITS", help="Limits for a recommendation, e.g. latency<=20ms,memory<=4GiB.")
@click.option("--mix-devices", is_flag=True, help="Common charts of the profiles of all devices, besides their own.")
@click.option("--report-only", is_flag=True, help="Report of what is recorded, without measuring.")
@experiment_options
@refreshes_site
def profile(
    setup: Setup,
    target: str,
    cascades: tuple[tuple[str, str], ...],
    no_cascades: bool,
    budget: str | None,
    mix_devices: bool,
    report_only: bool,
    **amounts: Any,
) -> int:
    """Measure the trained scorers of EXP (the first seed, trained if it is missing) or of a RESULTS folder.

    Offline, single query in both directions, encoding and training step; reduced precision, pruning and cascades as
    further points. Writes profile.md, .html, .csv, .json, .tex and figures below RESULTS/profiles/.
    """
    from harness.cli.progress import ConsoleObserver
    from harness.profiles.plan import ProfileOptions
    from harness.profiles.run import record_profile
    from harness.reports.profile.budget import parse
    from harness.spec import builtin_experiments

    limits = parse(budget) if budget else ()
    if no_cascades and cascades:
        raise click.UsageError("--cascade and --no-cascades exclude each other")
    options = ProfileOptions(**amounts, cascades=() if no_cascades else cascades or None)
    add_plugins(setup.plugins)
    code, results = 0, setup.results
    if target not in builtin_experiments() and Path(target).is_dir():
        if setup.overrides:
            raise click.UsageError("--set changes an experiment, not the runs of a results folder; leave it out")
        results = Path(target)
        follow(results)
        jobs = _recorded(results)
    else:
        jobs, code = _trained(setup, target, report_only)
    for name, runs in jobs.items():
        if not report_only:
            record_profile(name, runs, results, setup.device(), options, ConsoleObserver())
        _report(name, results, limits, mix_devices, setup.mlflow)
    return code


def _trained(setup: Setup, target: str, report_only: bool) -> tuple[Jobs, int]:
    """The runs of an experiment's first seed by entry, and the exit code of those that failed."""
    spec = setup.experiment(target)

    from harness.errors import RunFailed
    from harness.reports.document import pages
    from harness.runs.planning import plan

    setup.store()
    name = _page(setup.results, spec.name, pages.about_experiment(spec))
    if report_only:
        return {name: {}}, 0
    device = setup.device()
    cells = plan(spec.model_copy(update={"seeds": spec.seeds[:1]}))
    outcome = setup.run(cells, spec.name, device)
    code = ended(outcome)
    finished = {record.run_id: record for record in outcome.records}
    both = zip(spec.scorers, cells, strict=True)
    runs = {entry.key: finished[cell.run_id] for entry, cell in both if cell.run_id in finished}
    if not runs:
        raise RunFailed("no run finished, so there is nothing to profile; see the errors above")
    return {name: runs}, code


def _page(results: Path, name: str, about: dict[str, Any]) -> str:
    """The folder below `profiles/` that this profile has: its name, unless another experiment's profile lies there.

    Measurements are kept there beside the page, so the folder says what it is about before anything is measured.
    """
    from harness.records.documents import write_json
    from harness.reports.document import pages

    folder = pages.page_folder(results / "profiles", name, "about", about)
    write_json(folder / "about.json", {"data": {pages.ABOUT: about}})
    return folder.name


def _recorded(results: Path) -> Jobs:
    """The runs of a results folder by dataset and protocol and by method, the lowest common seed of each."""
    from harness.records.store import RunStore
    from harness.reports.runs.groups import runs_of_common_seed
    from harness.reports.runs.loading import sound_records
    from harness.runs.ensemble import ORIGIN

    jobs: Jobs = {}
    # An ensemble is a mean of saved scores: it has no model to measure.
    records = [record for record in sound_records(RunStore(results)) if record.code_origin != ORIGIN]
    for gallery, runs in runs_of_common_seed(records).items():
        about = {"all runs of": [gallery.dataset, gallery.split, gallery.protocol, gallery.data_sha256]}
        jobs[_page(results, f"all-{gallery.slug}", about)] = runs
    return jobs


def _report(name: str, results: Path, limits: Any, mix_devices: bool, mlflow: bool) -> None:
    from harness.errors import InvalidRecord
    from harness.records.profile import ProfileStore
    from harness.reports.document import render
    from harness.reports.profile import report
    from harness.tracking.reported import Point, tell
    from harness.tracking.tracker import create_tracker

    store = ProfileStore(results, name)
    profiles = store.profiles()
    if not profiles:
        raise InvalidRecord(f"no profile below {store.folder}; run `itm profile` without --report-only first")
    built = report.build(profiles, title=f"Profile: {name}", limits=limits, mix_devices=mix_devices)
    files = render.write(built, store.folder)
    if mlflow:
        rows = built.main.to_dict("records")
        points = [
            Point(
                str(row["label"]),
                report.flat_metrics(row),
                {key: str(row[key]) for key in ("label", "kind", "base", "device", "gallery", "run_ids")},
                str(row["device"]),
            )
            for row in rows
        ]
        tell(create_tracker(results), "profile", name, points, files)
    show_page(built, store.folder)
