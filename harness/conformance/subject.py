"""The scorer under examination. A rule takes a `Subject` instead of a scorer, since some scorers build parameters when they
first see fragments and some rules need two scorers alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.conformance import inputs
from harness.conformance.inputs import Sides
from harness.scorer import Scorer
from harness.scoring import evaluating


@dataclass(frozen=True)
class Subject:
    """The scorer that `make` makes, under examination."""

    make: Callable[[], Scorer]

    def ready(self, seed: int = 0) -> Scorer:
        """A scorer in evaluation mode whose parameters are all made and moved off their initial values.

        A gate that starts at zero would hide what lies behind it.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            scorer = self.make()
            scorer.eval()
            scored(scorer, inputs.random_sides())
            with torch.no_grad():
                for parameter in scorer.parameters():
                    spread = 0.05 * max(parameter.square().mean().sqrt().item(), 0.1)
                    parameter.add_(spread * torch.randn_like(parameter))
        return scorer


def prepared(scorer: Scorer, sides: Sides) -> Sides:
    return scorer.prepare_images(sides[0]), scorer.prepare_texts(sides[1])


def scored(scorer: Scorer, sides: Sides) -> Tensor:
    with evaluating(scorer):
        return scorer.score(*prepared(scorer, sides))
