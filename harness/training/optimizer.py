"""The optimiser of a training, and the learning rates of new and pretrained parameters."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from harness.scorer import Scorer
from harness.spec import TrainingSpec


def optimizer_of(scorer: Scorer, spec: TrainingSpec) -> torch.optim.Optimizer:
    """Adam or AdamW over the groups of parameters; towers that keep their weights are frozen by it."""
    optimizer = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[spec.optimizer]
    return optimizer(parameter_groups(scorer, spec), weight_decay=spec.weight_decay)


def parameter_groups(scorer: Scorer, spec: TrainingSpec) -> list[dict[str, Any]]:
    """Optimiser groups: new parameters at the full rate, pretrained ones at the scaled rate; at a rate of 0 their towers
    are frozen, see `harness.backbones.base.Encoder.freeze`."""
    pretrained = {id(parameter) for encoder in scorer.encoders for parameter in encoder.pretrained_parameters()}
    new: list[nn.Parameter] = []
    old: list[nn.Parameter] = []
    for parameter in scorer.parameters():
        (old if id(parameter) in pretrained else new).append(parameter)
    if not spec.backbone_learning_rate_scale:
        for encoder in scorer.encoders:
            encoder.freeze()
        for parameter in old:
            parameter.requires_grad_(False)
        old = []
    rate = spec.learning_rate
    groups = [{"params": new, "lr": rate}, {"params": old, "lr": rate * spec.backbone_learning_rate_scale}]
    return [group for group in groups if group["params"]]
