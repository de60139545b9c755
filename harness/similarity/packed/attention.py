"""Cross-attention's kernel: SCAN on a tile of token similarities.

Shape letters: as in `harness.similarity.packed.kernels`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.similarity.packed.kernels import Kernel, Scratch
from harness.similarity.packed.layout import Bucket, Group
from harness.similarity.pooling import Pooling
from harness.similarity.reductions import precise, total, total_
from harness.similarity.reference.attention import EPSILON, LEAK

#: exp(x) of |x| up to this, even squared and summed, stays far from what float32 holds, so that no maximum is needed.
SAFE_EXPONENT = 10.0
#: Rows whose squares stay in the cache until they are summed.
NORMS_AT_ONCE = 512
#: Columns that a small product is filled up to, see `harness.similarity.packed.scores.SMALLEST_PRODUCT`.
SMALLEST_PRODUCT = 64


def _leaky(similarity: Tensor, out: Tensor) -> Tensor:
    return torch.ops.aten.leaky_relu.out(similarity, LEAK, out=out)


def _copy(similarity: Tensor, out: Tensor) -> Tensor:
    return out.copy_(similarity)


def _over_l2(attention: Tensor, items: Group, scratch: Tensor) -> Tensor:
    torch.mul(attention, attention, out=scratch)
    return items.joined(lambda view: total_(view, -2), scratch).sqrt_().add_(EPSILON).reciprocal_()


def _over_l1(attention: Tensor, items: Group, scratch: Tensor) -> Tensor:
    torch.abs(attention, out=scratch)
    return items.joined(lambda view: total_(view, -2), scratch).add_(EPSILON).reciprocal_()


def _scaled(over: Callable[[Tensor, Group, Tensor], Tensor]) -> Callable[[Tensor, Group, Tensor, float], Tensor]:
    """Normalise over the right fragments: each item's are scaled by one number per left fragment."""

    def normalise(attention: Tensor, items: Group, scratch: Tensor, factor: float) -> Tensor:
        scale = over(attention, items, scratch).mul_(factor)
        for view, of_part in zip(items.each(attention), scale.split([len(p) for p in items.parts], -1), strict=True):
            view.mul_(of_part.unsqueeze(-2))
        return attention

    return normalise


def _softmax(attention: Tensor, items: Group, scratch: Tensor, factor: float) -> Tensor:
    for view in items.each(attention):
        shares = view.sub_(view.amax(-2, keepdim=True)).exp_()
        shares.div_(total(shares, -2).unsqueeze(-2))
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


def _product(left: Tensor, weights: Tensor, scratch: Scratch) -> Tensor:
    """(c, F, F) and (c, F, P) -> (c, F, P), each column's bits independent of P."""
    columns = weights.shape[2]
    if not weights.is_contiguous() and weights.transpose(0, 1).is_contiguous():  # by position first: one query alone
        return torch.matmul(left, weights)
    if len(left) == 1:  # of a single item, several threads take another routine
        return _product(left.expand(2, -1, -1), weights.expand(2, -1, -1), scratch)[:1]
    if columns >= SMALLEST_PRODUCT:
        return torch.bmm(left, weights, out=scratch.like(weights))
    return torch.bmm(left, F.pad(weights, (0, SMALLEST_PRODUCT - columns)))[..., :columns]


@dataclass(frozen=True)
class CrossAttentionKernel(Kernel):
    """Each right fragment attends to the left ones; its cosine with what it found is pooled over the right ones.

    The softmax denominator cancels in the cosine. It is computed only where the product of the two norms may fall below
    the smallest number that is divided by, which is one of normalised weights: for zero vectors, and tiny ones.

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
    tiles_in_use = 4

    def left_side(self, items: Bucket, rows: Tensor) -> Tensor:
        """Gram matrices (c, F, F)."""
        rows = precise(rows)
        return torch.bmm(rows, rows.transpose(1, 2))

    def right_side(self, items: Group, columns: Tensor) -> tuple[Group, Tensor]:
        """The items, and the norms (P,) of their fragments."""
        columns = precise(columns)
        squares = [(some * some).sum(-1) for some in columns.split(NORMS_AT_ONCE)]
        return items, torch.cat(squares).sqrt_()

    def reduce(self, similarity: Tensor, left: Tensor, right: tuple[Group, Tensor], scratch: Scratch) -> Tensor:
        """(c, F, P) -> (c, 2, P): products of queries and attended vectors, and the products of their norms."""
        similarity, (items, right_norms) = precise(similarity), right
        weights, largest = self._unnormalised_weights(similarity, items, scratch)
        attended = _product(left, weights, scratch).mul_(weights)
        values = similarity.new_empty(len(similarity), 2, similarity.shape[2])
        product, norms = values.unbind(1)
        torch.mul(total_(attended, 1).clamp_(min=0).sqrt_(), right_norms, out=norms)
        if bool((norms < EPSILON * similarity.shape[1] * largest).any()):
            torch.maximum(norms, total(weights, 1).mul_(EPSILON), out=norms)
        product.copy_(total_(weights.mul_(similarity), 1))
        return values

    def finish(self, values: Tensor, right: tuple[Group, Tensor]) -> Tensor:
        """(C, 2, P) -> (C, n)."""
        product, norms = values.unbind(1)
        return right[0].joined(lambda view: self.pooling(view, 1), product.div_(norms))

    def _unnormalised_weights(self, similarity: Tensor, items: Group, scratch: Scratch) -> tuple[Tensor, float]:
        """(c, F, P), and what none of them exceeds."""
        activation, normalise, bounded = _TILE_NORMS[self.attention_norm]
        attention = activation(similarity, scratch.like(similarity, "weights"))
        logits = normalise(attention, items, scratch.like(similarity), self.inverse_temperature)
        if bounded and self.inverse_temperature <= SAFE_EXPONENT:
            return logits.exp_(), math.exp(self.inverse_temperature)
        return logits.sub_(logits.amax(1, keepdim=True)).exp_(), 1.0
