"""Sums whose last bit depends on the summands alone, not on the shape of the tensor that holds them.

torch adds along an axis in an order that depends on the width of the processor's vectors, and another one in the columns
that do not fill a vector, or on another thread. So equal items in different columns of a tile differ in the last bit, and a
count of ties misses them. Here the order is a property of the axis: second half onto the first, until one is left.
"""

from __future__ import annotations

import torch
from torch import Tensor


def precise(values: Tensor) -> Tensor:
    """Half precision as float32; float32 and float64 as they are."""
    return values if values.dtype == torch.float64 else values.float()


def total(values: Tensor, dim: int) -> Tensor:
    """The sum along `dim`, in an order that its length decides; differentiable."""
    count = values.shape[dim]
    if count == 1:
        return values.select(dim, 0).clone()
    half = count // 2
    sums = values.narrow(dim, 0, half) + values.narrow(dim, count - half, half)
    rest = total(sums, dim) if torch.is_grad_enabled() and sums.requires_grad else total_(sums, dim)
    return rest if count == 2 * half else rest + values.select(dim, half)


def total_(values: Tensor, dim: int) -> Tensor:
    """The sum along `dim`, a view of `values`, which are overwritten."""
    count = values.shape[dim]
    while count > 1:
        half = count // 2
        values.narrow(dim, 0, half).add_(values.narrow(dim, count - half, half))
        count -= half
    return values.select(dim, 0)
