"""`itm evaluate`: every protocol's numbers from results that any code made."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from harness.cli.options import NamedPath, repeatable
from harness.cli.scored import (
    LEGEND,
    UNITS,
    dataset_component,
    dataset_set_option,
    print_numbers,
    tie_rules,
    ties_option,
)
from harness.cli.terminal import say, say_file


@click.command()
@click.argument("results", nargs=-1, type=NamedPath(), metavar="[RESULTS]...")
@click.option("--dataset", required=True, metavar="D", help="Dataset, or experiment whose dataset is meant.")
@dataset_set_option
@click.option("--split", default="test", type=click.Choice(["train", "val", "test"]), help="Split of the dataset.")
@repeatable("--protocol", "names", "P", "Protocol to evaluate.", "all that fit the dataset and the results")
@ties_option
@click.option("--ensemble", is_flag=True, help="Mean of the matrices, marked as an ensemble.")
@click.option("--rows", type=click.Choice(["images", "captions"]), help="What the rows of a square score matrix are.")
@click.option("--images", type=NamedPath(), metavar="FILE", help="Embeddings of the images; needs --captions.")
@click.option("--captions", type=NamedPath(), metavar="FILE", help="Embeddings of the captions; needs --images.")
@click.option("--measure", default="cosine", type=click.Choice(["cosine", "dot"]), help="How embeddings are compared.")
@click.option("--json", "out", type=NamedPath(dir_okay=False), help="File for all numbers as JSON.")
def evaluate(
    results: tuple[Path, ...],
    dataset: str,
    overrides: tuple[str, ...],
    split: str,
    names: tuple[str, ...],
    ties: str | None,
    ensemble: bool,
    rows: Literal["images", "captions"] | None,
    images: Path | None,
    captions: Path | None,
    measure: Literal["cosine", "dot"],
    out: Path | None,
) -> None:
    """Evaluate RESULTS of any code on the protocols of a dataset, in the order of its split; higher scores are better.

    RESULTS is a score matrix of images x captions (.npy, the authors' {'npts', 'sims'}, text, .npz, .safetensors, .pt),
    its shards by fold (files or a folder), ranks.pth.tar, or candidate lists (.json, .npz, TREC runs). Embeddings come as
    one file of two arrays, or with --images and --captions. docs/outputs.md shows each. No pickle is executed.

    Numbers are compared exactly as they stand. Several matrices need --ensemble: their mean is evaluated.
    """
    from harness import datasets
    from harness.outputs.opening import Reading, require_readable
    from harness.records.documents import write_json
    from harness.runs.evaluation import evaluate_files

    reading = Reading(rows=rows, measure=measure, ensemble=ensemble, images=images, captions=captions)
    require_readable(results, reading)
    opened, rules = datasets.open_dataset(dataset_component(dataset, overrides)), tie_rules(ties, "pessimistic")
    found = evaluate_files(results, opened, split, names, rules, reading)
    files = [path for path in (*results, images, captions) if path is not None]
    say(f"{' + '.join(path.name for path in files)}{' (ensemble)' if ensemble else ''} on {opened.title} {split}, "
        f"{found.gallery[0]:,} images and {found.gallery[1]:,} captions, ties {', '.join(rules)}: {found.shape}")  # fmt: skip
    print_numbers(found.metrics)
    say(LEGEND)
    for name, reason in found.refused.items():
        say(f"not evaluated: {name}: {reason}", err=True)
    if out:
        content = {
            "scores": [path.name for path in files],
            "origin": "ensemble" if ensemble else "given scores",
            "shape": found.shape,
            "dataset": opened.title,
            "split": split,
            "images": found.gallery[0],
            "captions": found.gallery[1],
            "data_sha256": opened.sha256,
            "duplicate_captions": found.duplicate_captions,
            "units": UNITS,
            "metrics": found.metrics,
            "protocols": found.info,
            "not_evaluated": found.refused,
        }
        write_json(out, content)
        say_file("written", out)
