"""A few photographs in Karpathy's layout, and a small pretrained tower in a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

COUNTS = {"train": 20, "val": 6, "test": 7}
WORDS = ("red", "dog", "cat", "runs", "grass", "small", "two", "on", "a", "the")


@pytest.fixture(scope="session")
def photographs(tmp_path_factory) -> Path:
    """Training images 0 and 5 are one picture."""
    root = tmp_path_factory.mktemp("photographs")
    (root / "images").mkdir()
    random = np.random.default_rng(0)
    images: list[dict[str, Any]] = []
    for split, count in COUNTS.items():
        for number in range(count):
            name = f"{split}{number}.png"
            pixels = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((48, 40)).save(root / "images" / name)
            captions = [" ".join(random.choice(WORDS, 3 + (number + k) % 4)) for k in range(2)]
            images.append({"filename": name, "split": split, "sentences": [{"raw": text} for text in captions]})
    (root / "images" / "train5.png").write_bytes((root / "images" / "train0.png").read_bytes())
    (root / "dataset_tiny.json").write_text(json.dumps({"dataset": "tiny", "images": images}))
    return root


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> str:
    """Of timm's `test_efficientnet`."""
    path = tmp_path_factory.mktemp("weights") / "tower.safetensors"
    torch.manual_seed(0)
    save_file(timm.create_model("test_efficientnet", num_classes=0).state_dict(), path)
    return str(path)


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """A cache folder of the test's own."""
    monkeypatch.setenv("ITM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def frozen(photographs, weights) -> dict[str, Any]:
    """An experiment with a frozen image tower."""
    return {
        "name": "frozen",
        "dataset": {"name": "karpathy", "root": str(photographs)},
        "seeds": 1,
        "image": {
            "name": "patches", "architecture": "test_efficientnet", "pretrained": weights, "image_size": 64, "width": 16,
        },
        "text": {"name": "bigru", "width": 16},
        "training": {
            "epochs": 2, "batch_size": 8, "learning_rate": 0.003, "decay_epochs": [], "backbone_learning_rate_scale": 0,
            "region_drop": 0, "word_masking": 0,
        },
        "evaluation": {"cost_repeats": 3},
        "scorers": ["scan"],
    }  # fmt: skip
