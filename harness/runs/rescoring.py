"""Further protocols and tie rules for a recorded run, from its saved scores or ranks; no model, no GPU."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness import datasets, protocols
from harness.datasets.base import Dataset
from harness.errors import InvalidDataset, InvalidRecord
from harness.metrics import metrics_from_ties
from harness.protocols.folds import FoldProtocol
from harness.records.ranks import RankTable
from harness.records.run import RunRecord
from harness.records.scores import SCORES, open_scores
from harness.records.store import RunStore
from harness.records.ties import TiedRanks, Ties
from harness.runs.evaluation import subject_of
from harness.spec import Component

# Metrics that are computed again may differ in their last bits, by the order of a sum.
_TOLERANCE = 1e-6
# Under the expected rule recalls and medians depend on how a harness's version defines them, the ranks do not.
_OF_RANKS = ("i2t_meanr", "t2i_meanr", "tie_rate")


@dataclass(eq=False)
class Rescored:
    """What became of a run.

    Args:
        record: with the new numbers, as written.
        metrics: protocol -> tie rule -> metrics.
        source: the file that they come from.
    """

    record: RunRecord
    metrics: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    source: str = SCORES


def tie_rule(record: RunRecord) -> Ties:
    """The tie rule of a record's metrics and ranks."""
    return record.ties  # type: ignore[return-value]


def rescore(
    store: RunStore,
    run_id: str,
    names: Sequence[str],
    ties: Sequence[Ties] = (),
    options: dict[str, Any] | None = None,
) -> Rescored:
    """Evaluate protocols of a finished run and write them into its record.

    Numbers under the run's own tie rule become part of `metrics` and of the ranks; those under others go to
    `evaluation["other_ties"]`, so that one record never mixes two rules in one table.

    Args:
        store: where the run lies.
        run_id: the run.
        names: protocols.
        ties: tie rules; none = the run's own.
        options: of the dataset, where they changed since the run (its folder).

    Returns:
        The numbers and the new record. Nothing is written unless all of them could be made.

    Raises:
        InvalidRecord: no finished run, neither its scores nor its ranks suffice, or they do not give the metrics that the
            record has; the message says which.
        InvalidProtocol: a protocol does not fit the dataset.
        InvalidDataset: the data are not those of the run.
    """
    for name in names:
        protocols.get(name)
    with store.claim(run_id):  # nobody else writes the record between our reading and our writing
        record = _finished(store, run_id)
        rules = tuple(ties) or (tie_rule(record),)
        if os.path.lexists(store.folder(run_id) / SCORES):
            found = _from_scores(store, record, names, rules, options or {})
        else:
            found = _from_ranks(store, record, names, rules)
        return _write(store, record, *found)


def _finished(store: RunStore, run_id: str) -> RunRecord:
    record = store.read(run_id)  # a damaged one says what is wrong with it
    if record is None or record.status != "finished":
        raise InvalidRecord(f"run {run_id} has no finished record below {store.results}/runs; see `itm ls runs`")
    return record


_Found = tuple[dict[str, dict[str, dict[str, float]]], dict[str, RankTable], dict[str, Any], str]


def _from_scores(
    store: RunStore, record: RunRecord, names: Sequence[str], rules: Sequence[Ties], options: dict[str, Any]
) -> _Found:
    dataset = _dataset(record, options)
    split = dataset.split(record.split)
    subject = subject_of(split, dataset)
    for name in names:
        protocols.get(name).check(subject.images, subject)
    protocols.report(names, subject)
    scores = open_scores(store.folder(record.run_id) / SCORES, len(split.image_ids), len(split.captions))
    metrics: dict[str, dict[str, dict[str, float]]] = {}
    ranks: dict[str, RankTable] = {}
    info: dict[str, Any] = {}
    for name in names:
        for rule in rules:
            result = protocols.get(name).evaluate(scores, subject, rule)
            metrics.setdefault(name, {})[rule] = result.metrics
            if rule == tie_rule(record):
                ranks[name] = result.ranks
            if result.info:
                info[name] = result.info
    _verify_scores(record, subject, scores, metrics)
    return metrics, ranks, info, SCORES


def _verify_scores(record: RunRecord, subject: protocols.Subject, scores: np.ndarray, found: Mapping[str, Any]) -> None:
    """Refuse scores that do not give the metrics of the record: they are not those of the run."""
    own = tie_rule(record)
    for name, stated in record.metrics.items():
        if name not in protocols.PROTOCOLS:
            continue  # of a later version
        computed = found.get(name, {}).get(own)
        if computed is None:
            computed = protocols.get(name).evaluate(scores, subject, own).metrics
        _verify(record, name, stated, computed, SCORES)


def check_agreement(record: RunRecord, tables: Mapping[str, RankTable]) -> None:
    """Refuse ranks that do not give the metrics of their record, where ranks alone decide them.

    Raises:
        InvalidRecord: which metric of which protocol.
    """
    for name, stated in record.metrics.items():
        if name in tables and name in protocols.PROTOCOLS and isinstance(protocols.get(name), FoldProtocol):
            table, own = tables[name], tie_rule(record)
            if own == "expected" and _undecided(table).any():
                continue  # of an earlier version, which thresholded mean ranks
            i2t, t2i = _before_ties(table, own, own, record, name)
            _verify(record, name, stated, metrics_from_table(table, i2t, t2i, own), "ranks.npz")


def _verify(record: RunRecord, name: str, stated: dict[str, float], computed: dict[str, float], source: str) -> None:
    keys = stated.keys() & computed.keys()
    for key in sorted(keys.intersection(_OF_RANKS) if record.ties == "expected" else keys):
        if abs(stated[key] - computed[key]) > _TOLERANCE * max(1.0, abs(stated[key])):
            raise InvalidRecord(
                f"run {record.run_id}: record.json says {key} = {stated[key]:g} on {name}, {source} gives "
                f"{computed[key]:g}; one of the two files is not of this run; delete the run's folder to run it again"
            )


def _dataset(record: RunRecord, options: dict[str, Any]) -> Dataset:
    component = Component.model_validate(record.spec.get("dataset") or {"name": record.dataset})
    dataset = datasets.open_dataset(component.changed(options))
    if dataset.sha256 != record.data_sha256:
        raise InvalidDataset(
            f"the data of '{component.name}' are not those of run {record.run_id} (SHA-256 {dataset.sha256[:12]}, recorded "
            f"{record.data_sha256[:12]}); name the right folder with --set root=FOLDER"
        )
    return dataset


def _from_ranks(store: RunStore, record: RunRecord, names: Sequence[str], rules: Sequence[Ties]) -> _Found:
    tables = store.ranks_of(record)
    check_agreement(record, tables)
    own = tie_rule(record)
    metrics: dict[str, dict[str, dict[str, float]]] = {}
    ranks: dict[str, RankTable] = {}
    for name in names:
        table = _same_gallery(record, tables, name)
        for rule in rules:
            i2t, t2i = _before_ties(table, own, rule, record, name)
            metrics.setdefault(name, {})[rule] = metrics_from_table(table, i2t, t2i, rule)
            if rule == own:
                ranks[name] = table
    return metrics, ranks, {}, "ranks.npz"


def _same_gallery(record: RunRecord, tables: dict[str, RankTable], name: str) -> RankTable:
    """Ranks of the same queries in the same gallery, from whichever recorded protocol has them."""
    protocol = protocols.get(name)
    equal = protocols.SAME_NUMBERS if name in protocols.SAME_NUMBERS else {name}
    source = next((tables[other] for other in (name, *sorted(equal)) if other in tables), None)
    if source is None or not isinstance(protocol, FoldProtocol):
        have = ", ".join(tables) or "none"
        raise InvalidRecord(
            f"run {record.run_id} has no {SCORES}, which protocol {name} needs: its ranks ({have}) are about another gallery "
            "or other positives; run it again with --set evaluation.save_scores=true"
        )
    images = len(source.i2t_image_id)
    protocol.check(
        images,
        protocols.Subject(
            image_ids=source.i2t_image_id.tolist(),
            caption_ids=source.t2i_caption_id.tolist(),
            caption_image=source.caption_image,
            title=record.dataset,
        ),
    )
    return source


def _undecided(table: RankTable) -> np.ndarray:
    """(I,) bool, image queries that tie and whose number of tied positives is unknown."""
    return (table.i2t_best_tied == 0) & (table.i2t_ties > 0)


def _before_ties(table: RankTable, own: Ties, rule: Ties, record: RunRecord, name: str) -> tuple[TiedRanks, TiedRanks]:
    """Where the positives of a table lie, from its ranks under a run's own tie rule."""
    lacking = _undecided(table)
    if lacking.any() and "expected" in (own, rule):
        raise InvalidRecord(
            f"run {record.run_id} has no {SCORES}: {int(np.count_nonzero(lacking))} image queries of protocol {name} "
            "tie, and its ranks, of an earlier version, do not hold what the expected rule needs; run it again with "
            "--set evaluation.save_scores=true"
        )
    # Where it is unknown how many positives tie, no rule that needs it is asked for, or nothing ties.
    return (
        TiedRanks.from_ranks(table.i2t_rank, table.i2t_ties, np.maximum(table.i2t_best_tied, 1), own),
        TiedRanks.from_ranks(table.t2i_rank, table.t2i_ties, np.maximum(table.t2i_best_tied, 1), own),
    )


def metrics_from_table(table: RankTable, i2t: TiedRanks, t2i: TiedRanks, ties: Ties) -> dict[str, float]:
    """Metrics under a tie rule of the queries of a table: means over its folds."""
    parts = []
    for fold in np.unique(table.i2t_fold):
        images, captions = table.i2t_fold == fold, table.t2i_fold == fold
        parts.append(metrics_from_ties(i2t.of(images), t2i.of(captions), ties))
    return {key: float(np.mean([part[key] for part in parts])) for key in parts[0]}


def _write(
    store: RunStore,
    record: RunRecord,
    metrics: dict[str, dict[str, dict[str, float]]],
    ranks: dict[str, RankTable],
    info: dict[str, Any],
    source: str,
) -> Rescored:
    """Ranks first: a reader who is in between sees a table that no record names yet, never a record without its ranks."""
    own = tie_rule(record)
    if ranks:
        store.write_ranks(record.run_id, {**store.ranks_of(record), **ranks})
    others = {name: dict(rules) for name, rules in record.evaluation.other_ties.items()}
    for name, rules in metrics.items():
        others[name] = {**others.get(name, {}), **{rule: values for rule, values in rules.items() if rule != own}}
    evaluation = record.evaluation.model_copy(
        update={
            "ties": own,
            "other_ties": {name: rules for name, rules in others.items() if rules},
            "protocols": {**record.evaluation.protocols, **info},
        }
    )
    changed = record.model_copy(
        update={
            "metrics": {**record.metrics, **{name: rules[own] for name, rules in metrics.items() if own in rules}},
            "protocols": tuple(dict.fromkeys((*record.protocols, *ranks))),
            "evaluation": evaluation,
        }
    )
    store.write(changed)
    return Rescored(changed, metrics, source)
