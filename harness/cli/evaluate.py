"""`itm evaluate`: every protocol's numbers from a score matrix that any code made."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import NamedPath, repeatable
from harness.cli.scored import dataset_component, dataset_set_option, print_numbers, tie_rules, ties_option
from harness.cli.terminal import say


@click.command()
@click.argument("scores", nargs=-1, required=True, type=NamedPath(), metavar="SCORES.npy...")
@click.option(
    "--dataset", required=True, metavar="D", help="Dataset, its folder, or experiment whose dataset is meant."
)
@dataset_set_option
@click.option("--split", default="test", type=click.Choice(["train", "val", "test"]), help="Split of the dataset.")
@repeatable("--protocol", "names", "P", "Protocol to evaluate.", "all that fit the dataset")
@ties_option
@click.option("--ensemble", is_flag=True, help="Mean of the matrices, marked as an ensemble.")
@click.option("--json", "out", type=NamedPath(dir_okay=False), help="File for all numbers as JSON.")
def evaluate(
    scores: tuple[Path, ...],
    dataset: str,
    overrides: tuple[str, ...],
    split: str,
    names: tuple[str, ...],
    ties: str | None,
    ensemble: bool,
    out: Path | None,
) -> None:
    """Evaluate SCORES.npy, a matrix (images, captions) in the order of the dataset's split, higher is better.

    Floats, whole numbers and booleans of any size and byte order are compared exactly as they stand. The matrix is
    memory-mapped; no model and no GPU is needed. Several matrices need --ensemble: their mean is evaluated.
    """
    from harness import datasets
    from harness.errors import InvalidSimilarity
    from harness.records.documents import write_json
    from harness.records.scores import require_array_file
    from harness.runs.evaluation import evaluate_files

    if (len(scores) > 1) != ensemble:
        what = f"{len(scores)} matrices need" if len(scores) > 1 else "one matrix does not go with"
        raise InvalidSimilarity(f"{what} --ensemble, which evaluates the mean of two or more")
    for path in scores:
        require_array_file(path)
    opened, rules = datasets.open_dataset(dataset_component(dataset, overrides)), tie_rules(ties, "pessimistic")
    found = evaluate_files(scores, opened, split, names, rules)
    label = " + ".join(path.name for path in scores) + (" (ensemble)" if ensemble else "")
    say(f"{label} on {opened.title} {split}, ties {', '.join(rules)}")
    print_numbers(found.metrics)
    for name, reason in found.refused.items():
        say(f"not evaluated: {name}: {reason}", err=True)
    if out:
        content = {
            "scores": [path.name for path in scores],
            "origin": "ensemble" if ensemble else "given scores",
            "dataset": opened.title,
            "split": split,
            "data_sha256": opened.sha256,
            "duplicate_captions": found.duplicate_captions,
            "metrics": found.metrics,
            "protocols": found.info,
            "not_evaluated": found.refused,
        }
        write_json(out, content)
        say(f"written: {out}")
