"""Cross-attention's kernel: SCAN on a tile of token similarities.

Shape letters: as in `harness.similarity.kernels`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from harness.similarity import fused
from harness.similarity.attention import EPSILON, LEAK
from harness.similarity.kernels import Kernel, Scratch
from harness.similarity.packing import Bucket, Group
from harness.similarity.pooling import Pooling

#: exp(x) of |x| up to this stays far from overflow in float32, even squared and summed, so that no maximum is needed.
SAFE_EXPONENT = 20.0


def _leaky(similarity: Tensor, out: Tensor) -> Tensor:
    return torch.ops.aten.leaky_relu.out(similarity, LEAK, out=out)


def _copy(similarity: Tensor, out: Tensor) -> Tensor:
    return out.copy_(similarity)


def _over_l2(attention: Tensor, items: Group, scratch: Tensor) -> Tensor:
    torch.mul(attention, attention, out=scratch)
    return items.joined(lambda view: view.sum(-2), scratch).sqrt_().add_(EPSILON).reciprocal_()


def _over_l1(attention: Tensor, items: Group, scratch: Tensor) -> Tensor:
    torch.abs(attention, out=scratch)
    return items.joined(lambda view: view.sum(-2), scratch).add_(EPSILON).reciprocal_()


def _scaled(over: Callable[[Tensor, Group, Tensor], Tensor]) -> Callable[[Tensor, Group, Tensor, float], Tensor]:
    """Normalise over the right fragments: each item's are scaled by one number a left fragment."""

    def normalise(attention: Tensor, items: Group, scratch: Tensor, factor: float) -> Tensor:
        scale = over(attention, items, scratch).mul_(factor)
        for view, of_part in zip(items.each(attention), scale.split([len(p) for p in items.parts], -1), strict=True):
            view.mul_(of_part.unsqueeze(-2))
        return attention

    return normalise


def _softmax(attention: Tensor, items: Group, scratch: Tensor, factor: float) -> Tensor:
    for view in items.each(attention):
        view.copy_(torch.softmax(view, -2))
    return attention.mul_(factor)


def _times(attention: Tensor, items: Group, scratch: Tensor, factor: float) -> Tensor:
    return attention.mul_(factor)


#: Config value -> (what is written to the second argument; its normalisation in place over the right fragments, times a
#: factor, with a third tensor to work in; whether what is normalised stays within [-1, 1]).
_TILE_NORMS: dict[
    str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor, Group, Tensor, float], Tensor], bool]
] = {
    "clipped_l2norm": (_leaky, _scaled(_over_l2), True),
    "l2norm": (_copy, _scaled(_over_l2), True),
    "clipped_l1norm": (_leaky, _scaled(_over_l1), True),
    "l1norm": (_copy, _scaled(_over_l1), True),
    "softmax": (_copy, _softmax, True),
    "clipped": (_leaky, _times, False),
    "none": (_copy, _times, False),
}


@dataclass(frozen=True)
class Attending:
    """The right side of a cross-attention.

    Args:
        items: n of them.
        norms: (P,) of their fragments.
    """

    items: Group
    norms: Tensor


@dataclass(frozen=True)
class CrossAttentionKernel:
    """Each right fragment attends to the left ones; its cosine with what it found is pooled over the right ones.

    The softmax denominator cancels in the cosine and is never computed; the smallest norm that is divided by is therefore
    one of the unnormalised sum, which matters for zero vectors alone, and their score is 0 either way.

    Args:
        pooling: reduces the cosines of an item.
        attention_norm: as in `cross_attention`.
        inverse_temperature: SCAN's lambda1.
        swapped: True = regions attend to words (SCAN's i2t).
    """

    pooling: Pooling
    attention_norm: str = "clipped_l2norm"
    inverse_temperature: float = 9.0
    swapped: bool = False
    tiles_in_use: int = 4
    multiplies: bool = False

    def best_on(self, operands: fused.Operands) -> Kernel:
        """This kernel, or what computes the same faster."""
        norm, pooling = fused.ATTENTION_NORMS.get(self.attention_norm), fused.pooling_terms(self.pooling)
        small = operands.left_fragments <= fused.LARGEST_CONTEXT
        if norm is None or pooling is None or not (small and fused.available(operands.device, operands.dtype)):
            return self
        return fused.FusedCrossAttention(*norm, self.inverse_temperature, pooling, self.swapped)

    def left_side(self, items: Bucket, rows: Tensor) -> Tensor:
        """Gram matrices (c, F, F)."""
        rows = rows.float()
        return torch.bmm(rows, rows.transpose(1, 2))

    def right_side(self, items: Group, columns: Tensor) -> Attending:
        """Norms."""
        columns = columns.float()
        return Attending(items, (columns * columns).sum(-1).sqrt_())

    def reduce(self, similarity: Tensor, left: Tensor, right: Attending, scratch: Scratch) -> Tensor:
        """(c, F, P) -> (c, 2, P): products of queries and attended vectors, and squared norms of the latter."""
        similarity = similarity.float()
        weights = self._unnormalised_weights(similarity, right.items, scratch)
        attended = torch.bmm(left, weights, out=scratch.like(similarity)).mul_(weights)
        values = similarity.new_empty(len(similarity), 2, similarity.shape[2])
        torch.sum(attended, 1, out=values[:, 1])
        torch.sum(weights.mul_(similarity), 1, out=values[:, 0])
        return values

    def finish(self, values: Tensor, right: Attending) -> Tensor:
        """(C, 2, P) -> (C, n)."""
        product, squares = values.unbind(1)
        norm = squares.clamp_(min=EPSILON**2).sqrt_().mul_(right.norms).clamp_(min=EPSILON)
        return right.items.joined(lambda view: self.pooling(view, 1), product.div_(norm))

    def _unnormalised_weights(self, similarity: Tensor, items: Group, scratch: Scratch) -> Tensor:
        activation, normalise, bounded = _TILE_NORMS[self.attention_norm]
        attention = activation(similarity, scratch.like(similarity, "weights"))
        logits = normalise(attention, items, scratch.like(similarity), self.inverse_temperature)
        if not bounded or self.inverse_temperature > SAFE_EXPONENT:
            logits.sub_(logits.amax(1, keepdim=True))
        return logits.exp_()
