"""`itm rescore`: new numbers of recorded runs from their scores or ranks, or from their saved weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import add_plugins, device_option, plugin_option, repeatable, results_option, torch_device
from harness.cli.refreshing import refreshes_site
from harness.cli.scored import dataset_options, dataset_set_option, find_run, print_numbers, tie_rules, ties_option
from harness.cli.terminal import complain, say, say_file
from harness.errors import InvalidRecord, ItmError

if TYPE_CHECKING:
    from harness.records.store import RunStore


@click.command()
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@repeatable("--protocol", "names", "P", "Protocol to evaluate.", "with --metric those of the run")
@repeatable("--metric", "metrics", "M", "Further metric to compute, such as mrr (`itm ls metrics`).")
@ties_option
@click.option("--save-scores", is_flag=True, help="Scores kept as scores.npy, for ensembles and further protocols.")
@dataset_set_option
@device_option
@plugin_option
@results_option
@refreshes_site
def rescore(
    runs: tuple[str, ...],
    names: tuple[str, ...],
    metrics: tuple[str, ...],
    ties: str | None,
    save_scores: bool,
    overrides: tuple[str, ...],
    device: str,
    plugins: tuple[Path, ...],
    results: Path,
) -> int:
    """Evaluate further protocols, metrics or tie rules of RUNs (ids, their beginnings, or folders), without training.

    Metrics follow from the ranks; with --metric alone, every finished run is taken where no RUN is named. Protocols are
    evaluated from scores.npy (kept with evaluation.save_scores=true), else from the ranks where they suffice, else from
    model.safetensors, which scores the split again; its scores must give the recorded numbers. The new numbers are
    written into the run's record; those under another tie rule than the run's own are kept apart there.

    Exit code 0 when all runs have their numbers; else that of the first that has not, and the others are done.
    """
    from harness.records.store import RunStore

    if not runs and (names or save_scores or not metrics):
        raise click.UsageError("Missing argument 'RUN'; only with --metric alone every finished run is taken.")
    if not (names or metrics or save_scores):
        raise click.UsageError("Missing option '--protocol' (or --metric, or --save-scores, to keep the scores alone).")
    if metrics and not names and ties:
        raise click.UsageError("--ties needs --protocol: a metric alone is computed under each run's own rule.")
    add_plugins(plugins)
    store = RunStore(results)
    chosen = [find_run(store, run) for run in runs] or _with_ranks(store)
    code = 0
    for run_id in dict.fromkeys(chosen):
        try:
            _one(store, run_id, names, metrics, ties, save_scores, overrides, device)
        except ItmError as error:
            if len(chosen) == 1:
                raise
            complain(error)
            code = code or error.exit_code
    return code


def _with_ranks(store: RunStore) -> list[str]:
    """Every finished run whose ranks are kept."""
    found = [record.run_id for record in store.records() if record.status == "finished" and record.has_ranks]
    if not found:
        raise InvalidRecord(f"no finished run with ranks below {store.results}/runs; see `itm ls runs`")
    return found


def _one(
    store: RunStore,
    run_id: str,
    names: tuple[str, ...],
    metrics: tuple[str, ...],
    ties: str | None,
    save_scores: bool,
    overrides: tuple[str, ...],
    device: str,
) -> None:
    from harness.records.scores import SCORES
    from harness.runs.rescoring import rescore as rescore_run

    record = store.read(run_id)
    rules = tie_rules(ties, record.ties if record else "pessimistic")
    had_scores = (store.folder(run_id) / SCORES).is_file()
    done = rescore_run(
        store,
        run_id,
        names,
        rules,
        dataset_options(overrides),
        metrics=metrics,
        device=torch_device(device),
        save_scores=save_scores,
    )
    say(f"{done.record.title} ({run_id}) from {done.source}")
    if done.metrics:
        print_numbers(done.metrics)
        say_file("written", store.folder(run_id) / "record.json")
    if save_scores:
        say_file("kept already" if had_scores else "written", store.folder(run_id) / SCORES)
