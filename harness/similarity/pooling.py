"""Poolings: many similarities of one pair -> one number, along one axis, with or without a mask.

Without a mask, which is how the packed engine calls them, equal values give equal bits wherever they stand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from harness.similarity.reductions import total

NEGATIVE_INFINITY = float("-inf")


class Pooling(Protocol):
    """Reduces `values` along `dim`."""

    def __call__(self, values: Tensor, dim: int, mask: Tensor | None = None) -> Tensor:
        """Pool.

        Args:
            values: similarities, finite where the mask is True.
            dim: the axis that is reduced.
            mask: bool, broadcastable to `values`, True = real; None = all real. At least one is real along `dim`.

        Returns:
            `values` without `dim`.
        """
        ...


@dataclass(frozen=True)
class Mean:
    """Arithmetic mean of the real values."""

    def __call__(self, values: Tensor, dim: int, mask: Tensor | None = None) -> Tensor:
        if mask is None:
            return total(values, dim) / values.shape[dim]
        count = mask.expand_as(values).sum(dim) if mask.shape[dim] == 1 else mask.sum(dim)
        return values.masked_fill(~mask, 0).sum(dim) / count


@dataclass(frozen=True)
class Sum:
    """Sum of the real values."""

    def __call__(self, values: Tensor, dim: int, mask: Tensor | None = None) -> Tensor:
        return total(values, dim) if mask is None else _masked(values, mask, 0).sum(dim)


@dataclass(frozen=True)
class Max:
    """Largest real value."""

    def __call__(self, values: Tensor, dim: int, mask: Tensor | None = None) -> Tensor:
        return _masked(values, mask, NEGATIVE_INFINITY).amax(dim)


@dataclass(frozen=True)
class LogSumExp:
    """`scale * log(sum(exp(sharpness * values)))`: a soft maximum that grows with the number of values.

    Args:
        sharpness: SCAN's lambda2; the inverse of CHAN's temperature.
        scale: 1 / sharpness brings the result back to the unit of the values (SCAN); CHAN leaves it at 1.
    """

    sharpness: float
    scale: float = 1.0

    def __call__(self, values: Tensor, dim: int, mask: Tensor | None = None) -> Tensor:
        scaled = values * self.sharpness
        if mask is not None:
            return _masked(scaled, mask, NEGATIVE_INFINITY).logsumexp(dim) * self.scale
        largest = scaled.amax(dim, keepdim=True).detach()
        return (total((scaled - largest).exp(), dim).log() + largest.squeeze(dim)) * self.scale


@dataclass(frozen=True)
class SoftmaxMean:
    """Mean weighted by the softmax of the values themselves.

    Args:
        temperature: small = close to the maximum, large = close to the mean.
    """

    temperature: float

    def __call__(self, values: Tensor, dim: int, mask: Tensor | None = None) -> Tensor:
        if mask is None:
            scaled = values / self.temperature
            shares = (scaled - scaled.amax(dim, keepdim=True).detach()).exp()
            return total(shares * values, dim) / total(shares, dim)
        weights = torch.softmax(_masked(values / self.temperature, mask, NEGATIVE_INFINITY), dim)
        return (weights * _masked(values, mask, 0)).sum(dim)


def _masked(values: Tensor, mask: Tensor | None, fill: float) -> Tensor:
    return values if mask is None else values.masked_fill(~mask, fill)
