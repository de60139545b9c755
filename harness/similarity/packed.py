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
    works = [_work(weight, kernel) for weight, kernel in terms]
    left_tiles = _left_tiles(list(group(lefts, tile.rows, tile.rows)), works, dtype)
    for parts in group(rights, tile.columns, tile.widest):
        columns = columns_of(parts)
        product = products.prepare(columns if dtype is None else columns.to(dtype), len(left_tiles[0].rows), work)
        for one in works:
            one.begin(parts, scores)
        for left in left_tiles:
            similarity = product(left.rows)
            for one, sides in zip(works, left.sides, strict=True):
                one.tile(similarity, left.parts, sides)
        for one in works:
            one.end()


def _left_tiles(
    groups: Sequence[Sequence[Bucket]], works: Sequence[_TileWork | _ColumnWork], dtype: torch.dtype | None
) -> list[_LeftTile]:
    """Tiles of one common number of rows, which a product that was prepared for it needs; a small rest stays small."""
    sizes = [sum(part.size for part in parts) for parts in groups]
    usual = max(sizes)
    tiles = []
    for parts, size in zip(groups, sizes, strict=True):
        rows = rows_of(parts)
        if size < usual and size > WORTH_FILLING * usual:
            rows = F.pad(rows, (0, 0, 0, usual - size))
        sides = [one.left_sides(parts) for one in works]
        tiles.append(_LeftTile(rows if dtype is None else rows.to(dtype), parts, sides))
    return tiles


class _TileWork:
    """A tile kernel at work: each pair of bucket parts gets its piece of the product."""

    def __init__(self, weight: float, kernel: TileKernel):
        self.weight, self.kernel = weight, kernel

    def left_sides(self, parts: Sequence[Bucket]) -> list[Any]:
        return [self.kernel.left_side(part) for part in parts]

    def begin(self, rights: Sequence[Bucket], scores: Tensor) -> None:
        """Start on the columns of `rights`."""
        self.rights, self.scores = rights, scores
        self.right_sides = [self.kernel.right_side(part) for part in rights]

    def tile(self, similarity: Tensor, lefts: Sequence[Bucket], left_sides: Sequence[Any]) -> None:
        """Reduce one product."""
        for rows, left, left_side in zip(_rows(similarity, lefts), lefts, left_sides, strict=True):
            pieces = rows.split([part.size for part in self.rights], 1)
            for piece, right, right_side in zip(pieces, self.rights, self.right_sides, strict=True):
                tile = piece.view(len(left), left.length, right.length, len(right))
                scores = self.kernel.reduce(tile, left_side, right_side)
                self.scores[left.span, right.span].add_(scores, alpha=self.weight)

    def end(self) -> None:
        """Nothing is left to do."""


class _ColumnWork:
    """A column kernel at work: whole products are reduced, and the values of many left items are pooled at once."""

    def __init__(self, weight: float, kernel: ColumnKernel):
        self.weight, self.kernel = weight, kernel
        self.values: list[Tensor] = []
        self.spans: list[slice] = []

    def left_sides(self, parts: Sequence[Bucket]) -> None:
        return None

    def begin(self, rights: Sequence[Bucket], scores: Tensor) -> None:
        """Start on the columns of `rights`."""
        self.rights, self.scores = rights, scores

    def tile(self, similarity: Tensor, lefts: Sequence[Bucket], left_sides: None) -> None:
        """Reduce one product."""
        for rows, left in zip(_rows(similarity, lefts), lefts, strict=True):
            self.values.append(self.kernel.reduce_columns(rows.unflatten(0, (len(left), left.length))))
            self.spans.append(left.span)
        if sum(value.numel() for value in self.values) >= WAITING_VALUES:
            self.end()

    def end(self) -> None:
        """Pool what waits; the left items of successive tiles follow each other."""
        if not self.values:
            return
        span = slice(self.spans[0].start, self.spans[-1].stop)
        pieces = torch.cat(self.values).float().split([part.size for part in self.rights], 1)
        for piece, right in zip(pieces, self.rights, strict=True):
            scores = self.kernel.pool(piece.unflatten(1, (right.length, len(right))))
            self.scores[span, right.span].add_(scores, alpha=self.weight)
        self.values, self.spans = [], []


def _work(weight: float, kernel: Kernel) -> _TileWork | _ColumnWork:
    if isinstance(kernel, ColumnKernel):
        return _ColumnWork(weight, kernel)
    if isinstance(kernel, TileKernel):
        return _TileWork(weight, kernel)
    raise TypeError(f"{type(kernel).__name__} is neither a TileKernel nor a ColumnKernel")


def _rows(similarity: Tensor, parts: Sequence[Bucket]) -> tuple[Tensor, ...]:
    """The rows of each part; a tile may have been filled up below them."""
    sizes = [part.size for part in parts]
    return similarity[: sum(sizes)].split(sizes)


def _items(buckets: Sequence[Bucket]) -> Tensor:
    return torch.cat([bucket.items for bucket in buckets])
