"""`itm rescore`: new numbers from recorded scores or ranks, without a model."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import repeatable, results_option
from harness.cli.refreshing import refreshes_site
from harness.cli.scored import dataset_options, dataset_set_option, find_run, print_numbers, tie_rules, ties_option
from harness.cli.terminal import say, say_file


@click.command()
@click.argument("run", metavar="RUN")
@repeatable("--protocol", "names", "P", "Protocol to evaluate.", required=True)
@ties_option
@dataset_set_option
@results_option
@refreshes_site
def rescore(run: str, names: tuple[str, ...], ties: str | None, overrides: tuple[str, ...], results: Path) -> None:
    """Evaluate further protocols or tie rules of RUN (an id, its beginning, or the run's folder), without its model.

    Works from scores.npy (kept with evaluation.save_scores=true), or from the ranks where they suffice. The numbers are
    written into the run's record; those under another tie rule than the run's own are kept apart there.
    """
    from harness.records.store import RunStore
    from harness.runs.rescoring import rescore as rescore_run

    store = RunStore(results)
    run_id = find_run(store, run)
    record = store.read(run_id)
    default = record.ties if record else "pessimistic"
    done = rescore_run(store, run_id, names, tie_rules(ties, default), dataset_options(overrides))
    say(f"{done.record.title} ({run_id}) from {done.source}")
    print_numbers(done.metrics)
    say_file("written", store.folder(run_id) / "record.json")
