"""Packed scoring: exact-length buckets, small tiles, one matrix product per tile, no padding.

A packed side may be scored against any number of others: its left tiles are rows as they are, its right groups are
reordered and prepared for the product.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.fragments import Fragments
from harness.similarity.packed import codes, products
from harness.similarity.packed.kernels import VECTOR, Kernel, PackedForm, Scratch, position_first
from harness.similarity.packed.layout import Bucket, Group, group, pack

#: A left tile this full is filled up with zero rows to the usual size.
WORTH_FILLING = 0.75
#: Smaller products are filled up with zeros. Below 16 of either, libraries turn to other routines, which add in another
#: order; from there on an entry's bits do not depend on the other rows and columns.
SMALLEST_PRODUCT = (32, 64)


@dataclass(frozen=True)
class TileSize:
    """Largest extent of a product, in left and in right fragments; at least one item of each side is taken all the same."""

    rows: int
    columns: int


@dataclass(frozen=True)
class Plan:
    """How a side is packed.

    Args:
        form: of the scorer.
        tile: extent of a product.
        waiting: reduced values that wait until they are finished together: many, since short operations cost more than
            they compute, but no more than fit the caches, or the memory budget.
        dtype: of the product's operands; None = that of the features. Sums are kept in float32. int8 = the fragments are
            coded already, see `harness.similarity.packed.codes`.
        work: floating-point operations of the whole computation, see `products.prepare`.
        smallest: rows of both sides that a product has at least.
        position_first: tiles of few columns lie by position first, see `harness.similarity.packed.kernels.position_first`.
    """

    form: PackedForm
    tile: TileSize
    waiting: int
    dtype: torch.dtype | None = None
    work: float = 0.0
    smallest: tuple[int, int] = SMALLEST_PRODUCT
    position_first: bool = False

    def terms(self, swapped: bool) -> list[tuple[float, Kernel]]:
        """Weights and kernels of one orientation."""
        return [(weight, kernel) for weight, kernel in self.form.terms if kernel.swapped == swapped]


@dataclass(frozen=True, eq=False)
class LeftTile:
    """Left items of one product: (m, D) rows, filled up below the last part, and what each kernel computed of each part.

    `scales` (m,) are those of codes.
    """

    rows: Tensor
    parts: Sequence[Bucket]
    sides: Sequence[Sequence[Any]]
    scales: Tensor | None = None


@dataclass(frozen=True, eq=False)
class RightGroup:
    """Right items of one product (None if every kernel multiplies itself), and what each kernel computed of them.

    The product may have more columns than the items' P, as have `scales`, which are those of codes.
    """

    items: Group
    product: products.Product | None
    sides: Sequence[Any]
    scales: Tensor | None = None

    def similarity(self, left: LeftTile) -> Tensor | None:
        """(m, P), or None if every kernel multiplies itself."""
        if self.product is None:
            return None
        similarity = self.product(left.rows)
        if self.scales is not None and left.scales is not None:
            similarity = codes.rescaled(similarity, left.scales, self.scales)
        return similarity[:, : self.items.size]


@dataclass(frozen=True, eq=False)
class PackedSide:
    """Items of one side, packed as the left and as the right one where the form reads them so.

    Args:
        items: (n,) int64 rows of the fragments, in the order of the packing.
    """

    items: Tensor
    lefts: Sequence[LeftTile] | None
    rights: Sequence[RightGroup] | None


def pack_side(plan: Plan, source: Fragments, items: Tensor, *, texts: bool) -> PackedSide:
    """Pack some items of one side.

    Args:
        plan: of the scorer.
        source: fragments on the device that computes, after the form's row transform.
        items: (n,) int64 rows of `source`.
        texts: whether they are captions, which are the left side of a swapped kernel; images are that of the others.
    """
    buckets = pack(source, items)
    left, right = plan.terms(texts), plan.terms(not texts)
    return PackedSide(
        torch.cat([bucket.items for bucket in buckets]),
        _left_tiles(plan, buckets, [kernel for _, kernel in left]) if left else None,
        _right_groups(plan, buckets, [kernel for _, kernel in right]) if right else None,
    )


def packed_scores(plan: Plan, images: PackedSide, texts: PackedSide) -> Tensor:
    """(i, t) float32 scores, rows and columns in the order of the packing."""
    scores = torch.zeros(len(images.items), len(texts.items), device=images.items.device)
    for swapped in sorted({kernel.swapped for _, kernel in plan.form.terms}):
        left, right = (texts, images) if swapped else (images, texts)
        if left.lefts is None or right.rights is None:
            raise AssertionError("a side was packed for another form")
        _accumulate(scores.T if swapped else scores, plan, swapped, left.lefts, right.rights)
    return scores


def _left_tiles(plan: Plan, buckets: Sequence[Bucket], kernels: Sequence[Kernel]) -> list[LeftTile]:
    """Tiles of one common number of rows, which a product that was prepared for it needs; a small rest stays small."""
    groups = list(group(buckets, plan.tile.rows))
    usual = max(items.size for items in groups)
    tiles = []
    for items in groups:
        rows = items.rows() if plan.dtype is None else items.rows().to(plan.dtype)
        scales = codes.row_scales(items.parts) if rows.dtype == torch.int8 else None
        sides = _left_sides(kernels, items, rows, scales)
        full = usual if WORTH_FILLING * usual < len(rows) < usual else len(rows)
        if filling := max(full, plan.smallest[0]) - len(rows):
            rows = F.pad(rows, (0, 0, 0, filling))
            scales = None if scales is None else F.pad(scales, (0, filling))
        tiles.append(LeftTile(rows, items.parts, sides, scales))
    return tiles


def _left_sides(kernels: Sequence[Kernel], items: Group, rows: Tensor, scales: Tensor | None) -> list[list[Any]]:
    """What each kernel computes of each part; codes are decoded for those that compute anything."""
    if all(type(kernel).left_side is Kernel.left_side for kernel in kernels):
        return [[None] * len(items.parts) for _ in kernels]
    pieces = (rows if scales is None else rows * scales[:, None]).split([part.size for part in items.parts])
    views = [piece.view(len(part), part.length, -1) for part, piece in zip(items.parts, pieces, strict=True)]
    return [[kernel.left_side(part, view) for part, view in zip(items.parts, views, strict=True)] for kernel in kernels]


def _right_groups(plan: Plan, buckets: Sequence[Bucket], kernels: Sequence[Kernel]) -> list[RightGroup]:
    groups = []
    for items in group(buckets, plan.tile.columns):
        columns = items.columns() if plan.dtype is None else items.columns().to(plan.dtype)
        if all(kernel.multiplies for kernel in kernels):
            product = None
            products.note_fused(columns)
        else:
            spare = plan.smallest[1] - len(columns)
            wide = F.pad(columns, (0, 0, 0, spare)) if spare > 0 else columns  # a copy even of no padding at all
            product = products.prepare(wide, plan.tile.rows, plan.work)
        scales = codes.column_scales(items.parts) if columns.dtype == torch.int8 else None
        plain = columns if scales is None else columns * scales[:, None]
        sides = [kernel.right_side(items, plain) for kernel in kernels]
        if scales is not None:
            scales = F.pad(scales, (0, max(0, plan.smallest[1] - len(columns))))
        groups.append(RightGroup(items, product, sides, scales))
    return groups


def _accumulate(
    scores: Tensor, plan: Plan, swapped: bool, lefts: Sequence[LeftTile], rights: Sequence[RightGroup]
) -> None:
    """Add the terms of one orientation to `scores` (left items, right items)."""
    scratch = Scratch()
    for right in rights:
        works = [
            _Work(kernel, side, scores[:, right.items.span], weight, plan)
            for (weight, kernel), side in zip(plan.terms(swapped), right.sides, strict=True)
        ]
        for left in lefts:
            similarity = right.similarity(left)
            for one, sides in zip(works, left.sides, strict=True):
                one.tile(left.rows if similarity is None or one.kernel.multiplies else similarity, left, sides, scratch)
            del similarity  # before the next product, which then takes the same memory
        for one in works:
            one.finish()


class _Work:
    """A kernel at work on one right group: tiles are reduced, and many left items finished and added to `scores` at once."""

    def __init__(self, kernel: Kernel, right: Any, scores: Tensor, weight: float, plan: Plan):
        self.kernel, self.right, self.scores, self.weight, self.limit = kernel, right, scores, weight, plan.waiting
        self.position_first = plan.position_first and kernel.reads_position_first and not kernel.multiplies
        self.waiting: list[Tensor] = []
        self.waiting_values = self.done = 0

    def tile(self, rows: Tensor, left: LeftTile, sides: Sequence[Any], scratch: Scratch) -> None:
        """Reduce one tile: (m, P) similarities, or (m, D) fragments for a kernel that multiplies; tiles come in order."""
        first = 0
        for part, side in zip(left.parts, sides, strict=True):
            piece = rows[first : first + part.size].unflatten(0, (len(part), part.length))
            if self.position_first and piece.shape[2] < VECTOR and piece.device.type == "cpu":
                piece = position_first(piece)
            values = self.kernel.reduce(piece, side, self.right, scratch)
            self.waiting.append(values)
            self.waiting_values += values.numel()
            first += part.size
        if self.waiting_values >= self.limit:
            self.finish()

    def finish(self) -> None:
        if not self.waiting:
            return
        found = self.kernel.finish(torch.cat(self.waiting), self.right)
        self.scores[self.done : self.done + len(found)].add_(found, alpha=self.weight)
        self.done += len(found)
        self.waiting, self.waiting_values = [], 0
