"""Which tower made some features: a key that changes with all that decides the tower's outputs, but the device.

A CPU and a GPU give outputs that agree up to rounding; `about.json` says which of them made the features.
"""

from __future__ import annotations

import hashlib
from typing import Any

import torch

from harness.backbones.base import Encoder
from harness.spec import canonical_json, sha256_json

FORMAT = 1  #: of the folders in the store: raise it when they are written otherwise
KEY_DIGITS = 16


def tower_key(encoder: Encoder) -> str:
    """16 hexadecimal digits for a tower: its definition and the bytes of its tensors. The head does not count.

    Raises:
        ValueError: the encoder has no tower.
    """
    tower = encoder.tower_module()
    if tower is None:
        raise ValueError(f"{type(encoder).__name__} has no tower")
    content = hashlib.sha256(canonical_json({"format": FORMAT, **encoder.tower_definition()}).encode())
    for name, tensor in sorted(tower.state_dict().items()):
        content.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        content.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return content.hexdigest()[:KEY_DIGITS]


def tower_title(encoder: Encoder) -> str:
    """What log lines and records call a tower: its architecture or model, and the side of the pixels.

    A folder or file is called by its last part.
    """
    config: Any = encoder.config
    name = str(getattr(config, "architecture", None) or getattr(config, "model", None) or type(encoder).__name__)
    name = name.removeprefix("package:").removeprefix("local-dir:").rstrip("/").rpartition("/")[2]
    size = getattr(encoder, "image_size", 0)
    return f"{name} at {size} px" if size else name


def content_key(digests: list[bytes]) -> str:
    """16 hexadecimal digits for a set of items, whatever their order."""
    return sha256_json(sorted(digest.hex() for digest in digests))[:KEY_DIGITS]
