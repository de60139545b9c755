"""`itm plan`: what an experiment will run, what it needs, and what it will cost; nothing is trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import FiniteRange, Setup, experiment_options
from harness.cli.terminal import console, say
from harness.errors import InvalidSpec

if TYPE_CHECKING:
    from harness.estimates.plan import Timing
    from harness.estimates.workers import Room
    from harness.records.plan import PlanDocument, Split
    from harness.spec import Experiment


@click.command()
@click.argument("experiment", metavar="EXP")
@click.option("--measure/--no-measure", default=True, help="Time, memory and disk from a few steps of each model.")
@click.option(
    "--seconds", default=20.0, type=FiniteRange(min=0.1, max=86_400), help="Time for measuring each model, about."
)
@click.option("--images", type=click.IntRange(1), metavar="N", help="Images of an evaluation to estimate as well.")
@click.option("--captions", type=click.IntRange(1), metavar="M", help="Captions of that evaluation.")
@click.option("--json", "as_json", is_flag=True, help="The plan as JSON on stdout, for scripts.")
@click.option("--markdown", is_flag=True, help="The whole plan as Markdown on stdout.")
@experiment_options
def plan(
    setup: Setup,
    experiment: str,
    measure: bool,
    seconds: float,
    images: int | None,
    captions: int | None,
    as_json: bool,
    markdown: bool,
) -> None:
    """Show the runs of EXP, which are recorded, which files are missing, and the hours and gigabytes of the rest.

    Works without the data and without pretrained weights: models are timed with random weights, on random data of the
    published shape where the dataset is not here. Nothing is trained, fetched or written.

    With --images and --captions also what one evaluation of each model costs at that size: time, memory and disk.
    """
    spec, gallery = setup.experiment(experiment), gallery_of(images, captions, measure)

    from harness.estimates.plan import Timing

    timing = Timing(setup.device(), seconds) if measure else None
    show(document_of(setup, spec, timing, gallery=gallery), as_json=as_json, markdown=markdown)


def gallery_of(images: int | None, captions: int | None, measured: bool) -> Split | None:
    """The size of an evaluation that is asked for.

    Raises:
        InvalidSpec: one of the two numbers alone, or nothing that it could be extrapolated from.
    """
    from harness.records.plan import Split

    if images is None and captions is None:
        return None
    if images is None or captions is None:
        given, other = ("--captions", "--images") if images is None else ("--images", "--captions")
        raise InvalidSpec(f"{given} needs {other}: the cost of an evaluation depends on both numbers")
    if not measured:
        raise InvalidSpec("--images and --captions are extrapolated from measured steps; leave out --no-measure")
    return Split(images=images, captions=captions)


def document_of(
    setup: Setup, spec: Experiment, timing: Timing | None = None, runs: int = 1, gallery: Split | None = None
) -> PlanDocument:
    """The plan of an experiment with the runs that are recorded below `--results`."""
    from harness.estimates.plan import plan_document
    from harness.records.store import RunStore

    store = RunStore(setup.results) if Path(setup.results).is_dir() else None
    return plan_document(spec, store, timing, runs, _room(setup, spec) if timing else None, gallery)


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
