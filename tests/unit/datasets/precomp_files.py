"""A folder in SCAN's layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.datasets import open_dataset
from harness.datasets.precomp.dataset import Precomp
from harness.errors import InvalidDataset
from harness.spec import Component

IMAGES, REGIONS, WIDTH = 4, 3, 8


def features(images: int = IMAGES, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(images).standard_normal((images, REGIONS, WIDTH)).astype(dtype)


def write(root: Path, split: str, rows: np.ndarray, captions: int) -> None:
    np.save(root / f"{split}_ims.npy", rows)
    (root / f"{split}_caps.txt").write_text("".join(f"Caption {k} of {split} .\n" for k in range(captions)))


def whole(tmp_path: Path) -> Path:
    """Four images with five captions each in every split."""
    folder = tmp_path / "f30k_precomp"
    folder.mkdir()
    for split in ("train", "dev", "test"):
        write(folder, split, features(), 5 * IMAGES)
    return folder


def precomp(root: Path, **options: Any) -> Precomp:
    dataset = open_dataset(Component(name="precomp", options={"root": str(root), **options}))
    assert isinstance(dataset, Precomp)
    return dataset


def refused(root: Path, match: str, **options: Any) -> None:
    with pytest.raises(InvalidDataset, match=match) as caught:
        precomp(root, **options).split("test")
    assert "\n" not in str(caught.value)
