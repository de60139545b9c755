"""Backbones: encoders that turn images and captions into fragments, by name, imported only when used."""

from __future__ import annotations

IMAGE_BACKBONES = {
    "regions": "harness.backbones.regions:RegionEncoder",
    "patches": "harness.backbones.patches:PatchEncoder",
    "open_clip": "harness.backbones.clip:ClipImageEncoder",
}
TEXT_BACKBONES = {
    "bigru": "harness.backbones.bigru:BiGruEncoder",
    "transformer": "harness.backbones.transformer:TransformerEncoder",
    "open_clip": "harness.backbones.clip:ClipTextEncoder",
}
