"""Where two methods differ: the queries that one ranks first and the other does not, for every pair of methods."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from harness.records.run import RunRecord
from harness.reports.site.model import Page
from harness.reports.site.results import StoredPage
from harness.reports.site.retrieval.answers import DIRECTIONS, QUERY, Direction, Truth
from harness.reports.site.retrieval.entries import FEW, Entries
from harness.reports.site.retrieval.frame import KIND, SCRIPTS, page_data, path_of, siblings
from harness.reports.site.retrieval.overlap import noise_in_words, overlap, sentence, steady, traits_in_words
from harness.reports.site.retrieval.packing import traits
from harness.reports.site.retrieval.splits import Method, Split
from harness.spec import sha256_json

#: Methods of which all pairs are tabled; the select boxes of the page offer all.
MOST_METHODS = 10


def page(split: Split, inputs: str) -> Page:
    """The page of a split."""
    tested = [stored for stored in split.results.reports if stored.kind == "significance" and _about(stored, split)]
    return Page(
        path=path_of(split, "pair"),
        title=f"Where methods differ: {split.title}",
        kind=KIND,
        template="differences.html.j2",
        context=partial(_context, split, tested),
        data=partial(_data, split),
        inputs=sha256_json([inputs, [[stored.path, stored.report.title] for stored in tested]]),
        scripts=SCRIPTS,
        summary="Queries that one method answers first and another does not, with pictures.",
        words=" ".join(["compare difference alone only both", *(method.label for method in split.methods)]),
    )


def seeds_of(first: Method, second: Method) -> list[tuple[RunRecord, RunRecord]]:
    """The runs of two methods by common seed, rising; their first runs where they share none."""
    common = [(run, other) for run in first.runs if (other := second.seed(run.seed)) is not None]
    return common or [(first.runs[0], second.runs[0])]


def rows(split: Split) -> list[dict[str, Any]]:
    """The counts of every pair of the best methods, in both directions."""
    pairs = itertools.combinations(split.sound[:MOST_METHODS], 2)
    known = traits(split)
    return [
        _row(split, first, second, direction, known[direction]) for first, second in pairs for direction in DIRECTIONS
    ]


def _row(
    split: Split, first: Method, second: Method, direction: Direction, known: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    runs = seeds_of(first, second)
    truths = [(_truth(split, a, direction), _truth(split, b, direction)) for a, b in runs]
    found, names = overlap(*truths[0]), (first.label, second.label)
    twice = {
        method.label: overlap(*(_truth(split, run, direction) for run in method.runs[:2]))
        for method in (first, second)
        if len(method.runs) > 1
    }
    noise = noise_in_words(found, names, twice, direction)
    return {
        "a": first.label,
        "b": second.label,
        "direction": direction,
        "query": QUERY[direction],
        "found": found,
        "seeds": len(runs),
        "seed": _seeds(*runs[0]),
        "steady": (steady(truths), steady([(b, a) for a, b in truths])) if len(runs) > 1 else None,
        "said": " ".join(filter(None, [noise, traits_in_words(*truths[0], names, known, direction)])),
        "sentence": sentence(found, names, direction),
    }


def _about(stored: StoredPage, split: Split) -> bool:
    return not {run.run_id for run in split.runs}.isdisjoint(stored.run_ids)


def _truth(split: Split, run: RunRecord, direction: Direction) -> Truth:
    answered = split.retrieval(run)
    assert answered is not None, "only sound runs are compared"
    return answered.of(direction).truth


def _seeds(a: RunRecord, b: RunRecord) -> str:
    return f"seed {a.seed}" if a.seed == b.seed else f"seeds {a.seed} and {b.seed}"


def _data(split: Split) -> Mapping[str, Any]:
    """With sentences per tabled pair and direction: how far seeds differ, and what their queries have in common."""
    said = [{key: row[key] for key in ("a", "b", "direction", "said")} for row in rows(split)]
    return {**page_data(split, "pair"), "said": said}


def _context(split: Split, tested: Sequence[StoredPage]) -> Mapping[str, Any]:
    return {
        "split": split,
        "paths": siblings(split),
        "view": "pair",
        "tested": tested,
        "rows": rows(split),
        "tabled": min(MOST_METHODS, len(split.sound)),
        "entries": _entries(split) if len(split.sound) > 1 else [],
    }


def _entries(split: Split) -> Sequence[Mapping[str, Any]]:
    """Captions that the best method alone is right for, of the best two."""
    first, second = split.sound[:2]
    a, b = seeds_of(first, second)[0]
    flags = _truth(split, a, "t2i").first & ~_truth(split, b, "t2i").first
    chosen = np.intersect1d(np.flatnonzero(flags), split.listed["t2i"])[:FEW]
    entries = Entries(split)
    return [entries.of_runs(int(row), "t2i", {first.label: a, second.label: b}) for row in chosen]
