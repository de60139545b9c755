"""Small scenes with their grounding probe, and small encoders."""

from __future__ import annotations

import torch

from harness.backbones.build import build_image, build_text
from harness.datasets import open_dataset
from harness.grounding.plan import scenes_probes
from harness.spec import Component

SMALL = {"train_images": 4, "val_images": 2, "test_images": 40, "image_size": 64}
PATCHES = {"name": "patches", "image_size": 64, "width": 16, "channels": 16}


def scenes(**options):
    return open_dataset(Component(name="scenes", options={**SMALL, **options}))


def scene_probe(count=40, **options):
    (probe,) = scenes_probes(scenes(**options), "test", count)
    return probe


def encoders(split, image="patches"):
    torch.manual_seed(0)
    component = PATCHES if image == "patches" else {"name": "regions", "width": 16}
    return (
        build_image(component, region_width=split.images.region_width),
        build_text({"name": "bigru", "width": 16}, captions=split.captions),
    )
