"""`itm plan`: what an experiment will run, what it needs, and what it will cost; nothing is trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import FiniteRange, Setup, experiment_options
from harness.cli.terminal import console, say

if TYPE_CHECKING:
    from harness.estimates.plan import Timing
    from harness.estimates.workers import Room
    from harness.records.plan import PlanDocument
    from harness.spec import Experiment


@click.command()
@click.argument("experiment", metavar="EXP")
@click.option("--measure/--no-measure", default=True, help="Time, memory and disk from a few steps of each model.")
@click.option(
    "--seconds", default=20.0, type=FiniteRange(min=0.1, max=86_400), help="Time for measuring each model, about."
)
@click.option("--json", "as_json", is_flag=True, help="The plan as JSON on stdout, for scripts.")
@click.option("--markdown", is_flag=True, help="The whole plan as Markdown on stdout.")
@experiment_options
def plan(setup: Setup, experiment: str, measure: bool, seconds: float, as_json: bool, markdown: bool) -> None:
    """Show the runs of EXP, which are recorded, which files are missing, and the hours and gigabytes of the rest.

    Works without the data and without pretrained weights: models are timed with random weights, on random data of the
    published shape where the dataset is not here. Nothing is trained, fetched or written.
    """
    spec = setup.experiment(experiment)

    from harness.estimates.plan import Timing

    timing = Timing(setup.device(), seconds) if measure else None
    show(document_of(setup, spec, timing), as_json=as_json, markdown=markdown)


def document_of(setup: Setup, spec: Experiment, timing: Timing | None = None, runs: int = 1) -> PlanDocument:
    """The plan of an experiment with the runs that are recorded below `--results`."""
    from harness.estimates.plan import plan_document
    from harness.records.store import RunStore

    store = RunStore(setup.results) if Path(setup.results).is_dir() else None
    return plan_document(spec, store, timing, runs, _room(setup, spec) if timing else None)


def _room(setup: Setup, spec: Experiment) -> Room | None:
    """Where the runs would be trained on this machine; None elsewhere, and where each run takes several devices."""
    from harness.estimates.workers import room_of
    from harness.records.store import RunStore

    if setup.executor != "local" or spec.devices > 1:
        return None
    seats = setup.placement().create(RunStore(setup.results)).seats(setup.workers, setup.device_name, spec.threads)
    return room_of(seats, asked=setup.workers is not None)


def show(document: PlanDocument, *, as_json: bool = False, markdown: bool = False) -> None:
    """Print a plan: in brief for a terminal, whole as JSON or Markdown."""
    from harness.reports.document.render import render
    from harness.reports.document.terminal import Page
    from harness.reports.plan import report

    built = report.build(document)
    if as_json:
        totals = {"seconds_left": document.seconds_left(), "bytes_left": document.bytes_left()}
        say(_json({**built.data, "to_run": document.to_run(), **totals}))
    elif markdown:
        say(render(built, "md"))
    else:
        console().print(Page(built))


def _json(values: object) -> str:
    import json

    return json.dumps(values, indent=1, allow_nan=False)
