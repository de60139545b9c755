"""A tiny dataset in SCAN's layout and scores on it, for the tests of other code's results."""

from __future__ import annotations

from pathlib import Path

import numpy as np

IMAGES, PER_IMAGE = 20, 5
TEXTS = IMAGES * PER_IMAGE
OWNER = np.arange(TEXTS) // PER_IMAGE


def write_dataset(root: Path, images: int, per_image: int = PER_IMAGE) -> Path:
    """A precomp folder whose test split has `images` images; its features tell them apart and mean nothing."""
    root.mkdir(parents=True)
    for split, count in (("train", 4), ("dev", 2), ("test", images)):
        number = np.arange(count, dtype=np.float32)
        np.save(root / f"{split}_ims.npy", np.stack([number, number % 7 + len(split)], 1)[:, None])
        captions = [f"{split} picture {i} thing {k}" for i in range(count) for k in range(per_image)]
        (root / f"{split}_caps.txt").write_text("\n".join(captions) + "\n")
    return root


def scores(
    images: int = IMAGES, texts: int = TEXTS, seed: int = 0, decimals: int = 4, bonus: float = 2.0
) -> np.ndarray:
    """A matrix in which own pairs score higher by `bonus`, in values that float32 and a text of `decimals` keep apart alike."""
    random = np.random.default_rng(seed)
    own = np.arange(images)[:, None] == (np.arange(texts) // (texts // images))[None]
    return (random.normal(size=(images, texts)) + bonus * own).round(decimals).astype(np.float32)
