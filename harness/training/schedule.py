"""The recipe of a training as pure functions: which pairs, rates and objectives belong to an epoch or a step."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from harness.datasets.base import Split
from harness.losses import InfoNCE, TripletLoss
from harness.scorer import Objective
from harness.spec import TrainingSpec


def steps_per_epoch(split: Split, spec: TrainingSpec) -> int:
    """Optimiser steps of one epoch; a last batch of a single pair is left out."""
    pairs = len(split.captions) if spec.pairs == "all" else len(split.image_ids)
    full, rest = divmod(pairs, spec.batch_size)
    return full + (rest > 1)


def learning_rate_factor(step: int, steps_per_epoch: int, spec: TrainingSpec) -> float:
    """What the base learning rate is multiplied by at an optimiser step (0-based).

    >>> spec = TrainingSpec(schedule="step", decay_epochs=(2,), decay_factor=0.1)
    >>> [learning_rate_factor(step, 10, spec) for step in (0, 19, 20)]
    [1.0, 1.0, 0.1]
    """
    warmup = min(1.0, (step + 1) / spec.warmup_steps) if spec.warmup_steps else 1.0
    epoch = step // steps_per_epoch
    if spec.schedule == "step":
        return warmup * spec.decay_factor ** sum(epoch >= decay for decay in spec.decay_epochs)
    if spec.schedule == "cosine":
        total = spec.epochs * steps_per_epoch
        return warmup * 0.5 * (1 + math.cos(math.pi * min(1.0, step / total)))
    return warmup


def loss_factor(step: int, steps_per_epoch: int, spec: TrainingSpec) -> float:
    """What the loss is multiplied by at an optimiser step (0-based): in the first epochs 0, 1/n, ... (n - 1)/n.

    >>> [loss_factor(step, 4, TrainingSpec(loss_ramp_epochs=1)) for step in range(6)]
    [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]

    Source:
        the training scripts of VSE-infinity and LAPS, where the first step of the first epoch counts for nothing.
    """
    epoch, number = divmod(step, steps_per_epoch)
    return number / steps_per_epoch if epoch < spec.loss_ramp_epochs else 1.0


def objective_of_epoch(epoch: int, spec: TrainingSpec) -> Objective:
    """The objective on the similarity matrix in an epoch: a triplet loss starts with all negatives."""
    if spec.objective == "infonce":
        return InfoNCE(spec.temperature)
    return TripletLoss(spec.margin, "all" if epoch < spec.all_negatives_epochs else "hardest")


def pair_batches(split: Split, spec: TrainingSpec, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """Caption rows of the batches of one epoch; a last batch of a single pair has no negatives and is left out."""
    captions = generator.permutation(len(split.captions))
    if spec.pairs == "one_per_image":
        _, first = np.unique(split.caption_image[captions], return_index=True)
        captions = generator.permutation(captions[first])
    for start in range(0, len(captions), spec.batch_size):
        batch = captions[start : start + spec.batch_size]
        if len(batch) > 1:
            yield batch
