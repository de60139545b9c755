"""`itm add`: results that any code made, recorded as a run that takes part beside trained ones."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import Any, cast

import click
from click.core import ParameterSource

from harness.cli.averages import add_averages, holds_averages
from harness.cli.given import Given, given_options, say_not_evaluated
from harness.cli.options import NamedPath, repeatable, results_option
from harness.cli.refreshing import refreshes_site
from harness.cli.scored import LEGEND, print_numbers
from harness.cli.terminal import say, say_file

logger = logging.getLogger(__name__)


@click.command()
@partial(given_options, averages=True)
@click.option("--name", required=True, metavar="NAME", help="Name of the method, as tables show it.")
@click.option("--variant", default="", show_default=False, metavar="NAME", help="Variant of the method.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, help="Random seed of its training; one run per seed is one method."
)
@click.option("--backbone", default="", show_default=False, metavar="TEXT", help="Its image and text towers, in words.")
@click.option("--citation", default="", show_default=False, metavar="TEXT", help="Publication, for tables.")
@click.option(
    "--selected-on",
    type=click.Choice(["validation", "test", "last-epoch", "nothing"]),
    help="Split on which its checkpoint was chosen; nothing = there was no training.  [default: not known]",
)
@click.option("--trials", type=click.IntRange(min=0), help="Tuning trials before this result.  [default: not known]")
@click.option(
    "--ties", type=click.Choice(["pessimistic", "optimistic", "expected"]), default="pessimistic",
    help="Order of items with the same score.",
)  # fmt: skip
@repeatable(
    "--trained-on",
    "trained_on",
    "DATA",
    "Data that it was trained on: a dataset's folder, or a file of ids or file names.",
    "not known",
    type=NamedPath(),
)
@click.option(
    "--unit", type=click.Choice(["percent", "fraction"]), help="Unit of averages by name, where none is above 1."
)
@click.option("--save-scores", is_flag=True, help="The scores too, for ensembles and further protocols.")
@click.option("--allow-chance", is_flag=True, help="Results that rank no better than chance.")
@results_option
@refreshes_site
def add(
    given: Given,
    name: str,
    variant: str,
    seed: int,
    backbone: str,
    citation: str,
    selected_on: str | None,
    trials: int | None,
    ties: str,
    trained_on: tuple[Path, ...],
    unit: Any,
    save_scores: bool,
    allow_chance: bool,
    results: Path,
) -> None:
    """Record RESULTS of any code as a run, so that leaderboards, tests, ensembles and the site take it in.

    RESULTS are those of `itm evaluate`; the order is that of the dataset's split. The run keeps the rank of every query,
    and what you say of it. Adding the same files twice is one run; runs that differ only in their seed are one method.
    A file of averages (CLIP_benchmark's JSON; recalls such as i2t_r1 as JSON or CSV) is shown, and never tested.
    """
    from harness.records.store import RunStore
    from harness.runs.foreign import Stated, record_foreign, undecided
    from harness.runs.overlaps import of_named_training

    stated = Stated(
        name=name,
        variant=variant,
        seed=seed,
        backbone=backbone,
        citation=citation,
        selected_on=cast(Any, selected_on and selected_on.replace("-", " ")),
        trials=trials,
    )
    store, rule = RunStore(results), cast(Any, ties)
    of_averages = holds_averages(
        given, unit, {"--metric": bool(given.metrics), "--save-scores": save_scores, "--ties": _was_given("ties")}
    )
    store.prepare()
    overlaps = of_named_training(given.dataset, given.split, trained_on) if trained_on else None
    if of_averages:
        add_averages(store, given, stated, unit, overlaps, allow_chance)
        return
    found = given.evaluated((rule,))
    record = record_foreign(
        store,
        given.paths,
        given.dataset,
        given.component,
        found,
        stated,
        ties=rule,
        reading=given.reading,
        overlaps=overlaps,
        save_scores=save_scores,
        allow_chance=allow_chance,
    )
    for line in found.chance:
        logger.warning("%s", line)
    say(f"{given.title}: {found.output.title}, recorded as {record.title} ({record.run_id})")
    print_numbers({protocol: {ties: metrics} for protocol, metrics in record.metrics.items()})
    say(LEGEND)
    say_not_evaluated(found)
    if reason := undecided(record):
        logger.warning("%s; it stands in no leaderboard and no test", reason)
    say_file("written", store.folder(record.run_id) / "record.json")


def _was_given(name: str) -> bool:
    return click.get_current_context().get_parameter_source(name) is not ParameterSource.DEFAULT
