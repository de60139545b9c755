"""The image side of a training step with a frozen tower: its outputs read from the feature store, or computed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from harness import backbones
from harness.backbones.base import Encoder
from harness.features.folders import Unfinished
from harness.features.kept import Kept, open_kept
from harness.features.towers import FORMAT, tower_title
from harness.fragments import Fragments

FROM_STORE, TOWER_RUNS = "from the store", "tower runs"
#: Largest share of the time with the tower that the store may take: a goal.
GOAL = 1 / 20
#: The smallest of the pretrained towers in use; random weights take the same time.
TOWER = {"name": "patches", "architecture": "tf_efficientnet_lite0", "image_size": 224}
#: Images in the store for each one of a batch, so that rows are read from all over the array.
_STORED = 4


def calls(folder: Path, batch: int) -> dict[str, Callable[[], object]]:
    """Both ways to the gradient of the head, for a batch of images.

    Args:
        folder: an empty one, for the features.
        batch: number of images.
    """
    torch.manual_seed(0)
    encoder = backbones.build_image(TOWER)
    encoder.requires_grad_(False).eval()
    encoder.project.requires_grad_()
    pixels = torch.randint(0, 256, (batch, 3, encoder.image_size, encoder.image_size), dtype=torch.uint8)
    with torch.no_grad():
        raw = encoder.raw(pixels)
    kept = _keep(encoder, raw, folder)
    rows = np.random.default_rng(0).permutation(_STORED * batch)[:batch]
    return {
        FROM_STORE: lambda: _head_gradient(encoder, kept.read(rows)),
        TOWER_RUNS: lambda: _head_gradient(encoder, pixels),
    }


def _head_gradient(encoder: Encoder, batch: Tensor | Fragments) -> None:
    encoder.zero_grad(set_to_none=True)
    encoder(batch).features.square().mean().backward()


def _keep(encoder: Encoder, raw: Fragments, folder: Path) -> Kept:
    """The outputs several times over, as they lie in the store."""
    values = raw.features.flatten(0, 1).numpy()
    digests = [number.to_bytes(16, "big") for number in range(_STORED * len(raw))]
    with Unfinished(folder / "features", "images", digests, "float16", raw.width) as unfinished:
        for _ in range(_STORED):
            unfinished.add(values, raw.lengths.numpy())
        unfinished.keep(0.0)
        made = unfinished.finish(
            format=FORMAT, tower=tower_title(encoder), tower_key="", definition={}, dataset="random", split="train",
            versions={}, device="cpu", made="",
        )  # fmt: skip
    return open_kept(made)
