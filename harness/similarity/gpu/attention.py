"""Cross-attention on a GPU from a tile of token similarities, in one pass: attention, cosines and their pooling.

A program scores one left item (the context: F fragments) with a few right items of one length L. It reads their
similarities twice, position by position: first for the norm over an item's fragments, then for the weights e, the length
of what they attend to, and the pooled cosine. Nothing of the size of the tile is written. Deterministic: no atomics.

With the Cholesky factor H of the context's Gram matrix G = H' H, the squared length e' G e is |H e|^2, a product of which
only a sum of squares is needed. Equal fragments make G singular; in float64, with a jitter far below what the result is
rounded to, it has a factor all the same. The context is cut in two, a power of two and the rest, since a program's tensors have
powers of two as extents: 36 regions take 32 + 16 rows instead of 64.

The largest term of the softmax over the context is divided out where it could overflow, or all of them underflow; it
cancels in the cosine, as the denominator does.

Imported only on a GPU (see `harness.similarity.gpu.fused`) or under Triton's interpreter.

Shape letters: c left items with F fragments each, n right items with P columns in all, L fragments of one item.
"""

# mypy: ignore-errors

from __future__ import annotations

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

#: Right items of a program; columns of each position start at multiples of it, so that whole vectors are read.
ITEMS = 16
#: The largest exponent that needs no maximum taken off: its exponential still fits half precision.
SAFE_EXPONENT = 10.0
#: Added to the diagonal of a Gram matrix in float64, as a share of its mean: equal or zero fragments make it singular.
JITTER = 1e-11


def context_split(fragments: int) -> tuple[int, int]:
    """Rows of both parts of a context: powers of two, at least 16; the second may be 0."""
    first = max(16, 2 ** (fragments.bit_length() - 1))
    rest = fragments - first
    return first, max(16, triton.next_power_of_2(rest)) if rest > 0 else 0


def gram_factors(rows: Tensor) -> Tensor:
    """(c, F, D) -> (c, F', F') upper triangular factors of the Gram matrices, filled up with 0, in the rows' dtype."""
    precise = rows.double()
    gram = torch.bmm(precise, precise.transpose(1, 2))
    diagonal = gram.diagonal(dim1=1, dim2=2)
    diagonal += JITTER * diagonal.mean(1, keepdim=True) + 1e-30
    factor, _ = torch.linalg.cholesky_ex(gram, upper=True)
    spare = sum(context_split(rows.shape[1])) - rows.shape[1]
    return F.pad(factor, (0, spare, 0, spare)).to(rows.dtype).contiguous()


def attend(
    similarity: Tensor,
    factors: Tensor,
    norms: Tensor,
    blocks: Tensor,
    items: int,
    norm: str,
    leak: float,
    inverse_temperature: float,
    pooling: str,
    sharpness: float,
    scale: float,
) -> Tensor:
    """Pooled cosines of each left item with each right item.

    Args:
        similarity: (c, F, P), contiguous along P.
        factors: of `gram_factors`.
        norms: (P,) float32, of the right fragments.
        blocks: (blocks, 5) int32, from `block_table`.
        items: n.
        norm: "l2", "l1" or "none", of the similarities over a right item's fragments.
        leak: slope of negative similarities in the attention, at most 1 (they are taken as they are).
        inverse_temperature: SCAN's lambda1.
        pooling: "lse", "mean", "max" or "sum".
        sharpness: of "lse".
        scale: of "lse".

    Returns:
        (c, n) float32.
    """
    contexts, fragments, _ = similarity.shape
    first, rest = context_split(fragments)
    scores = torch.empty(contexts, items, device=similarity.device, dtype=torch.float32)
    with torch.cuda.device_of(similarity):  # Triton launches on the current device
        _attend[(len(blocks) * contexts,)](
            *(similarity, factors, norms, blocks, scores, len(blocks), fragments, items),
            *(*similarity.stride()[:2], leak, inverse_temperature, sharpness, scale),
            NORM=norm,
            POOLING=pooling,
            BOUNDED=norm != "none" and inverse_temperature <= SAFE_EXPONENT,
            PRECISION="tf32x3" if factors.dtype == torch.float32 else "tf32",
            FULL=fragments >= first,
            BLOCK_A=first,
            BLOCK_B=rest,
            BLOCK_N=ITEMS,
            num_warps=1,
        )
    return scores


def block_table(lengths: list[int], counts: list[int], steps: list[int]) -> Tensor:
    """What each program reads: first column, columns per position, positions, real items, first item; (blocks, 5) int32.

    Args:
        lengths: L of each part of the right items.
        counts: items of each part.
        steps: columns per position of each part: `counts` filled up to a multiple of `ITEMS`.
    """
    rows: list[tuple[int, ...]] = []
    column, item = 0, 0
    for length, count, step in zip(lengths, counts, steps, strict=True):
        rows.extend(
            (column + first, step, length, min(ITEMS, count - first), item + first) for first in range(0, count, ITEMS)
        )
        column += length * step
        item += count
    return torch.tensor(rows, dtype=torch.int32)


@triton.jit
def _attention(values, leak):
    return tl.maximum(values, leak * values)


@triton.jit
def _size(attention, NORM: tl.constexpr):
    return attention * attention if NORM == "l2" else tl.abs(attention)


@triton.jit
def _factor(total, inverse_temperature, NORM: tl.constexpr):
    # Authors' smallest norm, see `harness.similarity.reference.attention.EPSILON`.
    return inverse_temperature / ((tl.sqrt(total) if NORM == "l2" else total) + 1e-8)


@triton.jit
def _attend(
    similarity,
    factors,
    norms,
    blocks,
    scores,
    count,
    fragments,
    items,
    context_stride,
    fragment_stride,
    leak,
    inverse_temperature,
    sharpness,
    scale,
    NORM: tl.constexpr,
    POOLING: tl.constexpr,
    BOUNDED: tl.constexpr,
    PRECISION: tl.constexpr,
    FULL: tl.constexpr,
    BLOCK_A: tl.constexpr,
    BLOCK_B: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    EPSILON: tl.constexpr = 1e-8
    # Programs that follow each other read neighbouring columns of the same rows.
    context = (tl.program_id(0) // count).to(tl.int64)
    table = blocks + tl.program_id(0) % count * 5
    column = tl.multiple_of(tl.load(table), BLOCK_N)
    step = tl.multiple_of(tl.load(table + 1), BLOCK_N)
    length, real_items, first_item = tl.load(table + 2), tl.load(table + 3), tl.load(table + 4)

    # Columns that fill a position up are zeros, so only rows are masked; a zero row of the factor drops what is read there.
    item = tl.arange(0, BLOCK_N)
    row_a = tl.arange(0, BLOCK_A)
    real_a = (row_a < fragments)[:, None]
    tile = similarity + context * context_stride + (column + item)[None, :]
    tile_a = tile + row_a.to(tl.int64)[:, None] * fragment_stride
    WIDTH: tl.constexpr = BLOCK_A + BLOCK_B
    pairs = factors + context * WIDTH * WIDTH
    factor_aa = tl.load(pairs + row_a[:, None] * WIDTH + row_a[None, :])
    scale_a = tl.full((BLOCK_A, BLOCK_N), 1.0, tl.float32) * inverse_temperature
    if BLOCK_B > 0:
        row_b = BLOCK_A + tl.arange(0, BLOCK_B)
        real_b = (row_b < fragments)[:, None]
        tile_b = tile + row_b.to(tl.int64)[:, None] * fragment_stride
        factor_ab = tl.load(pairs + row_a[:, None] * WIDTH + row_b[None, :])
        factor_bb = tl.load(pairs + row_b[:, None] * WIDTH + row_b[None, :])
        scale_b = tl.full((BLOCK_B, BLOCK_N), 1.0, tl.float32) * inverse_temperature

    if NORM != "none":
        total_a = tl.zeros((BLOCK_A, BLOCK_N), tl.float32)
        if BLOCK_B > 0:
            total_b = tl.zeros((BLOCK_B, BLOCK_N), tl.float32)
        for position in range(length):
            if FULL:
                values_a = tl.load(tile_a + position * step).to(tl.float32)
            else:
                values_a = tl.load(tile_a + position * step, mask=real_a, other=0.0).to(tl.float32)
            total_a += _size(_attention(values_a, leak), NORM)
            if BLOCK_B > 0:
                values_b = tl.load(tile_b + position * step, mask=real_b, other=0.0).to(tl.float32)
                total_b += _size(_attention(values_b, leak), NORM)
        scale_a = _factor(total_a, inverse_temperature, NORM)
        if BLOCK_B > 0:
            scale_b = _factor(total_b, inverse_temperature, NORM)

    pooled = tl.full((BLOCK_N,), float("-inf") if POOLING == "max" else 0.0, tl.float32)
    highest = tl.full((BLOCK_N,), float("-inf"), tl.float32)
    for position in range(length):
        if FULL:
            values_a = tl.load(tile_a + position * step).to(tl.float32)
        else:
            values_a = tl.load(tile_a + position * step, mask=real_a, other=0.0).to(tl.float32)
        weights_a = _attention(values_a, leak) * scale_a
        if BLOCK_B > 0:
            values_b = tl.load(tile_b + position * step, mask=real_b, other=0.0).to(tl.float32)
            weights_b = _attention(values_b, leak) * scale_b
        if not BOUNDED:
            largest = tl.max(tl.where(real_a, weights_a, float("-inf")), axis=0)
            if BLOCK_B > 0:
                largest = tl.maximum(largest, tl.max(tl.where(real_b, weights_b, float("-inf")), axis=0))
                weights_b = tl.where(real_b, weights_b - largest[None, :], 0.0)
            weights_a = tl.where(real_a, weights_a - largest[None, :], 0.0)
        weights_a = tl.exp(weights_a)
        denominator = tl.sum(tl.where(real_a, weights_a, 0.0), axis=0)
        product = tl.sum(weights_a * values_a, axis=0)
        attended = tl.dot(factor_aa, weights_a.to(factor_aa.dtype), input_precision=PRECISION)
        if BLOCK_B > 0:
            weights_b = tl.exp(weights_b)
            denominator += tl.sum(tl.where(real_b, weights_b, 0.0), axis=0)
            product += tl.sum(weights_b * values_b, axis=0)
            half_b = weights_b.to(factor_aa.dtype)
            attended = tl.dot(factor_ab, half_b, attended, input_precision=PRECISION)
            attended_b = tl.dot(factor_bb, half_b, input_precision=PRECISION)
            squares = tl.sum(attended * attended, axis=0) + tl.sum(attended_b * attended_b, axis=0)
        else:
            squares = tl.sum(attended * attended, axis=0)
        length_of = tl.load(norms + column + position * step + item)
        # The smallest number that is divided by is one of normalised weights.
        cosine = product / tl.maximum(tl.sqrt(squares) * length_of, EPSILON * denominator)
        if POOLING == "lse":
            # What was summed is brought to the new maximum.
            value = sharpness * cosine
            new = tl.maximum(highest, value)
            pooled = pooled * tl.exp(highest - new) + tl.exp(value - new)
            highest = new
        elif POOLING == "max":
            pooled = tl.maximum(pooled, cosine)
        else:
            pooled += cosine
    if POOLING == "lse":
        pooled = (highest + tl.log(pooled)) * scale
    elif POOLING == "mean":
        pooled /= length
    tl.store(scores + context * items + first_item + item, pooled, mask=item < real_items)
