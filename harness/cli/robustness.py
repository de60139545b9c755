"""`itm robustness`: what trained scorers answer when pictures, captions and scenes get harder, and where their words look."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from harness.cli.options import Setup, add_plugins, ended, experiment_options, repeatable
from harness.cli.refreshing import follow, refreshes_site
from harness.cli.terminal import complain, show_page

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.probes.run import Asked
    from harness.records.run import RunRecord
    from harness.robustness.plan import Options


logger = logging.getLogger(__name__)


def _names(ctx: click.Context, param: click.Parameter, text: str | None) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(name for part in (text or "").split(",") if (name := part.strip().rstrip("/"))))
    if text is not None and not found:
        raise click.BadParameter("names of families or probes expected, for example clutter,images/blur, got none")
    return found


def _severities(ctx: click.Context, param: click.Parameter, text: str) -> tuple[int, ...]:
    try:
        found = tuple(sorted({int(part) for part in text.split(",") if part.strip()}))
    except ValueError:
        found = ()
    if not found or found[0] < 1 or found[-1] > 5:
        raise click.BadParameter(f"whole numbers from 1 to 5 expected, for example 1,3,5, got '{text}'")
    return found


def _suites(ctx: click.Context, param: click.Parameter, texts: tuple[str, ...]) -> tuple[tuple[str, Path], ...]:
    found = {}
    for text in texts:
        name, equals, folder = (part.strip() for part in text.partition("="))
        if not (name and equals and folder):
            raise click.BadParameter(f"NAME=FOLDER expected, for example sugarcrepe=data/sugarcrepe, got '{text}'")
        if name in found:
            raise click.BadParameter(f"suite {name} is named twice")
        found[name] = Path(folder).expanduser()
    return tuple(found.items())


@click.command()
@click.argument("targets", metavar="EXP|RESULTS|RUN...", nargs=-1, required=True)
@click.option(
    "--only",
    metavar="FAMILY[/NAME],...",
    callback=_names,
    help="Probes to ask; the report shows all that is recorded.  [default: all that fit the data]",
)
@click.option(
    "--images",
    default=250,
    type=click.IntRange(min=30, max=100_000),
    help="Test pictures, with their captions, of which perturbed retrieval and alignments are measured.",
)
@click.option(
    "--severities", default="1,2,3,4,5", metavar="N,N,...", callback=_severities, help="Severities of perturbations."
)
@repeatable("--suite", "suites", "NAME=FOLDER", "Files of a suite; see `itm ls suites`.", callback=_suites)
@click.option("--against", metavar="METHOD", help="Method that every other one is compared with, instead of all pairs.")
@click.option("--report-only", is_flag=True, help="Report of what is recorded, without asking anything.")
@experiment_options
@refreshes_site
def robustness(
    setup: Setup,
    targets: tuple[str, ...],
    only: tuple[str, ...],
    images: int,
    severities: tuple[int, ...],
    suites: tuple[tuple[str, Path], ...],
    against: str | None,
    report_only: bool,
) -> int:
    """Measure robustness, composition and grounding of trained scorers: of EXP (trained if they are missing), of all runs
    of a RESULTS folder, or of some of the runs in --results.

    With runs instead of an experiment, --set changes options of their dataset, such as root=FOLDER. Answers are kept with
    the runs and not asked again. Writes robustness.md, .html, .csv, .json, .tex and figures below RESULTS/robustness/.
    """
    from harness.robustness.plan import Options
    from harness.spec import builtin_experiments

    if report_only:
        _refuse_questions()
    options = Options(only, images, severities, suites)
    add_plugins(setup.plugins)
    first, code = targets[0], 0
    is_folder = Path(first).is_dir() and not (Path(first) / "record.json").is_file()
    if len(targets) == 1 and is_folder and first not in builtin_experiments():
        results, jobs = Path(first), _recorded(Path(first))
        follow(results)
    elif len(targets) == 1 and (first in builtin_experiments() or first.endswith((".yaml", ".yml"))):
        results = setup.results
        jobs, code = _trained(setup, first, report_only)
        setup = _without_overrides(setup)
    else:
        results, jobs = setup.results, _named(setup.results, targets)
    for name, job in jobs.items():
        if not report_only:
            code = max(code, _asked(setup, results, job.records, options))
        _report(results, name, job, against, setup.mlflow)
    return code


def _refuse_questions() -> None:
    """A report of what is recorded has no use for options of what is asked."""
    context = click.get_current_context()
    for name in ("only", "images", "severities", "suites"):
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            flag = {"suites": "--suite"}.get(name, f"--{name}")
            raise click.UsageError(
                f"{flag} changes what is asked, and --report-only asks nothing; leave one of them out"
            )


@dataclass(frozen=True)
class Job:
    """A report: its title, what it is about, and its runs."""

    title: str
    about: dict[str, Any]
    records: list[RunRecord]


#: By the name of the page.
Jobs = dict[str, Job]


def _trained(setup: Setup, experiment: str, report_only: bool) -> tuple[Jobs, int]:
    """The runs of an experiment, and the exit code of those that failed."""
    spec = setup.experiment(experiment)

    from harness.errors import InvalidRecord, RunFailed
    from harness.reports.document import pages
    from harness.runs.planning import plan

    cells = plan(spec)
    if report_only:
        store, code = setup.store(), 0
        records = [record for cell in cells if (record := store.finished(cell.run_id)) is not None]
        if not records:
            raise InvalidRecord(f"no run of {spec.name} is recorded below {setup.results}; leave out --report-only")
    else:
        outcome = setup.run(cells, spec.name, setup.device())
        code = ended(outcome)
        records = list(outcome.records)
        if not records:
            raise RunFailed("no run finished, so there is nothing to ask; see the errors above")
    return {spec.name: Job(f"Robustness: {spec.name}", pages.about_experiment(spec), records)}, code


def _without_overrides(setup: Setup) -> Setup:
    """The same, once an experiment has taken its overrides: the others are options of datasets."""
    import dataclasses

    return dataclasses.replace(setup, overrides=())


def _recorded(results: Path) -> Jobs:
    """The runs of a results folder by dataset and split."""
    from harness import registry
    from harness.records.store import RunStore
    from harness.reports.runs.loading import sound_records
    from harness.runs.ensemble import ORIGIN

    records = sound_records(RunStore(results))
    own = [r for r in records if r.origin == "measured" and r.code_origin != ORIGIN]
    unknown = sorted({r.scorer for r in own if r.scorer not in registry.names()})
    if unknown:
        logger.warning("runs of %s are left out: no such scorer; name its file with --plugin", ", ".join(unknown))
    # An ensemble is a mean of saved scores: it has no model to ask. Of results of other code the ranks can be asked.
    asked = [r for r in records if r.code_origin != ORIGIN and (r.origin == "foreign" or r.scorer not in unknown)]
    return _by_split(asked, "all")


def _named(results: Path, targets: tuple[str, ...]) -> Jobs:
    """Runs by id, the beginning of one, or their folder."""
    from harness.cli.scored import find_run
    from harness.records.store import RunStore

    store = RunStore(results)
    return _by_split(
        [store.require(run) for run in dict.fromkeys(find_run(store, target) for target in targets)], "runs"
    )


def _by_split(records: list[RunRecord], prefix: str) -> Jobs:
    from harness.errors import InvalidRecord, counted
    from harness.files.names import safe_name

    found: dict[tuple[str, ...], list[RunRecord]] = {}
    for record in records:
        if record.has_ranks:
            found.setdefault((record.dataset, record.split, record.data_sha256), []).append(record)
    if not found:
        raise InvalidRecord("none of these runs has a model or ranks to ask; see `itm ls runs`")
    jobs: Jobs = {}
    for (dataset, split, sha256), own in found.items():
        about: dict[str, Any] = {"all runs of": [dataset, split, sha256]}
        if prefix != "all":
            about = {"runs": sorted(record.run_id for record in own)}
        which = "all runs" if prefix == "all" else counted(len(own), "run")
        jobs[safe_name(f"{prefix}-{dataset}-{split}-{sha256[:8]}")] = Job(
            f"Robustness of {which} on {dataset} {split}", about, own
        )
    return jobs


def _asked(setup: Setup, results: Path, records: list[RunRecord], options: Options) -> int:
    """Put the probes to the runs; 1 if an answer is missing."""
    from harness.cli.scored import dataset_options
    from harness.probes.run import ask
    from harness.probes.work import Inquiry
    from harness.records.store import RunStore
    from harness.runs.reopening import RunDatasets

    changed: Mapping[str, Any] = dataset_options(setup.overrides)
    RunDatasets(changed).require_used(records)
    inquiry = Inquiry(RunStore(results).results, tuple(record.run_id for record in records), options, changed)
    asked: Asked = ask(inquiry, setup.placement(), setup.device())
    for label in asked.without_model:
        logger.warning("%s has no saved model and is not asked", label)
    for missing in asked.missing:
        complain(f"no answer of {missing}; see the errors above")
    return int(bool(asked.missing))


def _report(results: Path, name: str, job: Job, against: str | None, mlflow: bool) -> None:
    from harness.records.store import RunStore
    from harness.reports.document import pages
    from harness.reports.robustness.report import build

    report = build(RunStore(results), job.records, title=job.title, against=against)
    run_ids = [record.run_id for record in job.records]
    folder = pages.write_page(report, results / "robustness", name, job.about, run_ids)
    if mlflow:
        _mirror(results, folder, report.data["scores"])
    show_page(report, folder)


def _mirror(results: Path, folder: Path, scores: list[dict[str, Any]]) -> None:
    """Show the numbers of each method and the files of the report in MLflow."""
    from harness.tracking.reported import Point, tell
    from harness.tracking.tracker import create_tracker

    figures: dict[str, dict[str, float]] = {}
    run_ids: dict[str, str] = {}
    for row in scores:
        figures.setdefault(row["method"], {})[row["key"]] = float(row["value"])
        run_ids[row["method"]] = row["run_ids"]
    points = [Point(method, own, {"label": method, "run_ids": run_ids[method]}) for method, own in figures.items()]
    files = sorted(path for path in folder.iterdir() if path.is_file())
    tell(create_tracker(results), "robustness", folder.name, points, files)
