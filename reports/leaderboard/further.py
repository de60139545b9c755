"""Further metrics on a leaderboard: their columns, what each row has of them, and what is to be said of them.

A record says what its metrics are, so a page needs none of their code.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from harness.records.parts import FurtherMetric
from harness.records.run import RunRecord
from harness.records.ties import WAYS
from harness.reports.document.model import Column
from harness.reports.document.text import listed, single_line
from harness.reports.runs.groups import Group

Row = dict[str, Any]
_WAYS = {"i2t": "an image searches captions", "t2i": "a caption searches images"}


@dataclass(frozen=True)
class Further:
    """A metric of a board.

    Args:
        name: `mrr`.
        better: higher or lower; "" where the runs do not say, or say different things.
        description: one line.
        plugin: the file, or entry point, that defines it; "" = the harness does.
        versions: sources by which its numbers were computed; more than one do not compare.
        lacking: labels of the methods whose ranks could give it and that have no number of it.
        largest: of its numbers, by which decimals are chosen.
    """

    name: str
    better: Literal["", "higher", "lower"]
    description: str
    plugin: str
    versions: int
    lacking: tuple[str, ...]
    largest: float

    @property
    def columns(self) -> list[Column]:
        """One column per direction, with about four digits."""
        digits = 4 if self.largest < 1 else 3 if self.largest < 10 else 2
        best = f"; {self.better} is better" if self.better else ""
        return [
            Column(
                f"{way}_{self.name}",
                way,
                "estimate",
                digits,
                group=self.name,
                help=f"{self.description or self.name}: {what}{best}",
                better=self.better,
            )
            for way, what in _WAYS.items()
        ]

    @property
    def brief(self) -> list[Column]:
        """The same without a heading that spans them."""
        return [replace(c, title=f"{c.title} {self.name}", group="", kind="number") for c in self.columns]


def further_of(groups: Sequence[Group]) -> tuple[Further, ...]:
    """The further metrics that any method of a board has, in the order first met."""
    names = dict.fromkeys(name for group in groups for record in group.records for name in _names(record))
    return tuple(found for name in names if (found := _further(name, groups)) is not None)


def further_values(group: Group, found: Sequence[Further]) -> Row:
    """Mean and standard deviation over seeds; none where a seed lacks the metric or has it of another source."""
    row: Row = {}
    for one in found:
        notes = {_note(record, one.name).sha256 for record in group.records}
        for column in one.columns:
            values = [record.metrics[group.gallery.protocol].get(column.key) for record in group.records]
            known = [value for value in values if value is not None]
            if len(known) == len(values) and len(notes) == 1:
                row[column.key] = float(np.mean(known))
                row[f"{column.key}_sd"] = float(np.std(known, ddof=1)) if len(known) > 1 else None
    return row


def said(found: Sequence[Further]) -> Iterator[str]:
    """What the metrics are, and what their numbers do not show."""
    if not found:
        return
    parts = [
        f"{one.name}, {single_line(one.description) or 'without a description'} "
        f"({f'{one.better} is better' if one.better else 'which values are better is not recorded'})"
        for one in found
    ]
    yield (
        f"Further metrics: {'; '.join(parts)}. They are means over the queries, with their standard deviation over seeds; "
        "they have no interval, are not tested, and decide no tier."
    )


def remedies(found: Sequence[Further], results: str) -> Iterator[str]:
    """How rows without a number get it, and numbers of several sources become one.

    Args:
        found: metrics of a board.
        results: folder of the runs.
    """
    for one in found:
        words = ["itm", "rescore", "--metric", one.name, "--results", results]
        words += ["--plugin", one.plugin] if one.plugin.endswith(".py") else []
        command = f"`{shlex.join(words)}`"
        if one.lacking:
            yield f"{listed(one.lacking)} {'has' if len(one.lacking) == 1 else 'have'} no {one.name}: {command} computes it."
        if one.versions > 1:
            yield (
                f"{one.name} was computed by {one.versions} versions of its source, whose numbers do not compare, so none "
                f"is marked as the best: {command} computes all of them anew."
            )
        elif not one.better:
            yield f"The records do not say which values of {one.name} are better: {command} adds it."


def _names(record: RunRecord) -> list[str]:
    planned = record.spec.get("evaluation")
    names = planned.get("metrics", ()) if isinstance(planned, dict) else ()
    return [*record.evaluation.metrics, *map(str, names)]


def _note(record: RunRecord, name: str) -> FurtherMetric:
    of_earlier_version = FurtherMetric(plugin=record.code.plugins.get(f"metric.{name}", ""))
    return record.evaluation.metrics.get(name, of_earlier_version)


def _further(name: str, groups: Sequence[Group]) -> Further | None:
    keys = [f"{way}_{name}" for way in WAYS]
    having: list[RunRecord] = []
    lacking = []
    values = []
    for group in groups:
        numbers = [record.metrics[group.gallery.protocol] for record in group.records]
        known = [any(key in one for key in keys) for one in numbers]
        having += [record for record, knows in zip(group.records, known, strict=True) if knows]
        values += [abs(one[key]) for one in numbers for key in keys if key in one]
        decided = not (group.first.source and group.first.source.depths)
        if not all(known) and group.first.has_ranks and decided:
            lacking.append(group.label)
    if not having:
        return None
    notes = [_note(record, name) for record in having]
    ways = {note.better for note in notes}
    versions = {(note.better, note.sha256) for note in notes}
    better = ways.pop() if len(versions) == 1 else ""
    latest = next((note for note in reversed(notes) if note.better), notes[-1])
    return Further(
        name,
        better if better in ("higher", "lower") else "",  # type: ignore[arg-type]
        latest.description,
        latest.plugin,
        len(versions),
        tuple(lacking),
        max(values),
    )
