"""`itm rescore`: new numbers of a recorded run from its scores or ranks, or from its saved weights."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import add_plugins, device_option, plugin_option, repeatable, results_option, torch_device
from harness.cli.refreshing import refreshes_site
from harness.cli.scored import dataset_options, dataset_set_option, find_run, print_numbers, tie_rules, ties_option
from harness.cli.terminal import say, say_file


@click.command()
@click.argument("run", metavar="RUN")
@repeatable("--protocol", "names", "P", "Protocol to evaluate.", "none; one is needed without --save-scores")
@ties_option
@click.option("--save-scores", is_flag=True, help="Scores kept as scores.npy, for ensembles and further protocols.")
@dataset_set_option
@device_option
@plugin_option
@results_option
@refreshes_site
def rescore(
    run: str,
    names: tuple[str, ...],
    ties: str | None,
    save_scores: bool,
    overrides: tuple[str, ...],
    device: str,
    plugins: tuple[Path, ...],
    results: Path,
) -> None:
    """Evaluate further protocols or tie rules of RUN (an id, its beginning, or the run's folder), without training.

    Works from scores.npy (kept with evaluation.save_scores=true), else from the ranks where they suffice, else from
    model.safetensors, which scores the split again; its scores must give the recorded numbers. The new numbers are
    written into the run's record; those under another tie rule than the run's own are kept apart there.
    """
    from harness.records.scores import SCORES
    from harness.records.store import RunStore
    from harness.runs.rescoring import rescore as rescore_run

    if not names and not save_scores:
        raise click.UsageError("Missing option '--protocol' (or --save-scores, to keep the scores alone).")
    add_plugins(plugins)
    store = RunStore(results)
    run_id = find_run(store, run)
    record = store.read(run_id)
    rules = tie_rules(ties, record.ties if record else "pessimistic")
    had_scores = (store.folder(run_id) / SCORES).is_file()
    done = rescore_run(
        store,
        run_id,
        names,
        rules,
        dataset_options(overrides),
        device=torch_device(device),
        save_scores=save_scores,
    )
    say(f"{done.record.title} ({run_id}) from {done.source}")
    if done.metrics:
        print_numbers(done.metrics)
        say_file("written", store.folder(run_id) / "record.json")
    if save_scores:
        say_file("kept already" if had_scores else "written", store.folder(run_id) / SCORES)
