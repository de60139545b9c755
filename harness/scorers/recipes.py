"""Training settings that several methods were published with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: What all of them share: the hardest negative within 0.2, steps of the learning rate, gradients clipped at 2.
_TRIPLET: Mapping[str, Any] = {
    "schedule": "step",
    "gradient_clip": 2.0,
    "objective": "triplet",
    "margin": 0.2,
    "all_negatives_epochs": 1,
}

#: VSE++ on Flickr30K; SCAN's code descends from it.
VSEPP: Mapping[str, Any] = {
    **_TRIPLET,
    "epochs": 30,
    "batch_size": 128,
    "optimizer": "adam",
    "learning_rate": 2e-4,
    "weight_decay": 0.0,
    "decay_epochs": (15,),
    "decay_factor": 0.1,
    "all_negatives_epochs": 0,
}

#: VSE-infinity, without what belongs to its backbones and its augmentation; CHAN's code descends from it.
VSE_INFINITY: Mapping[str, Any] = {
    **_TRIPLET,
    "epochs": 25,
    "batch_size": 128,
    "optimizer": "adamw",
    "learning_rate": 5e-4,
    "weight_decay": 1e-4,
    "decay_epochs": (15,),
    "decay_factor": 0.1,
}

#: LAPS, read in its code; GRM's paper gives no recipe, and its lineage shares this one.
LAPS: Mapping[str, Any] = {
    **_TRIPLET,
    "epochs": 30,
    "batch_size": 64,
    "optimizer": "adamw",
    "learning_rate": 2e-4,
    "backbone_learning_rate_scale": 0.1,
    "weight_decay": 1e-4,
    "decay_epochs": (9, 15, 20, 25),
    "decay_factor": 0.3,
    "loss_ramp_epochs": 1,
    "word_masking": 0.2,
    "image_augmentation": "crop_flip",
}
