"""Runs of a tiny experiment that probes are put to."""

from __future__ import annotations

import shutil

import pytest
import torch

from harness.records.store import RunStore
from harness.runs.experiment import run_cells
from harness.runs.planning import plan
from harness.spec import load_experiment


@pytest.fixture(scope="package")
def trained(tmp_path_factory) -> RunStore:
    """SCAN and CLIP; not to be written to."""
    tower = {"name": "patches", "image_size": 32, "width": 16, "channels": 16}
    words = {"name": "bigru", "width": 16}
    spec = {
        "name": "tiny",
        "dataset": {"name": "scenes", "train_images": 40, "val_images": 10, "test_images": 14, "image_size": 32},
        "seeds": 1,
        "image": tower,
        "text": words,
        "training": {"epochs": 1, "batch_size": 32, "learning_rate": 0.003, "decay_epochs": []},
        "evaluation": {"cost_repeats": 3},
        "scorers": ["scan", {"name": "clip", "image": tower, "text": words}],
    }
    store = RunStore(tmp_path_factory.mktemp("probed"))
    run_cells(plan(load_experiment(spec)), store, device=torch.device("cpu"))
    return store


@pytest.fixture
def store(trained, tmp_path) -> RunStore:
    """A copy of `trained` to write to."""
    shutil.copytree(trained.results, tmp_path / "results")
    return RunStore(tmp_path / "results")
