"""`itm profile`: what trained scorers cost where they would be used, and which of them nobody should use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from harness.cli.options import (
    FiniteRange,
    add_plugins,
    device_option,
    plugin_option,
    results_option,
    set_option,
    torch_device,
)
from harness.cli.terminal import complain, show_page


@click.command()
@click.argument("target", metavar="EXP|RESULTS")
@set_option
@results_option
@plugin_option
@device_option
@click.option("--seconds", default=180.0, show_default=True, type=FiniteRange(min=1), help="Measuring time in all.")
@click.option(
    "--rounds", default=5, show_default=True, type=click.IntRange(min=2, max=1_000), help="Interleaved rounds."
)
@click.option(
    "--samples",
    default=30,
    show_default=True,
    type=click.IntRange(min=3, max=1_000_000),
    help="Of each latency; a p99 needs 1000.",
)
@click.option(
    "--galleries", default="1000,5000,25000,100000", show_default=True, metavar="N,N,...", help="Gallery sizes."
)
@click.option(
    "--gallery",
    default=25_000,
    show_default=True,
    type=click.IntRange(min=2, max=100_000_000),
    help="Gallery of the charts.",
)
@click.option(
    "--cascade",
    "cascades",
    multiple=True,
    metavar="COARSE,FINE",
    help="Default every global scorer for every other one.",
)
@click.option("--no-cascades", is_flag=True, help="Measure no cascade.")
@click.option("--ann", is_flag=True, help="Cascades shortlist by an approximate index (needs faiss).")
@click.option("--budget", default="", metavar="LIMITS", help="Pick the best admissible: latency<=20ms,memory<=4GiB.")
@click.option("--mix-devices", is_flag=True, help="Also draw the profiles of all devices on common charts.")
@click.option("--report-only", is_flag=True, help="Report what is recorded, without measuring.")
@click.option("--no-mlflow", is_flag=True, help="Do not mirror runs and points to MLflow.")
def profile(target: str, overrides: tuple[str, ...], results: Path, plugins: tuple[Path, ...], **options: Any) -> int:
    """Measure the trained scorers of EXP (the first seed, trained if it is missing) or of a RESULTS folder.

    Offline, single query in both directions, encoding and training step; reduced precision, pruning and cascades as
    further points. Writes profile.md, .html, .csv, .json, .tex and figures below RESULTS/profiles/.
    """
    from harness.reports.profile import budget

    limits = budget.parse(options["budget"]) if options["budget"] else ()
    chosen = _options(options)
    add_plugins(plugins)
    if _is_results(target):
        if overrides:
            raise click.UsageError("--set changes an experiment; a results folder is taken as it is")
        jobs, code = _recorded(Path(target)), 0
        results = Path(target)
    else:
        jobs, code = _trained(target, overrides, results, options)
    for name, runs in jobs.items():
        if not options["report_only"]:
            _measure(name, runs, results, torch_device(options["device"]), chosen)
        _report(name, results, limits, options["mix_devices"], not options["no_mlflow"])
    return code


def _options(options: dict[str, Any]) -> Any:
    from harness.errors import InvalidSpec
    from harness.profiles.plan import ProfileOptions

    try:
        sizes = tuple(sorted({int(part) for part in options["galleries"].split(",") if part.strip()}))
    except ValueError:
        raise InvalidSpec(
            f"--galleries takes whole numbers, got '{options['galleries']}'; for example 1000,5000"
        ) from None
    pairs = []
    for text in options["cascades"]:
        coarse, comma, fine = (part.strip() for part in text.partition(","))
        if not (coarse and comma and fine):
            raise InvalidSpec(f"--cascade takes COARSE,FINE, got '{text}'; for example --cascade clip,scan")
        pairs.append((coarse, fine))
    if options["no_cascades"] and pairs:
        raise InvalidSpec("--cascade and --no-cascades exclude each other")
    return ProfileOptions(
        seconds=options["seconds"],
        rounds=options["rounds"],
        samples=options["samples"],
        galleries=sizes,
        gallery=options["gallery"],
        cascades=() if options["no_cascades"] else (tuple(pairs) or None),
        ann=options["ann"],
    )


def _is_results(target: str) -> bool:
    from harness.spec import builtin_experiments

    return target not in builtin_experiments() and Path(target).is_dir()


def _trained(
    target: str, overrides: tuple[str, ...], results: Path, options: dict[str, Any]
) -> tuple[dict[str, dict[str, Any]], int]:
    """The runs of an experiment's first seed by entry, and the exit code of those that failed."""
    from harness.spec import load_experiment

    spec = load_experiment(target, overrides)

    from harness.cli.progress import ConsoleObserver
    from harness.errors import RunFailed
    from harness.records.store import RunStore
    from harness.reports.document import pages
    from harness.runs.experiment import run_cells
    from harness.runs.planning import plan
    from harness.tracking.tracker import create_tracker

    store = RunStore(results)
    store.prepare()
    name = _page(results, spec.name, pages.about_experiment(spec))
    if options["report_only"]:
        return {name: {}}, 0
    cells = plan(spec.model_copy(update={"seeds": spec.seeds[:1]}))
    with ConsoleObserver() as observer:
        outcome = run_cells(
            cells,
            store,
            device=torch_device(options["device"]),
            tracker=create_tracker(results, enabled=not options["no_mlflow"]),
            observer=observer,
            experiment=spec.name,
        )
    for failure in outcome.failures:
        complain(f"{failure.title} failed: {failure.error}")
    finished = {record.run_id: record for record in outcome.records}
    runs = {
        entry.key: finished[cell.run_id]
        for entry, cell in zip(spec.scorers, cells, strict=True)
        if cell.run_id in finished
    }
    if not runs:
        raise RunFailed("no run finished, so there is nothing to profile; see the errors above")
    return {name: runs}, outcome.exit_code


def _page(results: Path, name: str, about: dict[str, Any]) -> str:
    """The folder below `profiles/` that this profile has: its name, unless another experiment's profile lies there.

    Measurements are kept there beside the page, so the folder says what it is about before anything is measured.
    """
    from harness.records.documents import write_json
    from harness.reports.document import pages

    folder = pages.page_folder(results / "profiles", name, "about", about)
    write_json(folder / "about.json", {"data": {pages.ABOUT: about}})
    return folder.name


def _recorded(results: Path) -> dict[str, dict[str, Any]]:
    """The runs of a results folder by profile (one a dataset and protocol) and method, the lowest common seed of each."""
    from harness.errors import InvalidRecord
    from harness.records.store import RunStore
    from harness.reports.runs.groups import groups
    from harness.reports.runs.loading import sound_records

    records = sound_records(RunStore(results))
    jobs: dict[str, dict[str, Any]] = {}
    for gallery, members in groups(records).items():
        own = [m for m in members if m.first.origin == "measured" and m.first.protocols[0] == gallery.protocol]
        seeds = [set(member.seeds) for member in own]
        common = set.intersection(*seeds) if seeds else set()
        if not own:
            continue
        if not common:
            raise InvalidRecord(
                f"the methods on {gallery.title} share no seed, so their points cannot be compared; train one seed of all"
            )
        about = {"all runs of": [gallery.dataset, gallery.split, gallery.protocol, gallery.data_sha256]}
        jobs[_page(results, f"all-{gallery.slug}", about)] = {
            member.label: next(r for r in member.records if r.seed == min(common)) for member in own
        }
    return jobs


def _measure(name: str, runs: dict[str, Any], results: Path, device: Any, chosen: Any) -> None:
    from harness.cli.progress import ConsoleObserver
    from harness.files.locks import claim
    from harness.profiles.run import profile_runs
    from harness.records.profile import ProfileStore
    from harness.records.store import RunStore

    store = ProfileStore(results, name)
    observer = ConsoleObserver()
    with claim(results, f"profile-{name}", wait=0) as ours:
        if ours:
            store.write(*profile_runs(name, runs, RunStore(results), device, chosen, observer))
            return
    # Two at once would time each other, and measure the same twice.
    observer.noted(f"another command is measuring {store.folder}; waiting for it")
    before = store.state()
    with claim(results, f"profile-{name}"):
        if store.state() == before:  # it died
            store.write(*profile_runs(name, runs, RunStore(results), device, chosen, observer))


def _report(name: str, results: Path, limits: Any, mix_devices: bool, mlflow: bool) -> None:
    from harness.errors import InvalidRecord
    from harness.records.profile import ProfileStore
    from harness.reports.document import render
    from harness.reports.profile import report

    store = ProfileStore(results, name)
    profiles = store.profiles()
    if not profiles:
        raise InvalidRecord(f"no profile below {store.folder}; run `itm profile` without --report-only first")
    built = report.build(profiles, title=f"Profile: {name}", limits=limits, mix_devices=mix_devices)
    files = render.write(built, store.folder)
    if mlflow:
        _mirror(name, results, built, files, report.flat_metrics)
    show_page(built, store.folder)


def _mirror(name: str, results: Path, built: Any, files: list[Path], numbers: Any) -> None:
    """Each point as a run of the experiment `profile <name>`, the report's files with a run of their own."""
    from harness.spec import sha256_json
    from harness.tracking.base import TrackedRun
    from harness.tracking.tracker import create_tracker

    tracker = create_tracker(results)
    tracker.start_experiment(f"profile {name}", {"itm.experiment": f"profile {name}"})
    for row in built.main.to_dict("records"):
        figures = numbers(row)
        tracker.tell(
            TrackedRun(
                str(row["label"]),
                sha256_json([name, row["device"], row["label"]])[:16],
                params={key: str(row[key]) for key in ("label", "kind", "base", "device", "gallery", "run_ids")},
                tags={"itm.kind": "profile", "itm.device": str(row["device"]), "itm.figures": sha256_json(figures)},
                metrics={0: {"profile": figures}},
            )
        )
    tables = sha256_json([p.read_bytes().hex() for p in files if p.suffix == ".csv"])
    tags = {"itm.kind": "profile report", "itm.figures": tables}
    tracker.tell(TrackedRun("report", sha256_json([name, "report"])[:16], tags=tags, artifacts=files))
    tracker.close()
