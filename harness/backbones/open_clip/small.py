"""`model: small`: a CLIP to train from scratch on small images; its vocabulary is that of the training captions."""

from __future__ import annotations

from typing import Any

from harness.backbones.base import DEFAULT_WIDTH

SMALL = "small"
SMALL_CONFIG: dict[str, Any] = {
    "embed_dim": DEFAULT_WIDTH,
    "vision_cfg": {"image_size": 64, "patch_size": 16, "width": 128, "layers": 2, "head_width": 32},
    "text_cfg": {"context_length": 32, "width": 128, "heads": 4, "layers": 2, "pool_type": "eos", "eos_id": 2},
}
