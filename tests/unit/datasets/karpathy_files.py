"""A folder in Karpathy's layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.datasets import open_dataset
from harness.datasets.karpathy import Karpathy
from harness.errors import InvalidDataset
from harness.spec import Component


def photograph(path: Path, seed: int, size: tuple[int, int] = (30, 20)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def annotation(**more: Any) -> dict[str, Any]:
    """Two training images, one for validation, two for testing, with 5, 6, 5, 1 and 5 captions."""
    images = []
    for number, (split, captions) in enumerate((("train", 5), ("restval", 6), ("val", 5), ("test", 1), ("test", 5))):
        sentences = [{"raw": f" Picture {number}, caption {k}.\n", "sentid": 100 * number + k} for k in range(captions)]
        images.append({"filename": f"{number}.png", "split": split, "sentences": sentences})
    return {"dataset": "flickr30k", "images": images, **more}


def write(root: Path, values: dict[str, Any], name: str = "dataset_flickr30k.json") -> Path:
    (root / name).write_text(json.dumps(values))
    return root


def whole(tmp_path: Path) -> Path:
    """Five photographs with their JSON."""
    for number in range(5):
        photograph(tmp_path / "images" / f"{number}.png", number)
    return write(tmp_path, annotation())


def karpathy(root: Path, **options: Any) -> Karpathy:
    dataset = open_dataset(Component(name="karpathy", options={"root": str(root), **options}))
    assert isinstance(dataset, Karpathy)
    return dataset


def refused(root: Path, match: str, split: str = "test", **options: Any) -> None:
    """The dataset is refused, at the latest when pixels are read, by one line."""
    with pytest.raises(InvalidDataset, match=match) as caught:
        karpathy(root, **options).split(split).images.pixels([0], 8)
    assert "\n" not in str(caught.value)
