"""`itm ablate`: what each component of a scorer contributes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from harness.cli.options import Setup, dry_run_option, ended, experiment_options
from harness.cli.refreshing import refreshes_site
from harness.cli.terminal import show_page

if TYPE_CHECKING:
    from harness.records.store import RunStore
    from harness.runs.ablation import AblationPlan
    from harness.runs.telling import Outcome


@click.command()
@click.argument("experiment", metavar="EXP")
@click.option("--scorer", required=True, metavar="NAME", help="Scorer to take apart: any that declares variants.")
@click.option(
    "--plan",
    "kind",
    default="one-at-a-time",
    type=click.Choice(["one-at-a-time", "add-one-in", "grid"]),
    help="The full model without each component, the bare one with each, or all subsets.",
)
@click.option("--variants", metavar="A,B,...", help="Variants to use  [default: the scorer's components]")
@dry_run_option
@experiment_options
@refreshes_site
def ablate(setup: Setup, experiment: str, scorer: str, kind: str, variants: str | None, dry_run: bool) -> int:
    """Ablate a scorer on the data, backbones, training and seeds of EXP; runs that are recorded are not repeated.

    Writes ablation.md, .html, .csv, .json, .tex and a figure below RESULTS/ablations/.
    """
    spec = setup.experiment(experiment)

    from harness.reports.statistics.refusals import refuse_few_images
    from harness.runs.ablation import plan_ablation
    from harness.runs.building import TEST_SPLIT, open_dataset
    from harness.runs.planning import check, plan

    if not dry_run:  # a plan says itself what is missing
        check(spec)
    names = tuple(part.strip() for part in variants.split(",")) if variants is not None else ()
    ablation = plan_ablation(spec, scorer, kind.replace("-", "_"), names)  # type: ignore[arg-type]
    if dry_run:
        from harness.cli.plan import document_of, show

        show(document_of(setup, ablation.experiment))
        return 0
    store, device = setup.store(), setup.device()
    cells = plan(ablation.experiment)
    # A test split whose differences no test will take is refused before models are trained.
    refuse_few_images(len(open_dataset(cells[0].dataset).split(TEST_SPLIT).image_ids))
    outcome = setup.run(cells, ablation.experiment.name, device)
    _write(ablation, ablation.run_ids(cells), outcome, store)
    return ended(outcome)


def _write(ablation: AblationPlan, run_ids: list[list[str]], outcome: Outcome, store: RunStore) -> None:
    from harness import registry
    from harness.errors import RunFailed
    from harness.reports.ablation import report
    from harness.reports.ablation.rows import Ablated, Published
    from harness.reports.document import pages

    finished = {record.run_id for record in outcome.records}
    kept = [tuple(run_id for run_id in own if run_id in finished) for own in run_ids]
    models = [Ablated(m.key, m.removed, own) for m, own in zip(ablation.models, kept, strict=True) if own]
    reference = ablation.reference.key
    if reference not in {model.label for model in models} or len(models) < 2:
        raise RunFailed(f"the reference {reference} and at least one other model must finish; see the errors above")
    cls = registry.scorer_class(ablation.scorer)
    built = report.build(
        store,
        models,
        reference,
        title=f"Ablation of {ablation.scorer}: {ablation.kind.replace('_', ' ')}",
        published=Published(cls.published_ablation, cls.published_ablation_source) if cls.published_ablation else None,
        failures=outcome.failures,
    )
    about = pages.about_experiment(ablation.experiment, kind=ablation.kind)
    root, name = store.results / "ablations", ablation.experiment.name
    show_page(built, pages.write_page(built, root, name, about, sorted(finished)))
