"""`itm ablate`: what each component of a scorer contributes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import add_plugins, device_option, plugin_option, results_option, set_option, torch_device
from harness.cli.terminal import complain, show_page

if TYPE_CHECKING:
    from harness.spec import RunSpec


@click.command()
@click.argument("experiment", metavar="EXP")
@click.option("--scorer", required=True, metavar="NAME", help="Scorer to take apart: any that declares variants.")
@click.option(
    "--plan",
    "kind",
    default="one-at-a-time",
    show_default=True,
    type=click.Choice(["one-at-a-time", "add-one-in", "grid"]),
    help="Remove each component from the full model, add each to the bare one, or all subsets.",
)
@click.option("--variants", metavar="A,B,...", help="Variants to use; default the scorer's components.")
@set_option
@results_option
@plugin_option
@device_option
@click.option("--no-mlflow", is_flag=True, help="Do not mirror the runs to MLflow.")
def ablate(
    experiment: str,
    scorer: str,
    kind: str,
    variants: str | None,
    overrides: tuple[str, ...],
    results: Path,
    plugins: tuple[Path, ...],
    device: str,
    no_mlflow: bool,
) -> int:
    """Ablate a scorer on the data, backbones, training and seeds of EXP; runs that are recorded are not repeated.

    Writes ablation.md, .html, .csv, .json, .tex and a figure below RESULTS/ablations/.
    """
    from harness.spec import load_experiment

    add_plugins(plugins)
    spec = load_experiment(experiment, overrides)

    from harness import registry
    from harness.cli.progress import ConsoleObserver
    from harness.records.store import RunStore
    from harness.runs.ablation import plan_ablation
    from harness.runs.experiment import run_cells
    from harness.runs.planning import check, plan
    from harness.tracking.tracker import create_tracker

    check(spec)
    names = tuple(part.strip() for part in variants.split(",")) if variants is not None else ()
    ablation = plan_ablation(spec, scorer, kind.replace("-", "_"), names)  # type: ignore[arg-type]
    store = RunStore(results)
    store.prepare()
    cells = plan(ablation.experiment)
    _require_testable(cells)
    tracker = create_tracker(results, enabled=not no_mlflow)
    name = ablation.experiment.name
    with ConsoleObserver() as observer:
        outcome = run_cells(
            cells, store, device=torch_device(device), tracker=tracker, observer=observer, experiment=name
        )
    _write(ablation, cells, outcome, store, registry.scorer_class(scorer))
    for failure in outcome.failures:
        complain(f"{failure.title} failed: {failure.error}")
    return outcome.exit_code


def _require_testable(cells: Sequence[RunSpec]) -> None:
    """Refuse a test split whose differences no test will take, before its models are trained.

    Raises:
        TooFewImages: with the count.
    """
    from harness.reports.statistics.refusals import refuse_few_images
    from harness.runs.building import TEST_SPLIT, open_dataset

    refuse_few_images(len(open_dataset(cells[0].dataset).split(TEST_SPLIT).image_ids))


def _write(ablation, cells, outcome, store, cls) -> None:
    from harness.errors import RunFailed
    from harness.reports.ablation import report
    from harness.reports.ablation.rows import Ablated, Published
    from harness.reports.document import pages

    finished = {record.run_id for record in outcome.records}
    models = []
    for position, model in enumerate(ablation.models):
        # A plan lists all entries of a seed, then those of the next: entry p is every len(models)-th cell.
        run_ids = [cell.run_id for cell in cells[position :: len(ablation.models)]]
        kept = tuple(run_id for run_id in run_ids if run_id in finished)
        if kept:
            models.append(Ablated(model.key, model.removed, kept))
    reference = ablation.reference.key
    if reference not in {model.label for model in models} or len(models) < 2:
        raise RunFailed(f"the reference {reference} and at least one other model must finish; see the errors above")
    effects = getattr(cls, "published_ablation", None)
    built = report.build(
        store,
        models,
        reference,
        title=f"Ablation of {ablation.scorer}: {ablation.kind.replace('_', ' ')}",
        published=Published(effects, cls.published_ablation_source) if effects else None,
        failures=outcome.failures,
    )
    about = pages.about_experiment(ablation.experiment, kind=ablation.kind)
    root, name = store.results / "ablations", ablation.experiment.name
    show_page(built, pages.write_page(built, root, name, about, sorted(finished)))
