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
from harness.similarity.kernels import Kernel, PackedForm
from harness.similarity.packing import Bucket, columns_of, group, pack, rows_of

#: A left tile this full is filled up with zero rows to the usual size.
WORTH_FILLING = 0.75


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
    sides: Sequence[Sequence[Any]]


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
    left_tiles = _left_tiles(list(group(lefts, tile.rows, tile.rows)), terms, dtype)
    for parts in group(rights, tile.columns, tile.widest):
        sides = [[kernel.right_side(part) for _, kernel in terms] for part in parts]
        columns = columns_of(parts)
        product = products.prepare(columns if dtype is None else columns.to(dtype), len(left_tiles[0].rows), work)
        for left in left_tiles:
            _reduce(scores, terms, product(left.rows), left, parts, sides)


def _left_tiles(
    groups: Sequence[Sequence[Bucket]], terms: Sequence[tuple[float, Kernel]], dtype: torch.dtype | None
) -> list[_LeftTile]:
    """Tiles of one common number of rows, which a product that was prepared for it needs; a small rest stays small."""
    sizes = [sum(part.size for part in parts) for parts in groups]
    usual = max(sizes)
    tiles = []
    for parts, size in zip(groups, sizes, strict=True):
        rows = rows_of(parts)
        if size < usual and size > WORTH_FILLING * usual:
            rows = F.pad(rows, (0, 0, 0, usual - size))
        sides = [[kernel.left_side(part) for _, kernel in terms] for part in parts]
        tiles.append(_LeftTile(rows if dtype is None else rows.to(dtype), parts, sides))
    return tiles


def _reduce(
    scores: Tensor,
    terms: Sequence[tuple[float, Kernel]],
    similarity: Tensor,
    left: _LeftTile,
    rights: Sequence[Bucket],
    right_sides: Sequence[Sequence[Any]],
) -> None:
    """Hand each pair of bucket parts its piece of the product."""
    sizes = [part.size for part in left.parts]
    for rows, row, left_side in zip(similarity[: sum(sizes)].split(sizes), left.parts, left.sides, strict=True):
        pieces = rows.split([part.size for part in rights], 1)
        for piece, column, right_side in zip(pieces, rights, right_sides, strict=True):
            tile = piece.view(len(row), row.length, column.length, len(column))
            target = scores[row.span, column.span]
            for (weight, kernel), of_left, of_right in zip(terms, left_side, right_side, strict=True):
                target.add_(kernel.reduce(tile, of_left, of_right), alpha=weight)


def _items(buckets: Sequence[Bucket]) -> Tensor:
    return torch.cat([bucket.items for bucket in buckets])
