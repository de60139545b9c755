"""Max-sim: each element of one side takes its best match on the other, then the elements are pooled.

The token similarities of a batch are never held whole: they are computed in tiles over real fragments only, and what is
kept for the gradient is the index of each maximum, one byte of it where that is enough.

Shape letters: I images, T captions, R regions, W words, D width; C items of the side that is searched (left) with F
fragments, Q items of the searching side (right) with L fragments, P real right fragments of all items together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from harness.errors import InvalidFragments
from harness.similarity.pooling import Mean, Pooling

#: Similarities of one tile: near the caches of a processor, enough to fill a GPU.
TILE_ELEMENTS = {"cpu": 2**20, "cuda": 2**27}
#: Of a maximum that writes no tile.
UNLIMITED = 2**62

#: (rows (c, F, D), words (P, D), whether indices are wanted) -> maxima (c, P), and their indices (c, P) or None
Maximum = Callable[[Tensor, Tensor, bool], tuple[Tensor, Tensor | None]]
#: (rows, fragments of the longest item) -> a maximum that writes no tile, or None where there is none
FusedMaximum = Callable[[Tensor, int], Maximum | None]


def max_sim(
    images: Tensor,
    image_mask: Tensor,
    texts: Tensor,
    text_mask: Tensor,
    *,
    direction: str = "t2i",
    pooling: Pooling | None = None,
    fused: FusedMaximum | None = None,
) -> Tensor:
    """Max-sim (I, T) in plain torch; arguments and errors as `harness.similarity.max_sim`.

    Args:
        images, image_mask, texts, text_mask, direction, pooling: as there.
        fused: what may stand in for the product and the maximum in the forward pass.
    """
    pool = Mean() if pooling is None else pooling
    if direction == "t2i":
        return pool(best_match(images, image_mask, texts, text_mask, fused), 2, text_mask[None])
    if direction == "i2t":
        return pool(best_match(texts, text_mask, images, image_mask, fused), 2, image_mask[None]).T
    raise ValueError(f"direction must be 't2i' or 'i2t', got '{direction}'")


def best_match(
    left: Tensor, left_mask: Tensor, right: Tensor, right_mask: Tensor, fused: FusedMaximum | None = None
) -> Tensor:
    """The largest similarity of each right fragment with the fragments of each left item.

    Args:
        left: (C, F, D).
        left_mask: (C, F) bool, True = real; at least one per item.
        right: (Q, L, D).
        right_mask: (Q, L) bool.
        fused: as in `max_sim`.

    Returns:
        (C, Q, L) float32, or float64 for float64 vectors; 0 at padded right fragments.

    Raises:
        InvalidFragments: the sides differ in width.
    """
    require_one_width(left, right)
    lengths, order = left_mask.sum(1).sort(stable=True)
    rows = left.flatten(0, 1)
    if not bool(left_mask.all()):  # otherwise they are in order already, and a copy is saved
        fragments = left_mask[order].nonzero()
        rows = rows[order[fragments[:, 0]] * left.shape[1] + fragments[:, 1]]
    places = right_mask.flatten().nonzero().squeeze(1)
    words = right.flatten(0, 1)[places]
    kind = rows.device.type
    if torch.is_autocast_enabled(kind):
        rows, words = rows.to(torch.get_autocast_dtype(kind)), words.to(torch.get_autocast_dtype(kind))
    maximum = fused(rows, int(lengths[-1])) if fused else None
    best = _BestMatch.apply(rows, words, lengths.tolist(), torch.is_grad_enabled(), maximum)
    unpacked = best.new_zeros(len(best), right_mask.numel()).index_copy(1, places, best)
    return unpacked[order.argsort()].unflatten(1, right_mask.shape)


def require_one_width(left: Tensor, right: Tensor) -> None:
    """Refuse sides of different widths.

    Raises:
        InvalidFragments: naming both.
    """
    if left.shape[-1] != right.shape[-1]:
        raise InvalidFragments(
            f"the sides have widths {left.shape[-1]} and {right.shape[-1]}; both must have one width D"
        )


class _BestMatch(torch.autograd.Function):
    """(P_left, D), (P, D) -> (C, P): left rows belong to items of the given, rising lengths."""

    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, words: Tensor, lengths: Sequence[int], keep: bool, fused: Maximum | None
    ) -> Tensor:
        best = torch.empty(len(lengths), len(words), dtype=_precision(rows), device=rows.device)
        keep = keep and any(ctx.needs_input_grad[:2])
        # One byte per index where that is enough.
        kind = torch.uint8 if lengths[-1] <= 256 else torch.int16 if lengths[-1] <= 2**15 else torch.int32
        index = torch.empty(best.shape if keep else (0,), dtype=kind, device=rows.device)
        limit, maximum = (UNLIMITED, fused) if fused else (_limit(rows), _product_then_max)
        for items, part, length in _tiles(lengths, len(words), limit):
            values, where = maximum(rows[part].unflatten(0, (-1, length)), words, keep)
            best[items] = values
            if where is not None:
                index[items] = where
        ctx.save_for_backward(rows, words, index)
        ctx.lengths = lengths
        return best

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        rows, words, index = ctx.saved_tensors
        to_rows = torch.empty_like(rows)
        to_words = torch.zeros_like(words, dtype=_precision(words))
        for items, part, length in _tiles(ctx.lengths, len(words), _limit(rows)):
            of_tile = gradient[items, None].to(rows.dtype)
            spread = of_tile.new_zeros(len(of_tile), length, len(words))
            spread = spread.scatter_(1, index[items, None].long(), of_tile).flatten(0, 1)
            to_rows[part] = spread @ words
            to_words += spread.T @ rows[part]
        return to_rows, to_words.to(words.dtype), None, None, None


def _product_then_max(rows: Tensor, words: Tensor, keep: bool) -> tuple[Tensor, Tensor | None]:
    similarity = (rows.flatten(0, 1) @ words.T).unflatten(0, rows.shape[:2])
    return similarity.max(1) if keep else (similarity.amax(1), None)


def _precision(values: Tensor) -> torch.dtype:
    return torch.promote_types(values.dtype, torch.float32)


def _limit(rows: Tensor) -> int:
    return TILE_ELEMENTS.get(rows.device.type, TILE_ELEMENTS["cuda"])


def _tiles(lengths: Sequence[int], columns: int, limit: int) -> Iterator[tuple[slice, slice, int]]:
    """Items of one length, their rows, and the length; as many items as a tile of `limit` elements holds, at least one."""
    first, row = 0, 0
    while first < len(lengths):
        length = lengths[first]
        last, fitting = first + 1, max(1, limit // (length * columns))
        while last < len(lengths) and lengths[last] == length and last - first < fitting:
            last += 1
        yield slice(first, last), slice(row, row + (last - first) * length), length
        row += (last - first) * length
        first = last
