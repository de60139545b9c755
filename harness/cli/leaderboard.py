"""`itm leaderboard`: train, evaluate and rank the scorers of an experiment."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from harness.cli.options import (
    Setup,
    baseline_option,
    dry_run_option,
    ended,
    experiment_options,
    latex_options,
    named_sections,
    published_option,
    section_option,
)
from harness.cli.prices import price_options
from harness.cli.refreshing import refreshes_site
from harness.cli.terminal import complain, show_page

if TYPE_CHECKING:
    from pathlib import Path

    from harness.reports.document.model import Paper
    from harness.reports.leaderboard.baseline import Reference
    from harness.reports.leaderboard.prices import Prices
    from harness.spec import Experiment


@click.command()
@click.argument("experiment", metavar="EXP")
@published_option
@baseline_option
@price_options
@latex_options
@click.option("--tuned", is_flag=True, help="Best settings found by `itm sweep EXP` instead of those of EXP.")
@click.option("--allow-unequal-tuning", is_flag=True, help="With --tuned: scorers tuned at different budgets.")
@section_option
@dry_run_option
@experiment_options
@refreshes_site
def leaderboard(
    setup: Setup,
    experiment: str,
    published: bool,
    baseline: str,
    tuned: bool,
    allow_unequal_tuning: bool,
    sections: tuple[str, ...],
    dry_run: bool,
    prices: Prices | None,
    paper: Paper,
) -> int:
    """Train, evaluate and rank the scorers of EXP: a YAML file, or the name of a built-in experiment.

    The config.yaml of a run makes that run again: itm leaderboard RESULTS/runs/RUN/config.yaml --results OTHER.

    Runs that are already recorded are not repeated. Writes leaderboard.md, .html, .csv, .json and .tex below
    RESULTS/leaderboards/, and mirrors the runs to MLflow (RESULTS/mlflow.db unless MLFLOW_TRACKING_URI is set).
    """
    from harness.reports.document.latex import require_columns
    from harness.reports.leaderboard.report import paper_columns

    spec = setup.experiment(experiment)
    if tuned:
        from harness.sweeps.tuned import tuned_experiment

        spec = tuned_experiment(spec, setup.results, allow_unequal_tuning)
    wanted = named_sections(sections)
    require_columns(paper.columns, paper_columns(spec.evaluation.metrics))
    reference = _reference(baseline, setup.results, spec) if baseline else None

    if dry_run:
        from harness.cli.plan import document_of, show

        show(document_of(setup, spec))
        return 0

    from harness.cli.working import Working
    from harness.reports.document import pages
    from harness.reports.leaderboard import report
    from harness.runs.planning import plan
    from harness.sections.placing import placed

    store, device = setup.store(), setup.device()
    outcome = setup.run(plan(spec), spec.name, device)
    lost: list[str] = []
    if outcome.records:
        run_ids = [record.run_id for record in outcome.records]
        title = f"Leaderboard: {spec.name}"
        with Working() as tell:
            built = report.build(
                store,
                run_ids,
                title=title,
                failures=outcome.failures,
                published=published,
                baseline=reference,
                prices=prices,
                tell=tell,
            )
            built, lost = placed(built, store, wanted)
            about = pages.about_experiment(spec)
            built = replace(built, paper=paper)
            tell("writing", 0, 0)
            folder = pages.write_page(built, store.results / "leaderboards", spec.name, about, run_ids)
        show_page(built, folder)
    for line in lost:
        complain(line)
    return ended(outcome) or int(bool(lost))


def _reference(baseline: str, results: Path, spec: Experiment) -> Reference:
    """The baseline, refused before anything is trained if no file and no planned method can be meant."""
    from harness.reports.leaderboard.baseline import read_reference, require_known

    reference = read_reference(baseline, results)
    require_known(reference, [entry.name for entry in spec.scorers])
    return reference
