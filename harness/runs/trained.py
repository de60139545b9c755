"""The trained scorer of a finished run, and what it makes of the run's split."""

from __future__ import annotations

import torch
from pydantic import ValidationError

from harness.datasets.base import Dataset
from harness.records.run import RunRecord
from harness.records.store import RunStore
from harness.runs.building import splits_for
from harness.runs.evaluation import Scored, score_split
from harness.runs.reopening import MODEL, require_plugins
from harness.runs.saved_models import load_model
from harness.scorer import Scorer
from harness.spec import EvaluationSpec, RunSpec


def scorer_of(store: RunStore, record: RunRecord, device: torch.device) -> Scorer:
    """The trained scorer of a run, in evaluation mode, on a device.

    Raises:
        InvalidCheckpoint: the weights are missing or damaged.
        InvalidPlugin: the scorer or a backbone comes from a plug-in that is not loaded.
    """
    require_plugins(record, "scorer", "image", "text")
    return load_model(store.folder(record.run_id) / MODEL).to(device)


def score_again(store: RunStore, record: RunRecord, dataset: Dataset, device: torch.device) -> Scored:
    """The split of a run scored by its weights, from the feature store where the run's towers are kept there.

    Raises:
        InvalidCheckpoint: the weights are missing or damaged.
        InvalidPlugin: the scorer or a backbone comes from a plug-in that is not loaded.
    """
    scorer = scorer_of(store, record, device)
    split = dataset.split(record.split)
    try:
        splits, _ = splits_for(scorer, RunSpec.model_validate(record.spec), dataset, (record.split,))
        split = splits[record.split]
    except ValidationError:  # of an earlier version, or an imported model: its towers compute live
        pass
    return score_split(scorer, split, EvaluationSpec(ties=record.ties))
