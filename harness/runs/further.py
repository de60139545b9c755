"""Further metrics of a recorded run, from the ranks of its protocols: which ones it has, and what they come to now."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from harness.errors import InvalidRecord
from harness.metrics.catalogue import METRICS
from harness.protocols.base import Evaluation
from harness.protocols.further import further_metrics
from harness.records.ranks import RankTable
from harness.records.run import RunRecord
from harness.records.ties import WAYS, Ties
from harness.runs.agreement import require_decided
from harness.runs.origins import further_metrics_of

logger = logging.getLogger(__name__)

#: protocol -> tie rule -> numbers and ranks under it
Found = Mapping[str, Mapping[Ties, Evaluation]]


def metrics_of(record: RunRecord) -> tuple[str, ...]:
    """The further metrics that a record holds, or that its run was planned with."""
    planned = record.spec.get("evaluation")
    names = planned.get("metrics", ()) if isinstance(planned, dict) else ()
    return tuple(dict.fromkeys([*record.evaluation.metrics, *map(str, names)]))


def changed(record: RunRecord) -> list[str]:
    """The further metrics of a record whose plug-in is another one now: all of its numbers must be computed anew."""
    known = {name: note for name, note in record.evaluation.metrics.items() if name in METRICS}
    now = further_metrics_of(list(known))
    return [name for name, note in known.items() if note.sha256 != now[name].sha256]


def recorded(record: RunRecord, tables: Mapping[str, RankTable]) -> Found:
    """The protocols of a record as it has them, under its own tie rule."""
    return {
        name: {record.ties: Evaluation(values, tables[name])}
        for name, values in record.metrics.items()
        if name in tables
    }


def completed(record: RunRecord, found: Found, asked: Sequence[str], shape: tuple[int, int]) -> Found:
    """Evaluations with the further metrics of their run, and with those that are asked for.

    A metric whose plug-in is not named keeps the numbers that the record has; where it has none, a line says so.

    Args:
        record: of the run.
        found: its evaluations, each with the ranks under its rule.
        asked: names of metrics.
        shape: (I, T), the size of the test set.

    Raises:
        InvalidRecord: the ranks decide nothing of a metric that is asked for.
    """
    names = [name for name in dict.fromkeys([*metrics_of(record), *asked]) if name in METRICS]
    undecided = tuple(record.source.depths) if record.source else ()
    if asked and set(WAYS) <= set(undecided):
        raise InvalidRecord(
            f"run {record.run_id} ({record.label}) has candidate lists, whose ranks beyond them are not known: they decide "
            f"recalls, not {', '.join(asked)}"
        )
    if names and undecided:
        logger.warning("%s: candidate lists do not decide %s of %s", record.title, ", ".join(names), undecided[0])
    made: dict[str, dict[Ties, Evaluation]] = {}
    for protocol, rules in found.items():
        made[protocol] = {}
        for rule, result in rules.items():
            if names and rule == "expected":
                require_decided(record, protocol, result.ranks, rule)
            more = {
                key: value
                for key, value in further_metrics(names, result.ranks, shape, rule).items()
                if not key.startswith(undecided)
            }
            kept = dict(_kept(record, protocol, rule))
            made[protocol][rule] = replace(result, metrics={**result.metrics, **kept, **more})
    return made


def _kept(record: RunRecord, protocol: str, rule: Ties) -> Iterator[tuple[str, float]]:
    """What a record has of metrics that are not known here."""
    others = record.evaluation.other_ties.get(protocol, {})
    before = record.metrics.get(protocol, {}) if rule == record.ties else others.get(rule, {})
    for name in metrics_of(record):
        if name in METRICS:
            continue
        values = [(key, before[key]) for way in WAYS if (key := f"{way}_{name}") in before]
        if not values:
            note = record.evaluation.metrics.get(name)
            place = note.plugin if note and note.plugin else "FILE"
            logger.warning(
                "metric '%s' of this run is not computed for %s: name its plug-in with --plugin %s",
                name,
                protocol,
                place,
            )
        yield from values


def without(values: Mapping[str, float], names: Sequence[str]) -> dict[str, float]:
    """Numbers without those of some further metrics.

    >>> without({"i2t_r1": 1.0, "i2t_mrr": 2.0}, ["mrr"])
    {'i2t_r1': 1.0}
    """
    gone = {f"{way}_{name}" for name in names for way in WAYS}
    return {key: value for key, value in values.items() if key not in gone}
