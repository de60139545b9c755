"""`itm gate`: is a result no worse than a baseline? The exit code says so to a pipeline."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import FiniteRange, NamedPath, repeatable, results_option
from harness.cli.terminal import complain, say, say_file
from harness.errors import InvalidSpec, ResultsNotWritable

if TYPE_CHECKING:
    from harness.reports.gate.sides import Side
    from harness.reports.statistics.noninferiority import NonInferiority


@click.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="[B]", required=False)
@click.option(
    "--min-delta",
    type=FiniteRange(min=-600, max=600),
    default=-1.0,
    metavar="POINTS",
    help="Smallest acceptable A minus B in points of the metric; negative allows a loss.",
)
@click.option("--metric", default="rsum", metavar="NAME", help="rsum or a recall such as t2i_r1.")
@click.option(
    "--confidence",
    type=FiniteRange(min=0.5, max=1, min_open=True, max_open=True),
    default=0.95,
    help="Confidence of the one-sided interval, above 0.5.",
)
@click.option(
    "--claim",
    type=click.Choice(["checkpoint", "method"]),
    help="These trained models, or the methods retrained, from 3 seeds on  [default: method where the seeds allow it]",
)
@click.option("--method", default="", show_default=False, metavar="NAME", help="Method of a side that has several.")
@repeatable("--dataset", "datasets", "NAME", "Dataset of both sides.")
@repeatable("--protocol", "protocols", "NAME", "Protocol of both sides.", "the first that both have")
@click.option(
    "--ranks-from",
    type=click.Choice(["0", "1"]),
    help="First place in a rank CSV; needed only where no query has rank 0.",
)
@click.option(
    "--write",
    type=NamedPath(dir_okay=False),
    metavar="FILE",
    help="CSV of A's ranks, as a baseline to commit; without B.",
)
@click.option("--json", "out", type=NamedPath(dir_okay=False), metavar="FILE", help="File for all numbers as JSON.")
@results_option
def gate(
    a: str,
    b: str | None,
    min_delta: float,
    metric: str,
    confidence: float,
    claim: Any,
    method: str,
    datasets: tuple[str, ...],
    protocols: tuple[str, ...],
    ranks_from: str | None,
    write: Path | None,
    out: Path | None,
    results: Path,
) -> int:
    """Exit 0 if A is no worse than B by more than a margin, 1 if not (worse, or not enough evidence), 2 on bad input.

    A and B are a run, a results or leaderboard folder, a CSV of ranks, or a TREC folder; PATH:METHOD names a method. A
    passes where the lower end of the one-sided interval of A minus B, with the image as the unit, is at least --min-delta.

    itm gate A --write baseline.csv keeps A as the baseline of later gates.
    """
    from harness.reports.gate import sides
    from harness.reports.statistics.hits import components

    if (b is None) == (write is None):
        raise InvalidSpec("itm gate takes A and B, or A alone with --write FILE; name a baseline, or the file to write")
    if write is not None and write.suffix.lower() != ".csv":
        raise InvalidSpec(f"--write makes a rank CSV, got the name {write}; let it end in .csv")
    origin: Any = None if ranks_from is None else int(ranks_from)
    depth = max(k for _, k in components(metric))
    place = sides.Place(results, method, datasets, protocols, depth, origin)
    try:
        if write is not None:
            return _keep(sides.one_side(a, place), write)
        assert b is not None
        return _judge(*sides.two_sides(a, b, place), min_delta, metric, claim, confidence, out)
    except ResultsNotWritable as error:  # 1 is the answer of a gate that was not passed
        complain(error)
        return 2


def _keep(side: Side, path: Path) -> int:
    from harness.errors import counted
    from harness.reports.gate.baseline import write_baseline

    write_baseline(path, side.runs, dataset=side.dataset, protocol=side.protocol)
    of = f"{side.dataset}, {side.protocol}" if side.dataset else "no named dataset"
    images, seeds = counted(len(side.runs.image_ids), "image"), counted(len(side.runs.seeds), "seed")
    say(f"baseline: '{side.runs.name}' on {of}, {seeds}, {images}")
    say_file("written", path)
    return 0


def _judge(a: Side, b: Side, min_delta: float, metric: str, claim: Any, confidence: float, out: Path | None) -> int:
    from dataclasses import replace

    from harness.records.documents import write_json
    from harness.reports.gate import text
    from harness.reports.statistics.noninferiority import non_inferiority
    from harness.reports.statistics.refusals import warnings_for

    # One name on both sides is usual here: the same method, then and now.
    runs = [replace(side.runs, name=f"{letter} '{side.runs.name}'") for letter, side in (("A", a), ("B", b))]
    found = non_inferiority(*runs, min_delta=min_delta, metric=metric, claim=claim, confidence=confidence)
    remarks = dict.fromkeys((*a.remarks, *b.remarks, *(notice.message for notice in warnings_for(runs))))
    for remark in remarks:
        say(f"itm gate: note: {remark}", err=True)
    say(f"itm gate: {text.verdict(a, b, found)}")
    if advice := text.advice(found):
        say(f"itm gate: {advice}")
    if out:
        write_json(out, text.numbers(a, b, found) | {"notes": list(remarks)})
        say_file("written", out)
    _tell_github(a, b, found)
    return 0 if found.outcome == "non-inferior" else 1


def _tell_github(a: Side, b: Side, found: NonInferiority) -> None:
    """The verdict beside a job of GitHub Actions, and its numbers in the job's summary."""
    from harness.reports.gate import text

    if os.environ.get("GITHUB_ACTIONS") != "true":
        return
    say(text.github_line(found.outcome, text.verdict(a, b, found)))
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        try:
            with Path(summary).open("a", encoding="utf-8") as file:
                file.write(text.summary(a, b, found))
        except OSError as error:
            say(f"itm gate: note: the summary of the job could not be written: {error}", err=True)
