"""Further protocols and tie rules for a recorded run: from its saved scores or its ranks, or where neither suffices from
its saved weights, which score the split again."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from harness import protocols
from harness.datasets.base import Dataset, Split
from harness.errors import InvalidRecord
from harness.metrics import Similarity
from harness.metrics.catalogue import METRICS
from harness.protocols.base import Evaluation, Subject
from harness.protocols.folds import FoldProtocol
from harness.records import environment
from harness.records.parts import Code, Environment
from harness.records.ranks import OWN_GALLERY, RankTable
from harness.records.run import RunRecord
from harness.records.scores import SCORES, open_scores
from harness.records.store import TOP, RunStore
from harness.records.ties import RECALLS, WAYS, Ties
from harness.records.tops import TopTable
from harness.runs import further
from harness.runs.agreement import (
    NotDecidedByRanks,
    check_agreement,
    check_metrics,
    metrics_from_table,
    table_under,
)
from harness.runs.computing import computing
from harness.runs.evaluation import Scored
from harness.runs.further import Found
from harness.runs.origins import further_metrics_of, protocol_plugins
from harness.runs.reopening import MODEL, dataset_of, has_weights, scores_remedy
from harness.runs.subjects import subject_of, top_of
from harness.runs.trained import score_again

logger = logging.getLogger(__name__)

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
    *,
    metrics: Sequence[str] = (),
    device: torch.device | str = "cpu",
    save_scores: bool = False,
) -> Rescored:
    """Evaluate protocols and further metrics of a finished run and write them into its record.

    Numbers under the run's own tie rule become part of `metrics` and of the ranks; those under others go to
    `evaluation["other_ties"]`, so that one record never mixes two rules in one table. Further metrics of the run are
    computed for a new protocol too. One whose plug-in has changed is computed anew for all protocols of the run, so that
    a record never holds numbers of two versions.

    Args:
        store: where the run lies.
        run_id: the run.
        names: protocols; none = those that the run has for `metrics`, else the scores alone are wanted.
        ties: tie rules; none = the run's own.
        options: of the dataset, where they changed since the run (its folder).
        metrics: further ones; they follow from the ranks.
        device: where its weights score the split, if they have to.
        save_scores: whether scores that are made from the weights are kept as `scores.npy`; it is made where it lacks.

    Returns:
        The numbers and the new record. Nothing is written unless all of them could be made.

    Raises:
        InvalidRecord: no finished run, none of its scores, ranks and weights suffice, or they do not give the metrics that
            the record has; the message says which.
        InvalidCheckpoint: the weights are needed, and are damaged.
        InvalidProtocol: a protocol does not fit the dataset.
        InvalidDataset: the data are not those of the run.
    """
    for name in names:
        protocols.get(name)
    for name in metrics:
        METRICS.get(name)
    with store.claim(run_id):  # nobody else writes the record between our reading and our writing
        record = store.require(run_id)
        if not record.has_ranks:
            raise InvalidRecord(f"run {run_id} ({record.label}) has averages only, from which nothing can be evaluated")
        rules = tuple(ties) or (record.ties,)
        opened = _opened(store, record, names, rules, options or {}, torch.device(device), save_scores)
        found: Found = {name: {rule: opened.evaluate(name, rule) for rule in rules} for name in names}
        found = _with_metrics(store, record, found, metrics, options or {})
        if opened.top is not None and not os.path.lexists(store.folder(run_id) / TOP):  # of an earlier version
            store.write_top(run_id, opened.top())
        if save_scores and opened.scored is not None:
            opened.scored.save(store.folder(run_id) / SCORES)
        changed = _write(store, record, found) if found else record
    numbers = {name: {str(rule): result.metrics for rule, result in rules.items()} for name, rules in found.items()}
    return Rescored(changed, numbers, opened.source)


def _with_metrics(
    store: RunStore, record: RunRecord, found: Found, asked: Sequence[str], options: dict[str, Any]
) -> Found:
    """Evaluations with their further metrics, and those of the run's other protocols that must be computed anew."""
    anew = further.changed(record)
    if anew:
        logger.info("%s: %s changed since it was recorded and is computed anew", record.title, ", ".join(anew))
    if not (asked or anew or (found and further.metrics_of(record))):
        return found
    tables = store.ranks_of(record)
    if anew or not found:
        before = further.recorded(record, tables)
        found = {name: {**before.get(name, {}), **found.get(name, {})} for name in dict.fromkeys([*before, *found])}
    return further.completed(record, found, asked, _shape(record, tables, options))


def _shape(record: RunRecord, tables: Mapping[str, RankTable], options: dict[str, Any]) -> tuple[int, int]:
    """Images and captions of the test set: of a table that has all of them, else of the data."""
    whole = next((tables[name] for name in OWN_GALLERY if name in tables), None)
    if whole is not None:
        return len(whole.i2t_rank), len(whole.t2i_rank)
    split = dataset_of(record, options).split(record.split)
    return len(split.image_ids), len(split.captions)


class _Opened(NamedTuple):
    """What numbers of a run are made from: `scored` only where its weights scored the split again."""

    source: str
    evaluate: Evaluate
    top: Callable[[], TopTable] | None = None
    scored: Scored | None = None


def _opened(
    store: RunStore,
    record: RunRecord,
    names: Sequence[str],
    rules: Sequence[Ties],
    options: dict[str, Any],
    device: torch.device,
    save_scores: bool,
) -> _Opened:
    """The cheapest source that suffices: scores, then ranks, then weights."""
    if not names and not save_scores:
        return _Opened("ranks.npz", _by_ranks(store, record))
    path = store.folder(record.run_id) / SCORES
    if os.path.lexists(path):
        return _by_scores(record, names, options, path)
    lacking = f"run {record.run_id} has no {SCORES}"
    if not save_scores:
        evaluate = _by_ranks(store, record)
        try:
            for name in names:
                for rule in rules:
                    evaluate(name, rule)
        except NotDecidedByRanks as error:
            lacking = str(error)
        else:
            return _Opened("ranks.npz", evaluate)
    if not has_weights(store, record):
        raise InvalidRecord(f"{lacking}; {scores_remedy(store, record)}")
    return _by_weights(store, record, names, options, device)


def _by_scores(record: RunRecord, names: Sequence[str], options: dict[str, Any], path: Path) -> _Opened:
    _, split, subject = _subject(record, names, options)
    scores = open_scores(path, len(split.image_ids), len(split.captions))
    return _Opened(SCORES, _checked(record, scores, subject, SCORES), functools.partial(top_of, scores, split))


def _by_weights(
    store: RunStore, record: RunRecord, names: Sequence[str], options: dict[str, Any], device: torch.device
) -> _Opened:
    """From scores that the weights give now, if they give the recorded numbers: those of another device or library may
    exchange a few queries, and then one record would hold numbers of two matrices."""
    dataset, split, subject = _subject(record, names, options)
    with computing(int(record.spec.get("threads", 1)), device):
        scored = score_again(store, record, dataset, device)
        try:
            evaluate = _checked(record, scored.similarity, subject, MODEL)
        except InvalidRecord as error:
            made, here = record.environment, environment.describe(device)
            raise InvalidRecord(f"{error} (made {_where(made)}; now {_where(here)})") from None
    return _Opened(MODEL, evaluate, functools.partial(top_of, scored.similarity, split), scored)


def _where(found: Environment) -> str:
    return f"on {found.computed_on} with torch {found.torch or 'unknown'}"


def _subject(record: RunRecord, names: Sequence[str], options: dict[str, Any]) -> tuple[Dataset, Split, Subject]:
    """The dataset and split of a run, and what protocols see of it; refuses those that do not fit."""
    dataset = dataset_of(record, options)
    split = dataset.split(record.split)
    subject = subject_of(split, dataset)
    for name in names:
        protocols.get(name).check(subject)
    protocols.report(names, subject)
    return dataset, split, subject


def _checked(record: RunRecord, scores: Similarity, subject: Subject, source: str) -> Evaluate:
    """Evaluations of scores that give the recorded metrics."""

    @functools.cache
    def evaluate(name: str, rule: Ties) -> Evaluation:
        return protocols.get(name).evaluate(scores, subject, rule)

    for name, stated in record.metrics.items():
        if name in protocols.PROTOCOLS:  # else of a later version
            check_metrics(record, name, stated, evaluate(name, record.ties).metrics, source)
    return evaluate


def _by_ranks(store: RunStore, record: RunRecord) -> Evaluate:
    tables = store.ranks_of(record)
    check_agreement(record, tables)

    def evaluate(name: str, rule: Ties) -> Evaluation:
        table = _same_gallery(record, tables, name)
        metrics = metrics_from_table(record, name, table, rule)
        if record.source and record.source.depths:  # of cut lists, whose ranks beyond them are not known
            metrics = {key: value for key, value in metrics.items() if _is_decided(key, record.source.depths)}
        return Evaluation(metrics, table_under(record, table, rule))

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
        raise NotDecidedByRanks(
            f"run {record.run_id} has no {SCORES}, which protocol {name} needs: its ranks ({have}) are about another gallery "
            "or other positives"
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


def _code(record: RunRecord, names: Iterable[str]) -> Code:
    """The code of a record, with the plug-ins of protocols that are evaluated later: who follows its commands needs them."""
    added = protocol_plugins(names)
    return record.code.model_copy(update={"plugins": {**record.code.plugins, **added}}) if added else record.code


def _write(store: RunStore, record: RunRecord, found: Mapping[str, Mapping[Ties, Evaluation]]) -> RunRecord:
    """Ranks first: a reader in between sees a table that no record names yet, never a record without its ranks."""
    own = {name: rules[record.ties] for name, rules in found.items() if record.ties in rules}
    if own:
        store.write_ranks(record.run_id, {**store.ranks_of(record), **{name: r.ranks for name, r in own.items()}})
    anew = further.changed(record)
    others = {
        name: {rule: further.without(values, anew) for rule, values in rules.items()}
        for name, rules in record.evaluation.other_ties.items()
    }
    for name, rules in found.items():
        more = {str(rule): result.metrics for rule, result in rules.items() if rule != record.ties}
        if more:
            others[name] = {**others.get(name, {}), **more}
    info = {name: result.info for name, rules in found.items() for result in rules.values() if result.info}
    known = {key for rules in found.values() for result in rules.values() for key in result.metrics}
    computed = [name for name in METRICS if any(f"{way}_{name}" in known for way in WAYS)]
    notes = {**record.evaluation.metrics, **further_metrics_of(computed)}
    evaluation = {
        **({"metrics": notes} if notes else {}),
        "ties": record.ties,
        "other_ties": others,
        "protocols": {**record.evaluation.protocols, **info},
    }
    changed = record.model_copy(
        update={
            "metrics": {**record.metrics, **{name: result.metrics for name, result in own.items()}},
            "protocols": tuple(dict.fromkeys((*record.protocols, *own))),
            "evaluation": record.evaluation.model_copy(update=evaluation),
            "code": _code(record, found),
        }
    )
    store.write(changed)
    return changed
