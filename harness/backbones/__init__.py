"""Backbones: encoders that turn images and captions into fragments."""

from harness.backbones.build import (
    BACKBONES,
    IMAGE_BACKBONES,
    TEXT_BACKBONES,
    build_image,
    build_text,
    component_of,
    pinned,
    require_recomputing,
    require_tower,
)

__all__ = [
    "BACKBONES",
    "IMAGE_BACKBONES",
    "TEXT_BACKBONES",
    "build_image",
    "build_text",
    "component_of",
    "pinned",
    "require_recomputing",
    "require_tower",
]
