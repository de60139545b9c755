"""Ensembles: the mean of the score matrices of recorded runs, recorded as what it is.

SCAN's printed best rows (t2i + i2t) and CHAN's `eval_ensemble` are such means. An ensemble costs what its members cost
together, so no table shows it as one method: label, origin and spec say what it is.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from harness import datasets
from harness.errors import InvalidRecord
from harness.metrics.catalogue import METRICS
from harness.records import environment
from harness.records.run import RunRecord
from harness.records.scores import SCORES, mean_scores, open_member, write_scores
from harness.records.store import RunStore
from harness.runs.agreement import check_data
from harness.runs.evaluation import evaluate
from harness.runs.further import metrics_of
from harness.runs.origins import protocol_plugins
from harness.runs.reopening import require_plugins, scores_remedy
from harness.spec import EvaluationSpec, sha256_json

logger = logging.getLogger(__name__)

ORIGIN = "ensemble"


def record_ensemble(store: RunStore, run_ids: Sequence[str], names: Sequence[str] = ()) -> RunRecord:
    """Average the saved scores of finished runs and record the result as a run of its own.

    Args:
        store: where the runs lie.
        run_ids: two or more, all on one dataset, each with `scores.npy`.
        names: protocols; none = those that all members were evaluated on.

    Returns:
        The record; its scorer is `a + b (ensemble)`, its `code_origin` is `ensemble`. Its seed is the members' where they
        share it, else the first one's.

    Raises:
        InvalidRecord: fewer than two runs, one twice, one that did not finish or kept no scores, or different data.
        InvalidDataset: the data changed since.
        InvalidProtocol: a protocol does not fit the dataset.
    """
    members = _members(store, run_ids)
    require_plugins(members[0], "dataset")
    dataset = datasets.open_dataset(members[0].spec["dataset"])
    check_data(members[0], dataset, "the scores of the runs belong to other data")
    split = dataset.split(members[0].split)
    shape = len(split.image_ids), len(split.captions)
    scores = mean_scores([open_member(store.folder(member.run_id) / SCORES, *shape) for member in members])
    ties = members[0].ties
    shared = [name for name in members[0].protocols if all(name in member.metrics for member in members)]
    spec = _spec(members, ties)
    started = environment.now()
    results = evaluate(
        scores, split, tuple(names) or shared, EvaluationSpec(ties=ties, metrics=_metrics(members)), dataset
    )
    record = RunRecord(
        run_id=sha256_json({"ensemble": sorted(member.run_id for member in members)})[:16],
        origin="foreign" if any(member.origin == "foreign" for member in members) else "measured",
        selected_on=members[0].selected_on if len({member.selected_on for member in members}) == 1 else None,
        scorer=f"{' + '.join(member.label for member in members)} ({ORIGIN})",
        code_origin=ORIGIN,
        citation="; ".join(dict.fromkeys(filter(None, (member.citation for member in members)))),
        backbone=" & ".join(dict.fromkeys(member.backbone for member in members)),
        dataset=members[0].dataset,
        split=members[0].split,
        protocols=tuple(results.metrics),
        seed=members[0].seed,
        metrics=results.metrics,
        evaluation={**results.info, ORIGIN: [member.run_id for member in members]},
        cost=_cost(members),
        tuning={"trials": sum(member.tuning.trials for member in members)},
        data_sha256=members[0].data_sha256,
        environment=environment.describe("cpu"),
        code=environment.code_revision().model_copy(update=_plugins(members[0], results.metrics)),
        spec=spec,
        status="finished",
        started=started,
        finished=environment.now(),
    )
    with store.claim(record.run_id):
        write_scores(store.folder(record.run_id) / SCORES, scores)
        store.write_ranks(record.run_id, results.ranks)
        store.write_top(record.run_id, results.top)
        store.write(record)
    return record


def _members(store: RunStore, run_ids: Sequence[str]) -> list[RunRecord]:
    if len(set(run_ids)) < 2 or len(set(run_ids)) < len(run_ids):
        raise InvalidRecord(f"an ensemble needs two or more different runs, got {', '.join(run_ids) or 'none'}")
    members = []
    for run_id in run_ids:
        record = store.require(run_id)
        if not (store.folder(run_id) / SCORES).is_file():
            raise InvalidRecord(f"run {run_id} ({record.label}) has no {SCORES}; {scores_remedy(store, record)}")
        members.append(record)
    first = members[0]
    for other in members[1:]:
        for what in ("dataset", "split", "data_sha256"):
            if getattr(other, what) != getattr(first, what):
                raise InvalidRecord(
                    f"runs {first.run_id} and {other.run_id} differ in {what} ({getattr(first, what):.12} and "
                    f"{getattr(other, what):.12}); an ensemble averages scores of the same pairs"
                )
        if other.ties != first.ties:
            raise InvalidRecord(f"runs {first.run_id} and {other.run_id} were evaluated under different tie rules")
    return members


def _metrics(members: Sequence[RunRecord]) -> tuple[str, ...]:
    """The further metrics that all members have and that are known here."""
    shared = [name for name in metrics_of(members[0]) if all(name in metrics_of(member) for member in members)]
    if unknown := [name for name in shared if name not in METRICS]:
        logger.warning("the ensemble has no %s: name its plug-in with --plugin FILE", ", ".join(unknown))
    return tuple(name for name in shared if name in METRICS)


def _plugins(member: RunRecord, names: Iterable[str]) -> dict[str, Any]:
    """The plug-ins of the dataset and the protocols, for the record's `code`; nothing where there are none."""
    dataset = {part: place for part, place in member.code.plugins.items() if part == "dataset"}
    added = {**dataset, **protocol_plugins(names)}
    return {"plugins": added} if added else {}


def _spec(members: Sequence[RunRecord], ties: str) -> dict[str, Any]:
    """What decides an ensemble: its members' specs. Seeds count where they differ, so that ensembles over seeds group."""
    same_seed = len({member.seed for member in members}) == 1
    left_out = {"dataset", "protocols", "evaluation"} | ({"seed"} if same_seed else set())
    parts = [{key: value for key, value in member.spec.items() if key not in left_out} for member in members]
    return {
        ORIGIN: parts,
        "dataset": members[0].spec["dataset"],
        "seed": members[0].seed,
        "evaluation": {"ties": ties},
    }


def _cost(members: Sequence[RunRecord]) -> dict[str, float]:
    """What adds up exactly: parameters and index. Times of separate runs do not."""
    keys = [key for key in ("params_millions", "index_bytes_per_image") if all(key in m.cost.figures for m in members)]
    return {key: float(sum(member.cost.figures[key] for member in members)) for key in keys}
