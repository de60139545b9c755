"""Packed scoring: exact-length buckets, small tiles, one matrix product a tile, no padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.fragments import Fragments
from harness.similarity import products
from harness.similarity.kernels import ColumnKernel, Kernel, PackedForm, TileKernel
from harness.similarity.packing import Bucket, columns_of, group, pack, rows_of

#: A left tile this full is filled up with zero rows to the usual size.
WORTH_FILLING = 0.75
#: Reduced columns that wait until they are pooled together.
WAITING_VALUES = 2**21


@dataclass(frozen=True)
class TileSize:
    """Largest extent of a product, in fragments; at least one item of each side is taken all the same.

    Args:
        rows: left fragments. On a CPU small tiles stay in the cache.
        columns: right fragments, which are reordered once and multiplied with every left tile.
        widest: right fragments that a kernel reduces at once, so that its working tensors stay in the cache.
    """

    rows: int = 288
    columns: int = 4096
    widest: int = 1024


@dataclass(frozen=True, eq=False)
class PackedScores:
    """Scores of a block in the order of the packing.

    Args:
        images: (i,) int64, the image of each row.
        texts: (t,) int64, the caption of each column.
        scores: (i, t) float32.
    """

    images: Tensor
    texts: Tensor
    scores: Tensor


@dataclass(frozen=True, eq=False)
class _LeftTile:
    """Left items of one product, with what each kernel computed once for each bucket part."""

    rows: Tensor
    parts: Sequence[Bucket]
    sides: Sequence[Any]


def packed_scores(
    form: PackedForm,
    images: Fragments,
    image_items: Tensor,
    texts: Fragments,
    text_items: Tensor,
    tile: TileSize,
    dtype: torch.dtype | None = None,
    work: float = 0.0,
) -> PackedScores:
    """Scores of some images with some captions.

    Args:
        form: the scorer's packed form; its `image_rows` and `text_rows` have been applied.
        images: fragments, on the device that computes.
        image_items: (i,) int64 rows of `images`.
        texts: fragments.
        text_items: (t,) int64 rows of `texts`.
        tile: extent of a product.
        dtype: of the product's operands; None = that of the features. Sums are kept in float32.
        work: floating-point operations of the whole computation, of which this block is a part.
    """
    image_buckets, text_buckets = pack(images, image_items), pack(texts, text_items)
    scores = torch.zeros(len(image_items), len(text_items), device=images.device)
    for swapped in (False, True):
        terms = [(weight, kernel) for weight, kernel in form.terms if kernel.swapped == swapped]
        if terms:
            left, right = (text_buckets, image_buckets) if swapped else (image_buckets, text_buckets)
            _accumulate(scores.T if swapped else scores, terms, left, right, tile, dtype, work)
    return PackedScores(_items(image_buckets), _items(text_buckets), scores)


def _accumulate(
    scores: Tensor,
    terms: Sequence[tuple[float, Kernel]],
    lefts: Sequence[Bucket],
    rights: Sequence[Bucket],
    tile: TileSize,
    dtype: torch.dtype | None,
    work: float,
) -> None:
    """Add the terms of one orientation to `scores` (left items, right items)."""
    works = [_work(weight, kernel, scores) for weight, kernel in terms]
    left_tiles = _left_tiles(list(group(lefts, tile.rows, tile.rows)), works, dtype)
    for parts in group(rights, tile.columns, tile.widest):
        columns = columns_of(parts)
        product = products.prepare(columns if dtype is None else columns.to(dtype), len(left_tiles[0].rows), work)
        for one in works:
            one.begin(parts, columns)
        for left in left_tiles:
            similarity = product(left.rows)
            for one, sides in zip(works, left.sides, strict=True):
                one.tile(similarity, left.parts, sides)
        for one in works:
            one.finish()


def _left_tiles(
    groups: Sequence[Sequence[Bucket]], works: Sequence[_Work], dtype: torch.dtype | None
) -> list[_LeftTile]:
    """Tiles of one common number of rows, which a product that was prepared for it needs; a small rest stays small."""
    sizes = [sum(part.size for part in parts) for parts in groups]
    usual = max(sizes)
    tiles = []
    for parts, size in zip(groups, sizes, strict=True):
        rows = rows_of(parts)
        sides = [one.left_sides(parts, rows) for one in works]
        if size < usual and size > WORTH_FILLING * usual:
            rows = F.pad(rows, (0, 0, 0, usual - size))
        tiles.append(_LeftTile(rows if dtype is None else rows.to(dtype), parts, sides))
    return tiles


class _Work:
    """A kernel at work on the columns of some right parts: tiles are reduced, and many left items finished at once.

    Args:
        weight: of the kernel's scores.
        scores: (left items, right items) that they are added to.
    """

    def __init__(self, weight: float, scores: Tensor):
        self.weight, self.scores = weight, scores
        self.rights: Sequence[Bucket] = ()
        self.waiting: list[list[Tensor]] = []
        self.waiting_values = 0
        self.first = self.last = 0

    def left_sides(self, parts: Sequence[Bucket], rows: Tensor) -> Sequence[Any]:
        """What the kernel computes once for each left part; `rows` (n, D) holds all of them."""
        raise NotImplementedError

    def begin(self, rights: Sequence[Bucket], columns: Tensor) -> None:
        """Start on the right parts, whose fragments are `columns` (n, D)."""
        self.rights, self.waiting, self.waiting_values = rights, [], 0

    def tile(self, similarity: Tensor, lefts: Sequence[Bucket], left_sides: Sequence[Any]) -> None:
        """Reduce one product; the left items of successive tiles follow each other."""
        # A tile may have been filled up below its last part.
        rows = similarity.split([*(part.size for part in lefts), len(similarity) - sum(part.size for part in lefts)])
        for piece, left, side in zip(rows, lefts, left_sides, strict=False):
            values = self.reduce(piece.unflatten(0, (len(left), left.length)), side)
            self.first = self.first if self.waiting else left.start
            self.last = left.start + len(left)
            self.waiting.append(values)
            self.waiting_values += sum(value.numel() for value in values)
        if self.waiting_values >= WAITING_VALUES:
            self.finish()

    def reduce(self, similarity: Tensor, left_side: Any) -> list[Tensor]:
        """(c, F, columns) -> what waits, in one or several tensors with c in front."""
        raise NotImplementedError

    def scores_of(self, values: list[Tensor]) -> Sequence[Tensor]:
        """Scores (C, q) of each right part, from what waited, joined over the left items."""
        raise NotImplementedError

    def finish(self) -> None:
        """Add the scores of what waits."""
        if not self.waiting:
            return
        values = [torch.cat(pieces) for pieces in zip(*self.waiting, strict=True)]
        for right, scores in zip(self.rights, self.scores_of(values), strict=True):
            self.scores[self.first : self.last, right.span].add_(scores, alpha=self.weight)
        self.waiting, self.waiting_values = [], 0


class _TileWork(_Work):
    """Each right part gets its piece of the product."""

    def __init__(self, weight: float, scores: Tensor, kernel: TileKernel):
        super().__init__(weight, scores)
        self.kernel = kernel
        self.right_sides: list[Any] = []

    def left_sides(self, parts: Sequence[Bucket], rows: Tensor) -> Sequence[Any]:
        pieces = rows.split([part.size for part in parts])
        return [
            self.kernel.left_side(part, piece.view(len(part), part.length, -1))
            for part, piece in zip(parts, pieces, strict=True)
        ]

    def begin(self, rights: Sequence[Bucket], columns: Tensor) -> None:
        super().begin(rights, columns)
        pieces = columns.split([part.size for part in rights])
        self.right_sides = [
            self.kernel.right_side(part, piece.view(part.length, len(part), -1))
            for part, piece in zip(rights, pieces, strict=True)
        ]

    def reduce(self, similarity: Tensor, left_side: Any) -> list[Tensor]:
        pieces = similarity.split([part.size for part in self.rights], 2)
        return [
            self.kernel.reduce(piece.unflatten(2, (part.length, len(part))), left_side, right_side)
            for piece, part, right_side in zip(pieces, self.rights, self.right_sides, strict=True)
        ]

    def scores_of(self, values: list[Tensor]) -> Sequence[Tensor]:
        return [self.kernel.finish(value, side) for value, side in zip(values, self.right_sides, strict=True)]


class _ColumnWork(_Work):
    """The whole width of the product is reduced at once."""

    def __init__(self, weight: float, scores: Tensor, kernel: ColumnKernel):
        super().__init__(weight, scores)
        self.kernel = kernel

    def left_sides(self, parts: Sequence[Bucket], rows: Tensor) -> Sequence[Any]:
        return [None] * len(parts)

    def reduce(self, similarity: Tensor, left_side: None) -> list[Tensor]:
        return [self.kernel.reduce_columns(similarity)]

    def scores_of(self, values: list[Tensor]) -> Sequence[Tensor]:
        pieces = values[0].float().split([part.size for part in self.rights], 1)
        return [
            self.kernel.finish(piece.unflatten(1, (part.length, len(part))))
            for piece, part in zip(pieces, self.rights, strict=True)
        ]


def _work(weight: float, kernel: Kernel, scores: Tensor) -> _Work:
    if isinstance(kernel, ColumnKernel):
        return _ColumnWork(weight, scores, kernel)
    if isinstance(kernel, TileKernel):
        return _TileWork(weight, scores, kernel)
    raise TypeError(f"{type(kernel).__name__} is neither a TileKernel nor a ColumnKernel")


def _items(buckets: Sequence[Bucket]) -> Tensor:
    return torch.cat([bucket.items for bucket in buckets])
