"""Weighted maxima in both directions from a tile of token similarities on a GPU, with and without gates, read twice.

The first kernel finds the best left fragments of each column, the second the best positions of each left fragment, and
adds the weighted sums of both. Nothing of the size of the tile is written. Deterministic: no atomics.

Imported only on a GPU (see `harness.similarity.gpu.fused`) or under Triton's interpreter.

Shape letters: c left items with F fragments each, n right items with P columns in all, L fragments of one item.
"""

# mypy: ignore-errors

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from harness.similarity.gpu.attention import ITEMS
from harness.similarity.gpu.weights import LeftWeights, RightWeights

#: Left fragments and columns of a step of the first kernel; left fragments of a program of the second.
ROWS, COLUMNS, CHUNK = 32, 128, 64


def both_ways(similarity: Tensor, left: LeftWeights, right: RightWeights, blocks: Tensor, items: int) -> Tensor:
    """The sum of all weighted maxima.

    Args:
        similarity: (c, F, P), contiguous along P.
        left: of the fragments.
        right: of the columns.
        blocks: (blocks, 5) int32, from `harness.similarity.gpu.attention.block_table`.
        items: n.

    Returns:
        (c, n) float32.
    """
    contexts, fragments, columns = similarity.shape
    gated, unused = left.gates is not None, left.plain
    of_columns = torch.empty(contexts, columns, device=similarity.device, dtype=torch.float32)
    chunks = triton.cdiv(fragments, CHUNK)
    scores = torch.empty(chunks, contexts, items, device=similarity.device, dtype=torch.float32)
    of_gates = (left.gates, right.gated, right.rest, right.gates, left.gated) if gated else (unused,) * 5
    left_gates, right_gated, right_rest, right_gates, left_gated = of_gates
    strides = similarity.stride()[:2]
    with torch.cuda.device_of(similarity):  # Triton launches on the current device
        _best_fragments[(triton.cdiv(columns, COLUMNS) * contexts,)](
            *(similarity, left_gates, right.plain, right_gated, right_rest, of_columns),
            *(left.split, fragments, columns, *strides),
            GATED=gated,
            REST=gated and left.split < fragments,
            BLOCK_F=ROWS,
            BLOCK_P=COLUMNS,
            num_warps=4,
        )
        _best_positions[(len(blocks) * contexts, chunks)](
            *(similarity, right_gates, left.plain, left_gated, of_columns, blocks, scores),
            *(len(blocks), fragments, columns, contexts, items, *strides),
            GATED=gated,
            BLOCK_F=CHUNK,
            BLOCK_N=ITEMS,
            num_warps=1,
        )
    return scores.sum(0)


@triton.jit
def _best_fragments(
    similarity,
    gates,
    plain_weights,
    gated_weights,
    rest_weights,
    of_columns,
    split,
    fragments,
    columns,
    context_stride,
    fragment_stride,
    GATED: tl.constexpr,
    REST: tl.constexpr,
    BLOCK_F: tl.constexpr,
    BLOCK_P: tl.constexpr,
):
    blocks = tl.cdiv(columns, BLOCK_P)
    context = (tl.program_id(0) // blocks).to(tl.int64)
    column = tl.program_id(0) % blocks * BLOCK_P + tl.arange(0, BLOCK_P)
    real = column < columns
    row = tl.arange(0, BLOCK_F)
    tile = similarity + context * context_stride + column[None, :]
    LOWEST: tl.constexpr = float("-inf")
    plain = tl.full((BLOCK_F, BLOCK_P), LOWEST, tl.float32)
    gated = tl.full((BLOCK_F, BLOCK_P), LOWEST, tl.float32)
    rest = tl.full((BLOCK_F, BLOCK_P), LOWEST, tl.float32)
    for first in range(0, fragments, BLOCK_F):
        fragment = first + row
        inside = (fragment < fragments)[:, None] & real[None, :]
        values = tl.load(tile + fragment.to(tl.int64)[:, None] * fragment_stride, mask=inside, other=LOWEST)
        values = values.to(tl.float32)
        before = (fragment < split)[:, None]
        plain = tl.maximum(plain, tl.where(before, values, LOWEST))
        if GATED:
            gate = tl.load(gates + context * fragments + fragment, mask=fragment < split, other=1.0)
            gated = tl.maximum(gated, tl.where(before, values * gate[:, None], LOWEST))
            if REST:
                rest = tl.maximum(rest, tl.where(before, LOWEST, values))
    total = tl.max(plain, axis=0) * tl.load(plain_weights + column, mask=real, other=0.0)
    if GATED:
        total += tl.max(gated, axis=0) * tl.load(gated_weights + column, mask=real, other=0.0)
        if REST:
            total += tl.max(rest, axis=0) * tl.load(rest_weights + column, mask=real, other=0.0)
    tl.store(of_columns + context * columns + column, total, mask=real)


@triton.jit
def _best_positions(
    similarity,
    gates,
    plain_weights,
    gated_weights,
    of_columns,
    blocks,
    scores,
    count,
    fragments,
    columns,
    contexts,
    items,
    context_stride,
    fragment_stride,
    GATED: tl.constexpr,
    BLOCK_F: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    context, chunk = (tl.program_id(0) // count).to(tl.int64), tl.program_id(1)
    table = blocks + tl.program_id(0) % count * 5
    column = tl.multiple_of(tl.load(table), BLOCK_N)
    step = tl.multiple_of(tl.load(table + 1), BLOCK_N)
    length, real_items, first_item = tl.load(table + 2), tl.load(table + 3), tl.load(table + 4)
    item = tl.arange(0, BLOCK_N)
    fragment = chunk * BLOCK_F + tl.arange(0, BLOCK_F)
    inside = fragment < fragments
    tile = similarity + context * context_stride + fragment.to(tl.int64)[:, None] * fragment_stride
    tile += (column + item)[None, :]

    plain = tl.full((BLOCK_F, BLOCK_N), float("-inf"), tl.float32)
    gated = tl.full((BLOCK_F, BLOCK_N), float("-inf"), tl.float32)
    total = tl.zeros((BLOCK_N,), tl.float32)
    for position in range(length):
        values = tl.load(tile + position * step, mask=inside[:, None], other=0.0).to(tl.float32)
        plain = tl.maximum(plain, values)
        columns_here = column + position * step + item
        if GATED:
            gated = tl.maximum(gated, values * tl.load(gates + columns_here)[None, :])
        if chunk == 0:
            total += tl.load(of_columns + context * columns + columns_here)
    weight = tl.load(plain_weights + context * fragments + fragment, mask=inside, other=0.0)
    total += tl.sum(plain * weight[:, None], axis=0)
    if GATED:
        weight = tl.load(gated_weights + context * fragments + fragment, mask=inside, other=0.0)
        total += tl.sum(gated * weight[:, None], axis=0)
    place = (chunk.to(tl.int64) * contexts + context) * items + first_item + item
    tl.store(scores + place, total, mask=item < real_items)
