"""Recorded runs as a list: which of them are meant, and in which settings those of one method differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from harness.errors import InvalidSpec, UnknownName
from harness.records.run import RunRecord
from harness.reports.runs.groups import differences, settings_texts

#: Filter -> what of a record it looks at.
FILTERS: Mapping[str, Callable[[RunRecord], tuple[str, ...]]] = {
    "scorer": lambda record: (record.scorer, record.label),
    "dataset": lambda record: (record.dataset,),
    "split": lambda record: (record.split,),
    "seed": lambda record: (str(record.seed),),
    "status": lambda record: (record.status,),
    "origin": lambda record: (record.origin,),
    "protocol": lambda record: tuple(record.metrics) or record.protocols,
}
#: Orders of the list, each by what rises.
SORTS: Mapping[str, Callable[[RunRecord], Any]] = {
    "started": lambda record: (record.started, record.run_id),
    "rsum": lambda record: (-_rsum(record), record.started),
    "scorer": lambda record: (record.label, record.seed),
    "seed": lambda record: (record.seed, record.label),
}


@dataclass(frozen=True)
class Filters:
    """Which runs are meant.

    Args:
        values: by key of `FILTERS` the values of which a run must have one; none = any.
        where: settings by dotted key (`training.epochs`), which a run must have.
    """

    values: Mapping[str, Sequence[str]] = field(default_factory=dict)
    where: Mapping[str, str] = field(default_factory=dict)


def chosen(records: Sequence[RunRecord], filters: Filters) -> list[RunRecord]:
    """The runs that pass all filters, in their order.

    Raises:
        UnknownName: a value, or a setting, that no run has.
        InvalidSpec: runs have each of them, but none has all.
    """
    for key, wanted in filters.values.items():
        known = sorted({value for record in records for value in FILTERS[key](record) if value})
        for value in wanted:
            if value not in known:
                raise UnknownName(f"{key} of these runs", value, known)
    texts = {record.run_id: settings_texts(record.spec) for record in records} if filters.where else {}
    for key, value in filters.where.items():
        _require_setting(key, value, list(texts.values()))
    found = [
        record
        for record in records
        if all(not wanted or set(wanted) & set(FILTERS[key](record)) for key, wanted in filters.values.items())
        and all(texts[record.run_id].get(key) == value for key, value in filters.where.items())
    ]
    if records and not found:
        raise InvalidSpec("no run passes all of these filters, though each of them passes some; leave one out")
    return found


def settings_apart(records: Sequence[RunRecord]) -> list[str]:
    """Of each run, the settings in which it differs from the other runs of its method listed here, seeds apart.

    Returns:
        As many texts as records: `temperature=0.05, pooling=mean`, or "" where nothing differs.
    """
    texts = [""] * len(records)
    by_label: dict[str, list[int]] = {}
    for number, record in enumerate(records):
        by_label.setdefault(record.label, []).append(number)
    for members in by_label.values():
        marks = differences([settings_texts(records[number].spec) for number in members])
        for number, mark in zip(members, marks, strict=True):
            texts[number] = mark.strip(" ()")
    return texts


def _require_setting(key: str, value: str, specs: Sequence[Mapping[str, str]]) -> None:
    values = sorted({spec[key] for spec in specs if key in spec})
    if not values:
        near = get_close_matches(key, sorted({name for spec in specs for name in spec}), 2)
        meant = f"; did you mean '{near[0]}'" + (f" or '{near[1]}'" if near[1:] else "") + "?" if near else ""
        raise InvalidSpec(f"these runs have no setting '{key}'{meant or ';'} `itm show RUN` lists those of a run")
    if value not in values:
        raise UnknownName(f"value of {key} in these runs", value, values)


def _rsum(record: RunRecord) -> float:
    return next((values["rsum"] for values in record.metrics.values() if "rsum" in values), -1.0)
