"""`itm sweep`: tune a scorer on the validation split, at a budget that is counted and recorded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from harness.cli.terminal import complain, say, show_page

if TYPE_CHECKING:
    from harness.records.study import StudySummary
    from harness.spec import Experiment
    from harness.sweeps.plan import StudyPlan


@click.command()
@click.argument("experiment", metavar="EXP")
@click.option("--scorer", required=True, metavar="NAME", help="Entry of EXP, or any registered scorer.")
@click.option(
    "--trials",
    required=True,
    type=click.IntRange(min=1, max=100_000),
    help="Total of the study, earlier calls and machines included.",
)
@click.option(
    "--workers", default=1, show_default=True, type=click.IntRange(min=1, max=256), help="Processes on this machine."
)
@click.option(
    "--objective",
    "objectives",
    multiple=True,
    metavar="NAME",
    help="rsum (default), latency, memory, params or a cost key; several give a Pareto front. Repeatable.",
)
@click.option("--at-most", multiple=True, metavar="COST=VALUE", help="Constraint, e.g. latency=5. Repeatable.")
@click.option("--sampler", metavar="NAME", help="Of optuna.samplers; default TPESampler.")
@click.option("--pruner", metavar="NAME", help="Of optuna.pruners; default MedianPruner, none for several objectives.")
@click.option("--seeds", type=click.IntRange(min=1), help="Training runs a trial: the first seeds of EXP; default 1.")
@click.option("--storage", metavar="URL", help="Optuna storage or journal:PATH; default RESULTS/sweeps/optuna.db.")
@click.option("--study", metavar="NAME", help="Name of the study; default EXP.NAME.")
@click.option(
    "--grace",
    default=60.0,
    show_default=True,
    type=FiniteRange(min=1, max=86_400),
    help="Seconds without a sign of life until the trial of a worker elsewhere is done again.",
)
@set_option
@results_option
@plugin_option
@device_option
@click.option("--no-mlflow", is_flag=True, help="Do not mirror the trials to MLflow.")
def sweep(
    experiment: str,
    scorer: str,
    trials: int,
    workers: int,
    storage: str | None,
    study: str | None,
    grace: float,
    overrides: tuple[str, ...],
    results: Path,
    plugins: tuple[Path, ...],
    device: str,
    no_mlflow: bool,
    **sought: Any,
) -> int:
    """Tune a scorer on the validation split of EXP with Optuna; the test split is never opened.

    The same command continues a study that was stopped, and joins it from another terminal or, with a --storage that
    both can reach, from another machine. Writes sweep.md, .html, .csv, .json, figures and best.yaml below
    RESULTS/sweeps/STUDY/. `itm leaderboard EXP --tuned` takes the best settings from there.
    """
    from harness.spec import load_experiment

    add_plugins(plugins)
    spec = _with_options(load_experiment(experiment, overrides), sought)

    from harness.cli.progress import ConsoleObserver
    from harness.records.store import RunStore
    from harness.sweeps.plan import draft_study, with_data
    from harness.sweeps.run import run_study
    from harness.sweeps.study import check_study
    from harness.tracking.tracker import create_tracker

    RunStore(results).prepare()
    files = tuple(str(plugin.resolve()) for plugin in plugins)
    draft = draft_study(spec, scorer, results, storage=storage, name=study, plugins=files)
    check_study(draft)
    trials = _affordable(draft, trials)
    plan = with_data(draft)
    with ConsoleObserver() as observer:
        summary = run_study(
            plan,
            results,
            trials,
            workers=workers,
            device=torch_device(device),
            grace=grace,
            tracker=create_tracker(results, enabled=not no_mlflow),
            observer=observer,
        )
    _write(summary, results)
    if summary.best_trial is None:
        why = next((trial.reason for trial in reversed(summary.trials) if trial.reason), "see the table of trials")
        text = f"no trial of study '{summary.study}' can be recommended; the last one that says why: {why}"
        complain(text)
        return 1
    return 0


def _with_options(spec: Experiment, sought: dict[str, Any]) -> Experiment:
    """The experiment with the options laid over its `sweep`."""
    from harness.errors import InvalidSpec

    sweep = dict(spec.sweep)
    if sought["objectives"]:
        sweep["objectives"] = [part for text in sought["objectives"] for part in text.split(",") if part]
    for text in sought["at_most"]:
        key, _, value = text.partition("=")
        try:
            limit = float(value)
        except ValueError:
            raise InvalidSpec(f"--at-most takes COST=VALUE, got '{text}'; for example --at-most latency=5") from None
        sweep["at_most"] = {**sweep.get("at_most", {}), key: limit}
    for key in ("sampler", "pruner", "seeds"):
        if sought[key] is not None:
            sweep[key] = sought[key]
    return spec.model_copy(update={"sweep": sweep})


def _affordable(plan: StudyPlan, trials: int) -> int:
    """The number of trials; a sampler that visits every point has no more than there are."""
    sampler = plan.settings.sampler.name
    if sampler not in ("GridSampler", "BruteForceSampler"):
        return trials
    points = plan.space.points(sampler)
    if points < trials:
        say(f"the grid has {points} points, so there are {points} trials instead of {trials}", err=True)
    return min(points, trials)


def _write(summary: StudySummary, results: Path) -> None:
    from harness.records.study import summaries
    from harness.reports.document import render
    from harness.reports.sweep import report
    from harness.sweeps.plan import study_folder

    others = [other for other in summaries(results, summary.experiment) if other.study != summary.study]
    built = report.build(summary, others)
    folder = study_folder(results, summary.study)
    render.write(built, folder)
    show_page(built, folder)
