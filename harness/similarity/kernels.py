"""What a scorer does with one tile of token similarities: the pairwise half of max-sim and cross-attention.

A tile holds the similarities of c left items with F fragments each and q right items with L fragments each, exactly:
no padding, hence no mask. Right fragments come by position first, so the tile is (c, F, L, q) with items innermost,
and a reduction over F or L runs over contiguous memory. A kernel with `swapped` has captions on the left.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.fragments import Fragments
from harness.similarity.attention import EPSILON, LEAK
from harness.similarity.packing import Bucket
from harness.similarity.pooling import Mean, Pooling

#: exp(x) of |x| up to this stays far from overflow in float32, even squared and summed, so that no maximum is needed.
SAFE_EXPONENT = 20.0


#: From the fragments of a block to those that enter the product.
RowTransform = Callable[[Fragments], Fragments]


class Kernel(Protocol):
    """What every kernel says of itself."""

    @property
    def swapped(self) -> bool:
        """False: images are the left side and captions the right one; True: exchanged."""
        ...

    @property
    def tiles_in_use(self) -> int:
        """How many float32 tensors of a tile's size are alive at once, the tile included."""
        ...


@runtime_checkable
class TileKernel(Kernel, Protocol):
    """Reduces the similarities of whole items, first over a tile, then for many left items at once."""

    def left_side(self, items: Bucket, rows: Tensor) -> Any:
        """What is computed once a left item.

        Args:
            items: the tile's c items.
            rows: (c, F, D) their fragments.
        """
        ...

    def right_side(self, items: Bucket, columns: Tensor) -> Any:
        """What is computed once a right item.

        Args:
            items: the tile's q items.
            columns: (L, q, D) their fragments.
        """
        ...

    def reduce(self, similarity: Tensor, left: Any, right: Any) -> Tensor:
        """What is left of a tile.

        Args:
            similarity: (c, F, L, q), not to be changed.
            left: of `left_side`.
            right: of `right_side`.

        Returns:
            (c, K, q) float32 for any K.
        """
        ...

    def finish(self, values: Tensor, right: Any) -> Tensor:
        """(C, K, q) of `reduce` for many left items, which may be changed -> scores (C, q)."""
        ...


@runtime_checkable
class ColumnKernel(Kernel, Protocol):
    """Reduces each right fragment alone, whatever item it belongs to, and pools an item's fragments afterwards."""

    def reduce_columns(self, similarity: Tensor) -> Tensor:
        """(c, F, columns) similarities, not to be changed -> (c, columns)."""
        ...

    def finish(self, values: Tensor) -> Tensor:
        """(C, L, q) of many left items -> scores (C, q)."""
        ...


@dataclass(frozen=True)
class PackedForm:
    """A scorer as a weighted sum of kernels over packed fragments, for the scoring engine.

    Args:
        terms: weights and kernels; kernels of one orientation share one matrix product.
        image_rows: from the scorer's image fragments to those that enter the product (patches and regions, ...);
            None = as they are. Their extras reach `left_side` or `right_side`.
        text_rows: likewise for captions.
    """

    terms: tuple[tuple[float, Kernel], ...]
    image_rows: RowTransform | None = None
    text_rows: RowTransform | None = None


@dataclass(frozen=True)
class MaxSimKernel:
    """The best left fragment of each right fragment, pooled over the right ones.

    Args:
        pooling: reduces the maxima of an item.
        swapped: True = the best word of each region.
    """

    pooling: Pooling = field(default_factory=Mean)
    swapped: bool = False
    tiles_in_use: int = 1

    def reduce_columns(self, similarity: Tensor) -> Tensor:
        """(c, F, columns) -> (c, columns): the largest over F."""
        return similarity.amax(1)

    def finish(self, values: Tensor) -> Tensor:
        """(C, L, q) -> (C, q)."""
        return self.pooling(values, 1)


def _leaky(similarity: Tensor) -> Tensor:
    return F.leaky_relu(similarity, LEAK)


def _over_l2(attention: Tensor, squares: Tensor) -> Tensor:
    torch.mul(attention, attention, out=squares)
    return squares.sum(2, keepdim=True).sqrt_().add_(EPSILON).reciprocal_()


def _over_l1(attention: Tensor, magnitudes: Tensor) -> Tensor:
    torch.abs(attention, out=magnitudes)
    return magnitudes.sum(2, keepdim=True).add_(EPSILON).reciprocal_()


def _no_scale(attention: Tensor, scratch: Tensor) -> Tensor:
    return attention.new_ones(1)


#: Config value -> (of the similarity, scale over the right fragments, whether the result stays within [-1, 1]).
_TILE_NORMS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor], bool]] = {
    "clipped_l2norm": (_leaky, _over_l2, True),
    "l2norm": (lambda s: s, _over_l2, True),
    "clipped_l1norm": (_leaky, _over_l1, True),
    "l1norm": (lambda s: s, _over_l1, True),
    "softmax": (lambda s: torch.softmax(s, 2), _no_scale, True),
    "clipped": (_leaky, _no_scale, False),
    "none": (lambda s: s, _no_scale, False),
}


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

    def left_side(self, items: Bucket, rows: Tensor) -> Tensor:
        """Gram matrices (c, F, F)."""
        rows = rows.float()
        return torch.bmm(rows, rows.transpose(1, 2))

    def right_side(self, items: Bucket, columns: Tensor) -> Tensor:
        """Norms (L, q)."""
        columns = columns.float()
        return (columns * columns).sum(-1).sqrt_()

    def reduce(self, similarity: Tensor, left: Tensor, right: Tensor) -> Tensor:
        """(c, F, L, q) -> (c, 2 L, q): products of queries and attended vectors, then squared norms of the latter."""
        similarity = similarity.float()
        items, _, length, columns = similarity.shape
        values = similarity.new_empty(items, 2 * length, columns)
        weights = self._unnormalised_weights(similarity)
        flat = weights.flatten(2)
        attended = torch.bmm(left, flat).mul_(flat).view_as(weights)
        torch.sum(attended, 1, out=values[:, length:])
        torch.sum(weights.mul_(similarity), 1, out=values[:, :length])
        return values

    def finish(self, values: Tensor, right: Tensor) -> Tensor:
        """(C, 2 L, q) -> (C, q)."""
        product, squares = values.chunk(2, 1)
        norm = squares.clamp_(min=EPSILON**2).sqrt_().mul_(right).clamp_(min=EPSILON)
        return self.pooling(product.div_(norm), 1)

    def _unnormalised_weights(self, similarity: Tensor) -> Tensor:
        activation, over, bounded = _TILE_NORMS[self.attention_norm]
        attention = activation(similarity)
        scratch = torch.empty_like(similarity)
        scale = over(attention, scratch).mul_(self.inverse_temperature)
        logits = torch.mul(attention, scale, out=scratch)
        if not bounded or self.inverse_temperature > SAFE_EXPONENT:
            logits.sub_(logits.amax(1, keepdim=True))
        return logits.exp_()
