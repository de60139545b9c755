"""A learned temperature, as in CLIP: the parameter is the logarithm of its inverse."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

#: Largest 1 / temperature, as in CLIP: beyond it training becomes unstable.
LARGEST_SCALE = 100.0


def log_scale(temperature: float) -> nn.Parameter:
    """The parameter at its initial value."""
    return nn.Parameter(torch.tensor(-math.log(temperature)))


def bounded_scale(parameter: nn.Parameter) -> Tensor:
    """The factor on the cosines; a parameter beyond the limit is set back to it.

    A clamp inside the graph would have no gradient there, and the parameter would never come back.
    """
    with torch.no_grad():
        parameter.clamp_(max=math.log(LARGEST_SCALE))
    return parameter.exp()
