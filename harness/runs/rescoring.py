"""Further protocols and tie rules for a recorded run, from its saved scores or ranks; no model, no GPU."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness import protocols
from harness.errors import InvalidRecord
from harness.protocols.base import Evaluation
from harness.protocols.folds import FoldProtocol
from harness.records.ranks import RankTable
from harness.records.run import RunRecord
from harness.records.scores import SCORES, open_scores
from harness.records.store import TOP, RunStore
from harness.records.ties import RECALLS, Ties
from harness.records.tops import TopTable
from harness.runs.agreement import check_agreement, check_metrics, metrics_from_table
from harness.runs.evaluation import subject_of, top_of
from harness.runs.reopening import dataset_of

Evaluate = Callable[[str, Ties], Evaluation]  #: of a protocol under a tie rule


@dataclass(frozen=True, eq=False)
class Rescored:
    """What became of a run.

    Args:
        record: with the new numbers, as written.
        metrics: protocol -> tie rule -> metrics.
        source: the file that they come from.
    """

    record: RunRecord
    metrics: dict[str, dict[str, dict[str, float]]]
    source: str


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
        record = store.require(run_id)
        from_scores = os.path.lexists(store.folder(run_id) / SCORES)
        evaluate, top = (
            _by_scores(store, record, names, options or {}) if from_scores else (_by_ranks(store, record), None)
        )
        found = {name: {rule: evaluate(name, rule) for rule in tuple(ties) or (record.ties,)} for name in names}
        if top is not None and not os.path.lexists(store.folder(run_id) / TOP):  # of an earlier version
            store.write_top(run_id, top())
        changed = _write(store, record, found)
    metrics = {name: {str(rule): result.metrics for rule, result in rules.items()} for name, rules in found.items()}
    return Rescored(changed, metrics, SCORES if from_scores else "ranks.npz")


def _by_scores(
    store: RunStore, record: RunRecord, names: Sequence[str], options: dict[str, Any]
) -> tuple[Evaluate, Callable[[], TopTable]]:
    dataset = dataset_of(record, options)
    split = dataset.split(record.split)
    subject = subject_of(split, dataset)
    for name in names:
        protocols.get(name).check(subject)
    protocols.report(names, subject)
    scores = open_scores(store.folder(record.run_id) / SCORES, len(split.image_ids), len(split.captions))

    @functools.cache
    def evaluate(name: str, rule: Ties) -> Evaluation:
        return protocols.get(name).evaluate(scores, subject, rule)

    for name, stated in record.metrics.items():
        if name in protocols.PROTOCOLS:  # else of a later version
            check_metrics(record, name, stated, evaluate(name, record.ties).metrics, SCORES)
    return evaluate, functools.partial(top_of, scores, split)


def _by_ranks(store: RunStore, record: RunRecord) -> Evaluate:
    tables = store.ranks_of(record)
    check_agreement(record, tables)

    def evaluate(name: str, rule: Ties) -> Evaluation:
        table = _same_gallery(record, tables, name)
        metrics = metrics_from_table(record, name, table, rule)
        if record.source and record.source.depths:  # of cut lists, whose ranks beyond them are not known
            metrics = {key: value for key, value in metrics.items() if _is_decided(key, record.source.depths)}
        return Evaluation(metrics, table)

    return evaluate


def _is_decided(metric: str, depths: Mapping[str, int]) -> bool:
    """Whether ranks that are known up to some depths decide a metric: its recalls up to there, and rSum if all are.

    >>> [_is_decided(name, {"t2i": 5}) for name in ("t2i_r5", "t2i_r10", "i2t_meanr", "t2i_meanr", "rsum")]
    [True, False, True, False, False]
    """
    if metric == "rsum":
        return all(_is_decided(recall, depths) for recall in RECALLS)
    direction, _, what = metric.partition("_")
    if direction not in depths:
        return metric != "tie_rate"
    return what.startswith("r") and what[1:].isdecimal() and int(what[1:]) <= depths[direction]


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
    protocol.check(
        protocols.Subject(
            image_ids=source.i2t_image_id.tolist(),
            caption_ids=source.t2i_caption_id.tolist(),
            caption_image=source.caption_image,
            title=record.dataset,
        ),
    )
    return source


def _write(store: RunStore, record: RunRecord, found: Mapping[str, Mapping[Ties, Evaluation]]) -> RunRecord:
    """Ranks first: a reader in between sees a table that no record names yet, never a record without its ranks."""
    own = {name: rules[record.ties] for name, rules in found.items() if record.ties in rules}
    if own:
        store.write_ranks(record.run_id, {**store.ranks_of(record), **{name: r.ranks for name, r in own.items()}})
    others = {name: dict(rules) for name, rules in record.evaluation.other_ties.items()}
    for name, rules in found.items():
        more = {str(rule): result.metrics for rule, result in rules.items() if rule != record.ties}
        if more:
            others[name] = {**others.get(name, {}), **more}
    info = {name: result.info for name, rules in found.items() for result in rules.values() if result.info}
    evaluation = {
        "ties": record.ties,
        "other_ties": others,
        "protocols": {**record.evaluation.protocols, **info},
    }
    changed = record.model_copy(
        update={
            "metrics": {**record.metrics, **{name: result.metrics for name, result in own.items()}},
            "protocols": tuple(dict.fromkeys((*record.protocols, *own))),
            "evaluation": record.evaluation.model_copy(update=evaluation),
        }
    )
    store.write(changed)
    return changed
