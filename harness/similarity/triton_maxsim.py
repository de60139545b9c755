"""Max-sim on a GPU with the maximum fused into the matrix product: the token similarities are never written to memory.

A program computes the maxima of a block of items and a block of packed words. It walks over the fragments of its items:
fragment f of all items times the words is an ordinary tile of a product, whose running maximum stays in registers. There
is no shuffle, no padding of words, and no atomic, so the result is deterministic. The products are accumulated in
float32 whatever the operands are.

Imported only where it is asked for (`ITM_FUSED=1`, see `harness.similarity.assignment`): its arithmetic is tested through
Triton's interpreter, but it has not been measured on a GPU yet.

Shape letters: C items with F fragments each (exactly), P words, D width.
"""

# mypy: ignore-errors

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor


def best_rows(rows: Tensor, words: Tensor, keep_index: bool) -> tuple[Tensor, Tensor | None]:
    """Largest product of each word with the fragments of each item.

    Args:
        rows: (C, F, D) fragments, contiguous along D.
        words: (P, D), of the same dtype: float32, float16 or bfloat16.
        keep_index: whether the index of the maximum is wanted, for the gradient.

    Returns:
        (C, P) float32 maxima, and (C, P) int16 indices of the first fragment that reaches each (or None).
    """
    items, fragments, width = rows.shape
    best = torch.empty(items, len(words), device=rows.device, dtype=torch.float32)
    index = torch.empty(best.shape if keep_index else (1, 1), device=rows.device, dtype=torch.int16)
    grid = (triton.cdiv(len(words), 128), triton.cdiv(items, 64))
    _best_rows[grid](
        rows,
        words,
        best,
        index,
        items,
        fragments,
        len(words),
        width,
        *rows.stride()[:2],
        words.stride(0),
        KEEP_INDEX=keep_index,
        EXACT=rows.dtype == torch.float32,
        BLOCK_C=64,
        BLOCK_P=128,
        BLOCK_D=64,
        num_warps=8,
        num_stages=3,
    )
    return best, index if keep_index else None


@triton.jit
def _best_rows(
    rows,
    words,
    best,
    index,
    items,
    fragments,
    count,
    width,
    item_stride,
    row_stride,
    word_stride,
    KEEP_INDEX: tl.constexpr,
    EXACT: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    # Programs that follow each other share the items and walk over the words, which the L2 cache then holds.
    item = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    word = tl.program_id(0) * BLOCK_P + tl.arange(0, BLOCK_P)
    inner = tl.arange(0, BLOCK_D)
    real_item, real_word = item < items, word < count
    item_rows = rows + item.to(tl.int64)[:, None] * item_stride
    word_rows = words + word.to(tl.int64)[None, :] * word_stride

    largest = tl.full((BLOCK_C, BLOCK_P), float("-inf"), tl.float32)
    where = tl.zeros((BLOCK_C, BLOCK_P), tl.int32)
    for fragment in range(fragments):
        similarity = tl.zeros((BLOCK_C, BLOCK_P), tl.float32)
        for start in range(0, width, BLOCK_D):
            depth = start + inner
            left = tl.load(
                item_rows + fragment * row_stride + depth[None, :],
                mask=real_item[:, None] & (depth[None, :] < width),
                other=0.0,
            )
            right = tl.load(word_rows + depth[:, None], mask=real_word[None, :] & (depth[:, None] < width), other=0.0)
            similarity = tl.dot(left, right, similarity, input_precision="ieee" if EXACT else "tf32")
        if KEEP_INDEX:
            where = tl.where(similarity > largest, fragment, where)
        largest = tl.maximum(largest, similarity)

    place = item.to(tl.int64)[:, None] * count + word[None, :]
    real = real_item[:, None] & real_word[None, :]
    tl.store(best + place, largest, mask=real)
    if KEEP_INDEX:
        tl.store(index + place, where.to(tl.int16), mask=real)
