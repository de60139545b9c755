"""What a scorer does with one tile of token similarities: the interface of its pairwise half, and that of max-sim.

A tile holds the similarities of c left items with F fragments each and of the P fragments of a group of right items,
exactly: no padding, hence no mask. Right fragments come by position first within each part of the group, so a part's
view of the tile is (c, F, L, q) with items innermost, and a reduction over F or L runs over contiguous memory. What
does not depend on L is done on the whole width at once, since short operations cost more than they compute. A kernel
with `swapped` has captions on the left.

Sums go through `harness.similarity.reductions`, so that a score does not depend on where in a tile its items stand.

Shape letters: c left items of one tile with F fragments, C those of many tiles; n right items of a group with P
fragments in all, q of them with L fragments each in one part; D width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from harness.fragments import Fragments
from harness.similarity.packed.layout import Bucket, Group
from harness.similarity.pooling import Mean, Pooling
from harness.similarity.reductions import precise

#: torch's maximum over an axis takes this many contiguous columns at a time on a CPU, and single ones ten times as slowly.
VECTOR = 32

#: From the fragments of a block to those that enter the product.
RowTransform = Callable[[Fragments], Fragments]


class Scratch:
    """Working memory that successive tiles share: fresh memory of a tile's size costs more than several passes over it."""

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}

    def like(self, values: Tensor, name: str = "") -> Tensor:
        """A tensor of the shape, dtype and device of `values`; its content is that of the last use of `name`.

        It is contiguous, or lies by position first where `values` do (see `position_first`).
        """
        buffer = self._buffers.pop(name, None)
        wanted = (values.dtype, values.device)
        if buffer is None or buffer.numel() < values.numel() or (buffer.dtype, buffer.device) != wanted:
            buffer = None  # before its successor is there
            buffer = torch.empty(values.numel(), dtype=values.dtype, device=values.device)
        self._buffers[name] = buffer
        room = buffer[: values.numel()]
        if values.dim() > 2 and not values.is_contiguous() and values.transpose(0, 1).is_contiguous():
            return room.view(values.transpose(0, 1).shape).transpose(0, 1)
        return room.view(values.shape)


@dataclass(frozen=True)
class Operands:
    """What a kernel will be given, for the choice of the best one.

    Args:
        device: where it computes.
        dtype: of the product's operands.
        left_fragments: the largest number of real fragments of a left item.
    """

    device: torch.device
    dtype: torch.dtype
    left_fragments: int


class Kernel(ABC):
    """The pairwise half of a scorer: reduces a tile, then finishes many left items at once.

    A method `best_on(operands: Operands) -> Kernel`, if there is one, returns what computes the same faster there.
    """

    #: False: images are the left side and captions the right one; True: exchanged.
    swapped: bool = False
    #: How many float32 tensors of a tile's size are alive at once, the tile included.
    tiles_in_use: int = 1
    #: True: `reduce` gets the left fragments (c, F, D) instead of their similarities, and multiplies them itself.
    multiplies: bool = False
    #: Whether `reduce` is faster on tiles of few columns that lie by position first, see `position_first`.
    reads_position_first: bool = True

    def left_side(self, items: Bucket, rows: Tensor) -> Any:
        """What is computed once per left item: of the tile's c items and their fragments (c, F, D); nothing by default."""
        return None

    def right_side(self, items: Group, columns: Tensor) -> Any:
        """What is computed once per right item: of the tile's n items and their fragments (P, D); the items by default."""
        return items

    @abstractmethod
    def reduce(self, similarity: Tensor, left: Any, right: Any, scratch: Scratch) -> Tensor:
        """What is left of a tile.

        Args:
            similarity: (c, F, P), not to be changed.
            left, right: of `left_side` and `right_side`.
            scratch: for tensors that the result does not hold on to.

        Returns:
            (c, ...) of any further shape.
        """

    def finish(self, values: Tensor, right: Any) -> Tensor:
        """(C, ...) of `reduce` for many left items, which may be changed -> scores (C, n); as they are by default."""
        return values


def position_first(tile: Tensor) -> Tensor:
    """A tile (c, F, P) of few columns, which lies as (F, c, P) in memory.

    Reductions over F then run over c * P contiguous values. Over P alone, which is about 12 for one caption, they and every
    other operation on a slice of a wider product take five to ten times as long.
    """
    return tile.transpose(0, 1).contiguous().transpose(0, 1)


def largest_over_positions(values: Tensor) -> Tensor:
    """The maximum of a part's view (..., L, q) of a tile over its positions -> (..., q); not differentiable.

    On a CPU the view is widened to whole vectors of columns: what is read too much belongs to the same tile, and its
    maxima are dropped.
    """
    columns = values.shape[-1]
    spare = -columns % VECTOR
    if values.device.type != "cpu" or not spare or columns == 1:
        return values.amax(-2)
    first = values.storage_offset()
    last = first + sum((size - 1) * stride for size, stride in zip(values.shape, values.stride(), strict=True))
    shape = (*values.shape[:-1], columns + spare)
    if last + spare < values.untyped_storage().nbytes() // values.element_size():
        return values.as_strided(shape, values.stride(), first).amax(-2)[..., :columns]
    if first >= spare:
        return values.as_strided(shape, values.stride(), first - spare).amax(-2)[..., spare:]
    return values.amax(-2)


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
class MaxSimKernel(Kernel):
    """The best left fragment of each right fragment, pooled over the right ones.

    Args:
        pooling: reduces the maxima of an item.
        swapped: True = the best word of each region.
    """

    pooling: Pooling = field(default_factory=Mean)
    swapped: bool = False

    def reduce(self, similarity: Tensor, left: None, right: Group, scratch: Scratch) -> Tensor:
        """(c, F, P) -> (c, P): the largest over F."""
        return similarity.amax(1)

    def finish(self, values: Tensor, right: Group) -> Tensor:
        """(C, P) -> (C, n)."""
        return right.joined(lambda view: self.pooling(view, 1), precise(values))
