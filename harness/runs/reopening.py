"""A finished run opened again from what it left: the dataset that its record names, and its trained scorer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from harness import datasets
from harness.datasets.base import Dataset
from harness.records.run import RunRecord
from harness.records.store import RunStore
from harness.runs.agreement import check_data
from harness.runs.saved_models import load_model
from harness.scorer import Scorer
from harness.spec import Component

#: The weights of a run, in its folder.
MODEL = "model.safetensors"


def dataset_of(record: RunRecord, options: Mapping[str, Any] | None = None) -> Dataset:
    """The dataset of a run, checked to be the one that it was measured on.

    Args:
        record: of the run.
        options: of the dataset, where they changed since the run (its folder).

    Raises:
        InvalidDataset: the data cannot be read, or are not those of the run.
    """
    component = Component.model_validate(record.spec.get("dataset") or {"name": record.dataset})
    dataset = datasets.open_dataset(component.changed(options or {}))
    check_data(record, dataset, "name the right folder with --set root=FOLDER")
    return dataset


def scorer_of(store: RunStore, record: RunRecord, device: torch.device) -> Scorer:
    """The trained scorer of a run, in evaluation mode, on a device.

    Raises:
        InvalidCheckpoint: the weights are missing or damaged.
        UnknownName: the scorer comes from a plug-in that is not loaded.
    """
    return load_model(store.folder(record.run_id) / MODEL).to(device)
