"""What a finished run still lacks: of the plan that asks for it, scores and its names; of its version, diagnostics and lists."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from harness import protocols
from harness.errors import InvalidRecord, ItmError, ResultsNotWritable
from harness.files.writing import set_aside
from harness.metrics import Similarity
from harness.records.run import RunRecord, read_record
from harness.records.scores import SCORES, open_scores
from harness.records.store import TOP, RunStore
from harness.runs.building import TEST_SPLIT, open_dataset, splits_for
from harness.runs.cell import tuning_of
from harness.runs.computing import computing
from harness.runs.diagnostics import diagnose
from harness.runs.evaluation import evaluate, score_split
from harness.runs.reopening import RunDatasets, dataset_of
from harness.runs.saved_models import load_model
from harness.runs.subjects import subject_of
from harness.runs.trained import score_again, scorer_of
from harness.spec import EvaluationSpec, RunSpec

logger = logging.getLogger(__name__)

#: Another device or library may round a score otherwise, and so exchange a few queries: percent points of a recall.
LARGEST_DIFFERENCE = 1.0


def completed(spec: RunSpec, store: RunStore, device: torch.device) -> RunRecord | None:
    """The finished record of a run with all that the plan asks for; None if it did not finish.

    Args:
        spec: the run, as the plan has it.
        store: where it lies.
        device: where to compute what is missing.

    Raises:
        InvalidCheckpoint: scores are missing, and the weights are missing or damaged.
        InvalidRecord: scores are missing, and the weights do not give the recorded recalls.
    """
    record = store.finished(spec.run_id)
    if record is None:
        return None
    if spec.evaluation.save_scores and not (store.folder(spec.run_id) / SCORES).is_file():
        _complete_scores(record, spec, store.folder(spec.run_id), device)
    return _as_planned(record, spec, store)


def complete_diagnostics(store: RunStore, run_id: str, device: torch.device, options: Mapping[str, Any]) -> bool:
    """Record what the levels of a run rank alone and what its gates do, from its weights, unless the record has it.

    Args:
        store: where the run lies.
        run_id: a finished run.
        device: where to compute.
        options: of the dataset, where they changed since the run (its folder).

    Returns:
        Whether anything was written. A scorer that offers no levels and no readings leaves the record as it is.

    Raises:
        InvalidRecord: no finished run.
        InvalidDataset: the data are not those of the run.
        InvalidCheckpoint: the weights are missing or damaged.
    """
    record = store.require(run_id)
    if record.diagnostics != type(record.diagnostics)():
        return False
    dataset = dataset_of(record, options)
    known = [name for name in record.protocols if name in protocols.PROTOCOLS]
    test, evaluation = dataset.split(record.split), EvaluationSpec(ties=record.ties)
    with computing(int(record.spec.get("threads", 1)), device):
        scorer = scorer_of(store, record, device)
        if not (scorer.readings or scorer.score_levels()):
            return False
        found = diagnose(scorer, score_split(scorer, test, evaluation), test, known, evaluation, dataset)
    with store.claim(run_id):  # a rescoring may have changed the record meanwhile
        if found.ranks:
            store.write_level_ranks(run_id, found.ranks)
        store.write(store.require(run_id).model_copy(update={"diagnostics": found.record}))
    return True


def complete_tops(store: RunStore, device: torch.device, data: RunDatasets | None = None) -> int:
    """Write the first items of every query of all finished runs that have none, one run after the other.

    A run that cannot be completed costs one line that says why, and no other run.

    Args:
        store: where the runs lie.
        device: where to compute.
        data: the datasets of the runs, with the options that changed since.

    Returns:
        The number of runs that were completed.

    Raises:
        ResultsNotWritable: a folder cannot be written.
    """
    runs = [r for r in store.records() if r.status == "finished" and r.has_ranks]
    data, done = data or RunDatasets(), 0
    for record in runs:
        try:
            done += complete_top(store, record.run_id, device, data)
        except ResultsNotWritable:
            raise
        except ItmError as error:
            logger.warning("run %s (%s) gets no %s: %s", record.run_id, record.label, TOP, error)
    return done


def complete_top(store: RunStore, run_id: str, device: torch.device, data: RunDatasets | None = None) -> bool:
    """Write the first items of every query of a run that has none, from its scores where it kept them, else its weights.

    Args:
        store: where the run lies.
        run_id: a finished run.
        device: where to compute.
        data: the datasets of several runs, so that each is opened once.

    Returns:
        Whether anything was written. A damaged file is set aside and made again.

    Raises:
        InvalidRecord: no finished run, or scores or weights that do not give its recorded metrics.
        InvalidDataset: the data cannot be read, or are not those of the run.
        InvalidCheckpoint: the weights are missing or damaged.
    """
    record, folder = store.require(run_id), store.folder(run_id)
    try:
        if store.top(run_id) is not None:
            return False
    except InvalidRecord as error:
        set_aside(folder / TOP, error)
    dataset = (data or RunDatasets()).of(record)
    split, evaluation = dataset.split(record.split), EvaluationSpec(ties=record.ties)
    subject = subject_of(split, dataset)
    known = [name for name in record.metrics if protocols.fits(name, subject)]
    with computing(int(record.spec.get("threads", 1)), device):
        from_scores = (folder / SCORES).is_file()
        similarity: Similarity
        if from_scores:
            similarity = open_scores(folder / SCORES, len(split.image_ids), len(split.captions))
        else:
            similarity = score_again(store, record, dataset, device).similarity
        results = evaluate(similarity, split, known, evaluation, dataset)
    source = SCORES if from_scores else "weights"
    apart = _require_alike(record, results.metrics, source, TOP)
    with store.claim(run_id):
        store.write_top(run_id, results.top)
    logger.info("run %s (%s): %s made from its %s%s", run_id, record.label, TOP, source, apart)
    return True


def _complete_scores(record: RunRecord, spec: RunSpec, folder: Path, device: torch.device) -> None:
    """Score the test split again by the run's saved weights."""
    dataset = open_dataset(spec.dataset)
    test = dataset.split(TEST_SPLIT)
    with computing(spec.threads, device):
        scorer = load_model(folder / "model.safetensors").to(device)
        splits, _ = splits_for(scorer, spec, dataset, (TEST_SPLIT,))
        scored = score_split(scorer, splits[TEST_SPLIT], spec.evaluation)
        metrics = evaluate(scored.similarity, test, spec.protocols, spec.evaluation, dataset).metrics
    apart = _require_alike(record, metrics, "weights", SCORES)
    scored.save(folder / SCORES)
    logger.info("run %s (%s): %s made from its weights, without training%s", spec.run_id, spec.label, SCORES, apart)


def _require_alike(record: RunRecord, metrics: dict[str, dict[str, float]], source: str, file: str) -> str:
    """By how much recalls differ from the recorded ones, in words; "" where they do not.

    Raises:
        InvalidRecord: by more than another device or library explains.
    """
    apart = _largest_difference(record, metrics)
    if apart > LARGEST_DIFFERENCE:
        raise InvalidRecord(
            f"run {record.run_id}: its {source} give recalls up to {apart:.2f} points from the recorded ones, so {file} "
            "was not written; delete the run's folder to run it again"
        )
    return f"; recalls differ from the recorded ones by up to {apart:.2f} points on this device" if apart else ""


def _largest_difference(record: RunRecord, metrics: dict[str, dict[str, float]]) -> float:
    """Of the recalls, in percent points."""
    return max(
        (
            abs(record.metrics[protocol][name] - values[name])
            for protocol, values in metrics.items()
            if protocol in record.metrics
            for name in values.keys() & record.metrics[protocol].keys()
            if "_r" in name
        ),
        default=0.0,
    )


def _as_planned(record: RunRecord, spec: RunSpec, store: RunStore) -> RunRecord:
    """The record with what this plan says of it: the same settings may have been run untuned before, or under the name
    of a variant that sets them."""
    said = spec.model_dump(mode="json")
    said["evaluation"] = record.spec.get("evaluation", said["evaluation"])  # how often its costs were timed
    update = {"tuning": tuning_of(spec), "variant": spec.variant, "spec": said}
    if all(getattr(record, key) == value for key, value in update.items()):
        return record
    with store.claim(record.run_id):  # a rescoring may have changed it meanwhile
        record = (store.finished(record.run_id) or record).model_copy(update=update)
        store.write(record)
    return record


def report_earlier_ids(store: RunStore, missing: Sequence[RunSpec]) -> None:
    """Log one line on how many runs of the folder have ids of an earlier version, if cells have to run."""
    if not missing:
        return
    earlier = sum(map(_is_of_earlier_version, (store.results / "runs").glob("*/record.json")))
    if earlier:
        logger.info(
            "%d %s recorded under ids of an earlier version below %s; they stay in reports, and are trained again when "
            "an experiment asks for them",
            earlier,
            "run is" if earlier == 1 else "runs are",
            store.results,
        )


def _is_of_earlier_version(path: Path) -> bool:
    try:
        record = read_record(path)
        return record.status == "finished" and RunSpec.model_validate(record.spec).run_id != record.run_id
    except (InvalidRecord, ValidationError):  # damaged or handmade: others tell of it
        return False
