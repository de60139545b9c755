"""A small folder of photographs to train on, in Karpathy's layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SPLITS = {"train": 12, "val": 3, "test": 3}


def photographs(root: Path) -> Path:
    """JPEG files of different sizes, with two captions each."""
    rng = np.random.default_rng(0)
    (root / "images").mkdir(parents=True)
    images = []
    for number, split in enumerate(name for name, count in SPLITS.items() for _ in range(count)):
        small = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)
        size = (40 + 3 * number, 60 - 2 * number)
        Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).save(root / "images" / f"{number}.jpg")
        sentences = [{"raw": f"a picture of thing {number} {how}", "sentid": 2 * number + k}
                     for k, how in enumerate(("far away", "near"))]  # fmt: skip
        images.append({"filename": f"{number}.jpg", "split": split, "sentences": sentences})
    (root / "dataset_small.json").write_text(json.dumps({"dataset": "small", "images": images}))
    return root


def experiment(root: Path, **training: Any) -> dict[str, Any]:
    """A training on that folder that takes a second."""
    return {
        "name": "photographs",
        "dataset": {"name": "karpathy", "root": str(root)},
        "seeds": 1,
        "image": {"name": "patches", "width": 16, "image_size": 32},
        "text": {"name": "bigru", "width": 16, "min_count": 1},
        "training": {"epochs": 2, "batch_size": 8, "decay_epochs": [], **training},
        "evaluation": {"cost_repeats": 3},
        "scorers": ["vsepp"],
    }
