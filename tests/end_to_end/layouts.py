"""Every layout of a dataset on the disk, small enough to train on in a second."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

COUNTS = {"train": 12, "val": 6, "test": 30}
EACH, REGIONS, WIDTH = 5, 3, 8
REGION_TOWER = {"name": "regions", "width": 16}
PIXEL_TOWER = {"name": "patches", "architecture": "conv_stem", "image_size": 16, "patch_size": 8, "width": 16}

_THINGS = ("dog", "cat", "boat", "tree", "child", "horse", "train", "ball", "kite", "bench", "tower", "river")


def captions(split: str) -> list[str]:
    """Five captions per image, different in every image and split."""
    start = list(COUNTS).index(split)
    return [
        f"a {_THINGS[(image + number) % 12]} near {split} {_THINGS[(image * 5 + start) % 12]} {image} ."
        for image in range(COUNTS[split])
        for number in range(EACH)
    ]


def features(split: str, width: int = WIDTH) -> np.ndarray:
    """(I, R, D) float32."""
    seed = list(COUNTS).index(split)
    return np.random.default_rng(seed).standard_normal((COUNTS[split], REGIONS, width)).astype(np.float32)


def scenes(root: Path) -> dict[str, Any]:
    counts = {f"{split}_images": count for split, count in COUNTS.items()}
    return {"dataset": {"name": "scenes", "image_size": 32, **counts}, "image": REGION_TOWER}


def karpathy(root: Path) -> dict[str, Any]:
    root.mkdir(parents=True)
    images = []
    (root / "images").mkdir()
    for split in COUNTS:
        texts = captions(split)
        for row, values in enumerate(features(split, 3 * 20 * 20 // REGIONS)):
            name = f"{split}{row}.png"
            Image.fromarray((128 + 40 * values.reshape(20, 20, 3)).clip(0, 255).astype(np.uint8)).save(
                root / "images" / name
            )
            sentences = [{"raw": text} for text in texts[EACH * row : EACH * (row + 1)]]
            images.append({"filename": name, "split": split, "sentences": sentences})
    (root / "dataset_small.json").write_text(json.dumps({"dataset": "small", "images": images}))
    return {"dataset": {"name": "karpathy", "root": str(root)}, "image": PIXEL_TOWER}


def precomp(root: Path, *, repeat: int = 1, prefixes: Sequence[str] = ("train", "dev", "test"), **options: Any):
    """SCAN's layout; a vocabulary JSON, and ids in the test split alone, as many times as images are stored."""
    root.mkdir(parents=True)
    for split, prefix in zip(COUNTS, prefixes, strict=True):
        np.save(root / f"{prefix}_ims.npy", features(split).repeat(repeat, axis=0))
        (root / f"{prefix}_caps.txt").write_text("".join(f"{text}\n" for text in captions(split)))
    ids = [f"{row}.jpg" for row in range(COUNTS["test"]) for _ in range(repeat)]
    (root / f"{prefixes[2]}_ids.txt").write_text("\n".join(ids))
    vocabulary(root / "small_vocab.json", sorted({word for text in captions("train") for word in text.split()}))
    return {"dataset": {"name": "precomp", "root": str(root), **options}, "image": REGION_TOWER}


def precomp_once(root: Path) -> dict[str, Any]:
    return precomp(root)


def precomp_repeated(root: Path) -> dict[str, Any]:
    return precomp(root, repeat=EACH)


def precomp_val_and_testall(root: Path) -> dict[str, Any]:
    return precomp(root, prefixes=("train", "val", "testall"), test_name="testall")


def vocabulary(path: Path, words: Sequence[str]) -> None:
    """SCAN's JSON."""
    known = ["<pad>", "<start>", "<end>", "<unk>", *words]
    ids = {word: number for number, word in enumerate(known)}
    path.write_text(json.dumps({"word2idx": ids, "idx2word": {str(i): w for w, i in ids.items()}, "idx": len(ids)}))


LAYOUTS = {make.__name__: make for make in (scenes, karpathy, precomp_once, precomp_repeated, precomp_val_and_testall)}
