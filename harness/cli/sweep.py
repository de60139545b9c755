"""`itm sweep`: tune a scorer on the validation split, at a budget that is counted and recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from harness import plugins
from harness.cli.options import FiniteRange, Setup, dry_run_option, experiment_options, repeatable
from harness.cli.refreshing import refreshes_site
from harness.cli.terminal import complain, say, show_page
from harness.errors import InvalidSpec

if TYPE_CHECKING:
    from pathlib import Path

    from harness.records.study import StudySummary
    from harness.spec import Experiment
    from harness.sweeps.plan import StudyPlan


def _limits(ctx: click.Context, param: click.Parameter, texts: tuple[str, ...]) -> dict[str, float]:
    limits = {}
    for text in texts:
        key, _, value = text.partition("=")
        try:
            limits[key] = float(value)
        except ValueError:
            raise InvalidSpec(f"--at-most takes COST=VALUE, got '{text}'; for example --at-most latency=5") from None
    return limits


@click.command()
@click.argument("experiment", metavar="EXP")
@click.option("--scorer", required=True, metavar="NAME", help="Entry of EXP, or any registered scorer.")
@click.option(
    "--trials",
    required=True,
    type=click.IntRange(min=1, max=100_000),
    help="Total of the study, earlier calls and other machines included.",
)
@repeatable(
    "--objective",
    "objectives",
    "NAME",
    "rsum, latency, memory, params or a cost key; several give a Pareto front.",
    "rsum",
)
@repeatable("--at-most", "at_most", "COST=VALUE", "Constraint, e.g. latency=5.", callback=_limits)
@click.option("--sampler", metavar="NAME", help="Class of optuna.samplers  [default: TPESampler]")
@click.option(
    "--pruner",
    metavar="NAME",
    help="Class of optuna.pruners  [default: MedianPruner, none for several objectives]",
)
@click.option(
    "--seeds", type=click.IntRange(min=1), help="Training runs per trial, the first seeds of EXP  [default: 1]"
)
@click.option("--storage", metavar="URL", help="Optuna storage or journal:PATH  [default: RESULTS/sweeps/optuna.db]")
@click.option("--study", metavar="NAME", help="Name of the study  [default: EXP.NAME]")
@click.option(
    "--grace",
    default=60.0,
    type=FiniteRange(min=1, max=86_400),
    help="Seconds without a sign of life after which the trial of a worker elsewhere is repeated.",
)
@dry_run_option
@experiment_options
@refreshes_site
def sweep(
    setup: Setup,
    experiment: str,
    scorer: str,
    trials: int,
    storage: str | None,
    study: str | None,
    grace: float,
    dry_run: bool,
    objectives: tuple[str, ...],
    at_most: dict[str, float],
    **sought: Any,
) -> int:
    """Tune a scorer on the validation split of EXP with Optuna; the test split is never opened.

    The same command continues a study that was stopped, and joins it from another terminal or, with a --storage that
    both can reach, from another machine. Writes sweep.md, .html, .csv, .json, figures and best.yaml below
    RESULTS/sweeps/STUDY/. `itm leaderboard EXP --tuned` takes the best settings from there.
    """
    from harness.settings.sweep import SweepSettings
    from harness.spec import build

    spec = setup.experiment(experiment)
    given = {key: value for key, value in sought.items() if value is not None}
    if objectives:
        given["objectives"] = [part for text in objectives for part in text.split(",") if part]
    if at_most:
        given["at_most"] = {**spec.sweep.at_most, **at_most}
    if given:
        settings = {**spec.sweep.model_dump(exclude_unset=True), **given}
        sweep = build(SweepSettings, settings, f"sweep of experiment '{spec.name}'")
        spec = spec.model_copy(update={"sweep": sweep})

    from harness.cli.progress import ConsoleObserver
    from harness.sweeps.plan import draft_study, with_data
    from harness.sweeps.processes import check_reachable
    from harness.sweeps.run import run_study
    from harness.sweeps.study import check_study

    draft = draft_study(spec, scorer, setup.results, storage=storage, name=study, plugins=plugins.files())
    trials = _affordable(draft, trials)
    if dry_run:
        _show_plan(spec, draft, trials)
        return 0
    setup.store()
    check_reachable(draft.storage, setup.placement(), setup.results)
    check_study(draft)
    device, tracker = setup.device(), setup.tracker()
    plan = with_data(draft)
    with ConsoleObserver() as observer:
        summary = run_study(
            plan,
            setup.results,
            trials,
            placement=setup.placement(),
            device=device,
            grace=grace,
            tracker=tracker,
            observer=observer,
        )
    _write(summary, setup.results)
    if summary.best_trial is None:
        why = next((trial.reason for trial in reversed(summary.trials) if trial.reason), "see the table of trials")
        complain(f"no trial of study '{summary.study}' can be recommended; the last reason given: {why}")
        return 1
    return 0


def _show_plan(spec: Experiment, draft: StudyPlan, trials: int) -> None:
    """What a whole study would train and need, at the settings before tuning."""
    from harness.cli.plan import show
    from harness.estimates.plan import plan_document

    show(plan_document(spec.model_copy(update={"scorers": (draft.entry,), "seeds": draft.seeds}), None, None, trials))


def _affordable(plan: StudyPlan, trials: int) -> int:
    """The number of trials; a sampler that visits every point has no more than there are."""
    from harness.sweeps.search import EXHAUSTIVE

    sampler = plan.settings.sampler.name
    if sampler not in EXHAUSTIVE:
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
