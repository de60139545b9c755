"""GRM's adapters: one keep gate in [0, 1] per fragment of a side, and how the gate enters the similarity.

Shape letters: N items, F fragments, D width.

Source: GRM, AAAI 2026, eq. 1. The two-way Gumbel-softmax there equals a gate with logistic noise, which is what this
computes: the difference of two Gumbel variables is logistic.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from harness.similarity.reductions import precise

Generator = torch.Generator | None

_SMALLEST = 1e-6  # of a gate in a denominator: a closed gate stays closed instead of becoming NaN


def logistic_noise(like: Tensor, generator: Generator = None) -> Tensor:
    """Draws of Logistic(0, 1), the law of the difference of two Gumbel(0, 1), in the shape and dtype of `like`."""
    uniform = torch.rand(like.shape, generator=generator, device=like.device, dtype=like.dtype)
    return torch.logit(uniform, eps=1e-7)  # the guard keeps a draw of exactly 0 from becoming -inf


def no_noise(like: Tensor, generator: Generator = None) -> Tensor:
    """Zeros, for a gate that is not sampled."""
    return torch.zeros_like(like)


class SoftGate(nn.Module):
    """A two-layer adapter whose gate is sampled in training; at evaluation it is the sigmoid of the noiseless logit."""

    def __init__(
        self,
        width: int,
        hidden_width: int,
        temperature: float = 1.0,  # tau; small values push the gates to 0 or 1
        noise: Callable[[Tensor, Generator], Tensor] = logistic_noise,
        keep_bias: float = 0.0,  # initial value of the logit of keeping
    ):
        super().__init__()
        self.hidden = nn.Linear(width, hidden_width)
        self.down = nn.Linear(hidden_width, 2)
        self.temperature, self.noise = temperature, noise
        with torch.no_grad():
            self.down.bias.copy_(torch.tensor([0.0, keep_bias]))

    def forward(self, features: Tensor, mask: Tensor, generator: Generator = None) -> Tensor:
        """Gates (N, F) in [0, 1], 0 at padding, of features (N, F, D) that are finite there too; `generator` is the noise's."""
        decision = self.down(nn.functional.gelu(self.hidden(features.to(self.hidden.weight.dtype))))
        logit = precise(decision[..., 1] - decision[..., 0])
        if self.training:
            logit = logit + self.noise(logit, generator)
        return self.shape_gate(torch.sigmoid(logit / self.temperature)).masked_fill(~mask, 0)

    def shape_gate(self, soft: Tensor) -> Tensor:
        return soft


class HardGate(SoftGate):
    """A gate that is 0 or 1, with the gradient of the soft one (straight-through)."""

    def shape_gate(self, soft: Tensor) -> Tensor:
        return (soft > 0.5).to(soft.dtype) + (soft - soft.detach())


class OpenGate(nn.Module):
    """No adapter: keeps every fragment whole. Owns no parameters."""

    def forward(self, features: Tensor, mask: Tensor, generator: Generator = None) -> Tensor:
        """1 for each real fragment (N, F)."""
        return mask.to(precise(features[:1, :1, :1]).dtype)


def norm_then_gate(gates: Tensor) -> Tensor:
    """The gate scales the unit token: what enters the similarity is the gate itself."""
    return gates


def gate_then_norm(gates: Tensor) -> Tensor:
    """Normalising a gated token undoes its gate: 1 wherever the gate is open at all, without a gradient."""
    return gates / gates.clamp(min=_SMALLEST)


def mean_over_length(gates: Tensor, mask: Tensor) -> Tensor:
    """Weights (N, F) of a mean over an item's real fragments, whether suppressed or not."""
    return mask.to(gates.dtype) / mask.sum(1, keepdim=True)


def mean_over_gates(gates: Tensor, mask: Tensor) -> Tensor:
    """Weights (N, F) of a sum over an item's real fragments, divided by the sum of their gates.

    >>> mean_over_gates(torch.tensor([[0.5, 1.5, 9.0]]), torch.tensor([[True, True, False]]))
    tensor([[0.5000, 0.5000, 0.0000]])
    """
    return mask / (gates * mask).sum(1, keepdim=True).clamp(min=_SMALLEST)


GATES: dict[str, Callable[..., SoftGate | OpenGate]] = {
    "soft": SoftGate,
    "hard": HardGate,
    "off": lambda *settings: OpenGate(),
}
NOISES = {True: logistic_noise, False: no_noise}
#: How a gate enters the similarity; "none" keeps it out.
ORDERS: dict[str, Callable[[Tensor], Tensor]] = {
    "norm_then_gate": norm_then_gate,
    "gate_then_norm": gate_then_norm,
    "none": torch.ones_like,
}
MEANS = {"length": mean_over_length, "gates": mean_over_gates}
