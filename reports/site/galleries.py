"""Galleries: what each run finds for each query, where two methods differ, and the queries that are hard for all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from harness.records.run import RunRecord
from harness.reports.site import differences, hardest
from harness.reports.site.model import Page, Shared
from harness.reports.site.results import Results
from harness.reports.site.retrieval.entries import FEW, Entries, hardest_rows
from harness.reports.site.retrieval.frame import KIND, SCRIPTS, page_data, path_of, shared_path, siblings
from harness.reports.site.retrieval.packing import ranks_data, run_data, split_data
from harness.reports.site.retrieval.splits import Split, splits


def pages(results: Results) -> Iterator[Page | Shared]:
    """Three pages per split, and the data that they share."""
    for split in splits(results):
        everything = split.inputs(split.runs)
        yield gallery(split, everything)
        yield differences.page(split, everything)
        yield hardest.page(split, everything)
        yield Shared(path=shared_path(split, "split"), data=partial(split_data, split), inputs=everything)
        yield Shared(path=shared_path(split, "ranks"), data=partial(ranks_data, split), inputs=everything)
        for run in split.runs:
            path, inputs = shared_path(split, run.run_id), split.inputs([run])
            yield Shared(path=path, data=partial(run_data, split, run), inputs=inputs)


def gallery(split: Split, inputs: str) -> Page:
    """The gallery of all runs of a split, one at a time."""
    return Page(
        path=path_of(split, "run"),
        title=f"Retrieval gallery: {split.title}",
        kind=KIND,
        template="gallery.html.j2",
        context=partial(_context, split),
        data=page_data(split, "run"),
        inputs=inputs,
        scripts=SCRIPTS,
        summary="Every query with its first results and the rank of the truth, run by run.",
        words=" ".join(["picture caption retrieval top results unlabelled", *(m.label for m in split.methods)]),
    )


def _context(split: Split) -> Mapping[str, Any]:
    run = next(iter(split.chosen.values()), None)
    return {
        "split": split,
        "paths": siblings(split),
        "view": "run",
        "entries": [] if run is None else _entries(split, run),
        "run": run,
    }


def _entries(split: Split, run: RunRecord) -> Sequence[Mapping[str, Any]]:
    """The captions whose image this run ranks lowest."""
    answered, entries = split.retrieval(run), Entries(split)
    assert answered is not None, "only sound runs are chosen"
    rows = hardest_rows(answered.t2i, split.listed["t2i"], FEW)
    return [entries.of_runs(row, "t2i", {run.title: run}) for row in rows]
