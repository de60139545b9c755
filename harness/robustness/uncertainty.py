"""How uncertain a scorer is of an image, where it says so."""

from __future__ import annotations

import numpy as np
import torch

from harness.datasets.base import Split
from harness.probes.model import Model
from harness.scorer import Scorer
from harness.scoring import evaluating
from harness.scoring.blocks import slices

#: The readings of a scorer that say how uncertain it is of an image, by the measure that they become; the first that a
#: scorer has counts.
UNCERTAINTIES = {"uncertainty": ("region_sigma", "image_variance"), "uncertainty_relative": ("region_noise",)}
#: Images whose readings are computed at once.
BATCH = 256


def uncertainties(model: Model, split: Split) -> dict[str, np.ndarray]:
    """(I,) of each image, the mean over its regions; empty where a scorer is certain or does not say."""
    scorer: Scorer = model.scorer
    offered = {measure: [name for name in names if name in scorer.readings] for measure, names in UNCERTAINTIES.items()}
    wanted = {measure: names[0] for measure, names in offered.items() if names}
    if not wanted:
        return {}
    images, _ = model.encode(split)
    with evaluating(scorer):
        read = [scorer.image_readings(images[part]) for part in slices(len(images), BATCH)]
    found = {}
    for measure, reading in wanted.items():
        values = torch.cat([one[reading].double().reshape(len(one[reading]), -1).nanmean(1).cpu() for one in read])
        if bool((values > 0).any()):  # regions without uncertainty have a variance of 0
            found[measure] = values.numpy()
    return found
