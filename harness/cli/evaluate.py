"""`itm evaluate`: every protocol's numbers, with intervals, from results that any code made."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from harness.cli.given import Given, given_options, say_not_evaluated
from harness.cli.options import NamedPath
from harness.cli.scored import LEGEND, UNITS, print_intervals, print_numbers, tie_rules, ties_option
from harness.cli.terminal import say, say_file

logger = logging.getLogger(__name__)


@click.command()
@given_options
@ties_option
@click.option("--json", "out", type=NamedPath(dir_okay=False), help="File for all numbers as JSON.")
def evaluate(given: Given, ties: str | None, out: Path | None) -> None:
    """Evaluate RESULTS of any code on the protocols of a dataset, in the order of its split; higher scores are better.

    RESULTS is a score matrix of images x captions (.npy, the authors' {'npts', 'sims'}, text, .npz, .safetensors, .pt),
    its shards by fold (files or a folder), ranks.pth.tar, or candidate lists (.json, .npz, TREC runs). Embeddings come as
    one file of two arrays, or with --images and --captions. docs/outputs.md shows each. No pickle is executed.

    Numbers are compared exactly as they stand. Several matrices need --ensemble: their mean is evaluated. Intervals are of
    95 % for new images, with the image as the unit. `itm add` records the same results as a run.
    """
    from harness.records.documents import write_json
    from harness.reports.runs.intervals import intervals_of

    rules = tie_rules(ties, "pessimistic")
    found = given.evaluated(rules)
    for line in found.chance:
        logger.warning("%s", line)
    intervals = {
        name: intervals_of(measured.ranks, measured.metrics, rules[0], measured.depths)
        for name, measured in found.measured.items()
        if measured.ranks is not None
    }
    say(f"{given.title}, {found.gallery[0]:,} images and {found.gallery[1]:,} captions, ties {', '.join(rules)}: "
        f"{found.output.title}")  # fmt: skip
    print_numbers(found.metrics)
    print_intervals(intervals)
    say(LEGEND)
    say_not_evaluated(found)
    if out:
        content = {
            "scores": [path.name for path in given.files],
            "origin": "ensemble" if given.reading.ensemble else "given scores",
            "shape": found.output.title,
            "dataset": given.dataset.title,
            "split": given.split,
            "images": found.gallery[0],
            "captions": found.gallery[1],
            "data_sha256": given.dataset.sha256,
            "duplicate_captions": found.duplicate_captions,
            "units": UNITS,
            "metrics": found.metrics,
            "intervals": {"ties": rules[0], "level": 0.95, "unit": "image", "protocols": _as_json(intervals)},
            "at_chance": {line.direction: str(line) for line in found.chance},
            "protocols": found.info,
            "not_evaluated": {**found.unfit, **found.refused},
        }
        write_json(out, content)
        say_file("written", out)


def _as_json(intervals: dict) -> dict:
    return {name: {key: [one.low, one.high] for key, one in rows.items()} for name, rows in intervals.items()}
