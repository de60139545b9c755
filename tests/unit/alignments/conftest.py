"""Runs of a tiny experiment whose methods align words with the cells of a picture, or do not."""

from __future__ import annotations

import shutil

import pytest
import torch

from harness.records.store import RunStore
from harness.runs.experiment import run_cells
from harness.runs.planning import plan
from harness.spec import load_experiment

CPU = torch.device("cpu")
TINY = {
    "name": "tiny",
    "dataset": {"name": "scenes", "train_images": 40, "val_images": 10, "test_images": 14, "image_size": 32},
    "seeds": 1,
    "image": {"name": "patches", "image_size": 32, "width": 16, "channels": 16},
    "text": {"name": "bigru", "width": 16},
    "training": {"epochs": 1, "batch_size": 32, "learning_rate": 0.003, "decay_epochs": []},
    "evaluation": {"cost_repeats": 3},
    "scorers": ["late_interaction", "scan", "grm", "vsepp"],
}


@pytest.fixture(scope="package")
def trained(tmp_path_factory) -> RunStore:
    """Late interaction, SCAN, GRM and VSE++, SCAN with two seeds; not to be written to."""
    store = RunStore(tmp_path_factory.mktemp("aligned"))
    for changes in ({}, {"scorers": ["scan"], "seeds": [1]}):
        run_cells(plan(load_experiment({**TINY, **changes})), store, device=CPU)
    return store


@pytest.fixture
def store(trained, tmp_path) -> RunStore:
    """A copy of `trained` to write to."""
    shutil.copytree(trained.results, tmp_path / "results")
    return RunStore(tmp_path / "results")
