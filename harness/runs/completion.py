"""What a finished run still lacks: files that are stored only on request are made from its weights, without training."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from pydantic import ValidationError

from harness.errors import InvalidRecord
from harness.files.writing import atomic_path
from harness.records.run import RunRecord, read_record
from harness.records.store import RunStore
from harness.runs import saved_models as checkpoints
from harness.runs.evaluation import evaluate, score_split
from harness.runs.planning import TEST_SPLIT, open_dataset
from harness.runs.rescoring import SCORES
from harness.runs.threads import compute_threads
from harness.spec import RunSpec

log = logging.getLogger(__name__)

#: Another device or library may round a score otherwise, and so exchange a few queries: percent points of a recall.
LARGEST_DIFFERENCE = 1.0


def complete_scores(spec: RunSpec, store: RunStore, device: torch.device) -> bool:
    """Write `scores.npy` of a finished run where the plan asks for it and it is missing.

    The run's saved weights score the test split again, and a line says so.

    Args:
        spec: the run, as the plan that asks has it.
        store: where it lies.
        device: where to compute.

    Returns:
        Whether the file was written.

    Raises:
        InvalidCheckpoint: the weights are missing or damaged.
        InvalidRecord: the weights do not give the recorded recalls.
    """
    folder = store.folder(spec.run_id)
    record = store.finished(spec.run_id)
    if not spec.evaluation.save_scores or record is None or (folder / SCORES).is_file():
        return False
    dataset = open_dataset(spec.dataset)
    test = dataset.split(TEST_SPLIT)
    with compute_threads(spec.threads):
        scorer = checkpoints.load_model(folder / "model.safetensors").to(device)
        scored = score_split(scorer, test, spec.evaluation.batch_size)
        metrics = evaluate(scored.similarity, test, spec.protocols, spec.evaluation, dataset).metrics
    apart = _largest_difference(record, metrics)
    if apart > LARGEST_DIFFERENCE:
        raise InvalidRecord(
            f"run {spec.run_id}: its weights give recalls up to {apart:.2f} points from the recorded ones, so {SCORES} "
            f"was not written; delete {folder} to run it again"
        )
    write_scores(scored.similarity, folder)
    exact = "" if not apart else f"; recalls differ from the recorded ones by up to {apart:.2f} points on this device"
    log.info("run %s (%s): %s made from its weights, without training%s", spec.run_id, spec.label, SCORES, exact)
    return True


def write_scores(similarity: torch.Tensor, folder: Path) -> None:
    """Keep a score matrix (I, T) beside the record of its run."""
    with atomic_path(folder / SCORES) as path, path.open("wb") as file:
        np.save(file, similarity.cpu().numpy(), allow_pickle=False)


def report_earlier_ids(store: RunStore, missing: Sequence[RunSpec]) -> None:
    """Say in one line how many runs of the folder have ids that this version would not give, if cells have to run."""
    if not missing:
        return
    earlier = Counter(_is_of_earlier_version(path) for path in (store.results / "runs").glob("*/record.json"))[True]
    if earlier:
        log.info(
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


def _largest_difference(record: RunRecord, metrics: dict[str, dict[str, float]]) -> float:
    """Of the recalls, in percent points."""
    return max(
        (
            abs(value - metrics[protocol][name])
            for protocol, values in record.metrics.items()
            if protocol in metrics
            for name, value in values.items()
            if "_r" in name and name in metrics[protocol]
        ),
        default=0.0,
    )
