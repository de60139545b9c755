"""`itm leaderboard`: train, evaluate and rank the scorers of an experiment."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import add_plugins, device_option, plugin_option, results_option, set_option, torch_device
from harness.cli.terminal import complain, show_page


@click.command()
@click.argument("experiment", metavar="EXP")
@set_option
@results_option
@plugin_option
@device_option
@click.option("--published", is_flag=True, help="Join the published rows of the same dataset and protocol, marked so.")
@click.option("--tuned", is_flag=True, help="Use the best settings that `itm sweep EXP` found for each scorer.")
@click.option("--allow-unequal-tuning", is_flag=True, help="With --tuned: also where the budgets of the sweeps differ.")
@click.option("--no-mlflow", is_flag=True, help="Do not mirror the runs to MLflow.")
def leaderboard(
    experiment: str,
    overrides: tuple[str, ...],
    results: Path,
    plugins: tuple[Path, ...],
    device: str,
    published: bool,
    tuned: bool,
    allow_unequal_tuning: bool,
    no_mlflow: bool,
) -> int:
    """Train, evaluate and rank the scorers of EXP: a YAML file, or the name of a built-in experiment.

    Runs that are already recorded are not repeated. Writes leaderboard.md, .html, .csv, .json and .tex below
    RESULTS/leaderboards/, and mirrors the runs to MLflow (RESULTS/mlflow.db unless MLFLOW_TRACKING_URI is set).
    """
    from harness.spec import load_experiment

    add_plugins(plugins)
    spec = load_experiment(experiment, overrides)
    if tuned:
        from harness.sweeps.tuned import tuned_experiment

        spec = tuned_experiment(spec, results, allow_unequal_tuning)

    from harness.cli.progress import ConsoleObserver
    from harness.records.store import RunStore
    from harness.runs.experiment import run_experiment
    from harness.tracking.tracker import create_tracker

    store = RunStore(results)
    chosen = torch_device(device)
    store.prepare()
    tracker = create_tracker(results, enabled=not no_mlflow)
    with ConsoleObserver() as observer:
        outcome = run_experiment(spec, store, device=chosen, tracker=tracker, observer=observer)
    if outcome.records:
        _write(spec, outcome, store, published)
    for failure in outcome.failures:
        complain(f"{failure.title} failed: {failure.error}")
    return outcome.exit_code


def _write(experiment, outcome, store, published: bool) -> None:
    from harness.reports.document import pages
    from harness.reports.leaderboard import report as board

    run_ids = [record.run_id for record in outcome.records]
    report = board.build(
        store,
        run_ids,
        title=f"Leaderboard: {experiment.name}",
        failures=outcome.failures,
        published=published,
    )
    about = pages.about_experiment(experiment)
    show_page(report, pages.write_page(report, store.results / "leaderboards", experiment.name, about, run_ids))
