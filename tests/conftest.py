"""Shared by all tests: a cache of their own, and an experiment small enough to train in a second."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

if not torch.cuda.is_available():
    # Kernels written in Triton then run in its interpreter. Triton asks for it when it is imported, whoever imports it.
    os.environ["TRITON_INTERPRET"] = "1"

FLICKR8K = Path(os.environ.get("ITM_FLICKR8K", Path(__file__).parents[2] / "shared" / "flickr8k"))


@pytest.fixture(scope="session", autouse=True)
def _cache_of_their_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["ITM_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    os.environ.pop("MLFLOW_TRACKING_URI", None)


@pytest.fixture
def tiny() -> dict[str, Any]:
    """An experiment of 40 training images and models of width 16."""
    return {
        "name": "tiny",
        "dataset": {"name": "scenes", "train_images": 40, "val_images": 10, "test_images": 12, "image_size": 32},
        "seeds": 1,
        "image": {"name": "regions", "width": 16},
        "text": {"name": "bigru", "width": 16},
        "training": {"epochs": 2, "batch_size": 32, "learning_rate": 0.003, "decay_epochs": []},
        "evaluation": {"cost_repeats": 3},
        "scorers": ["scan"],
    }
