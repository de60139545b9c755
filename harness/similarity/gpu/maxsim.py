"""Max-sim on a GPU with the maximum fused into the matrix product: the token similarities are never written to memory.

The fragments of 64 items at a time are laid out fragment by fragment, so that a tile of the product holds a few
fragments of the same 64 items side by side, and the maximum over them is taken between the registers of one thread. A
program walks over the fragments of its items and keeps the running maximum of 128 words x 64 items in registers. There
is no padding of words, no shuffle and no atomic, so the result is deterministic. Products are accumulated in float32.

Imported only on a GPU (see `harness.similarity.gpu.fused`) or under Triton's interpreter.

Shape letters: C items with F fragments each (exactly), P words, D width.
"""

# mypy: ignore-errors

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

#: Items of a tile, and how many of their fragments it holds at most: together the columns of a tile of the product.
ITEMS, TOGETHER = 64, 4


@dataclass(frozen=True, eq=False)
class Interleaved:
    """Fragments in the order of the kernel.

    Args:
        rows: (blocks * steps * together * ITEMS, D), by block of ITEMS items, then by fragment; missing items are 0, and
            the last fragment is repeated to whole steps, which changes no maximum.
        items: C.
        fragments: F.
        together: fragments per step.
    """

    rows: Tensor
    items: int
    fragments: int
    together: int

    @property
    def steps(self) -> int:
        """Of `together` fragments each."""
        return triton.cdiv(self.fragments, self.together)


def interleave(rows: Tensor) -> Interleaved:
    """(C, F, D) fragments in the order of the kernel."""
    items, fragments, width = rows.shape
    # Few fragments are repeated when a step takes just two.
    together = TOGETHER if fragments % TOGETHER == 0 or fragments > 8 * TOGETHER else 2
    blocks, steps = triton.cdiv(items, ITEMS), triton.cdiv(fragments, together)
    spare = steps * together - fragments
    if spare:
        rows = torch.cat([rows, rows[:, -1:].expand(-1, spare, -1)], 1)
    if blocks * ITEMS != items:
        rows = F.pad(rows, (0, 0, 0, 0, 0, blocks * ITEMS - items))
    rows = rows.view(blocks, ITEMS, steps * together, width).transpose(1, 2).reshape(-1, width)
    return Interleaved(rows, items, fragments, together)


def best_rows(left: Interleaved, words: Tensor, keep_index: bool) -> tuple[Tensor, Tensor | None]:
    """Largest product of each word with the fragments of each item.

    Args:
        left: C items.
        words: (P, D), contiguous, of the same dtype: float32, float16 or bfloat16.
        keep_index: whether the index of the maximum is wanted, for the gradient; for at most 2^15 fragments.

    Returns:
        (C, P) float32 maxima, and (C, P) int16 indices of the first fragment that reaches each (or None).
    """
    count, width = words.shape
    best = torch.empty(left.items, count, device=words.device, dtype=torch.float32)
    index = torch.empty(best.shape if keep_index else (1, 1), device=words.device, dtype=torch.int16)
    depth = 64 if words.element_size() == 2 else 32
    grid = (triton.cdiv(count, 128) * triton.cdiv(left.items, ITEMS),)
    with torch.cuda.device_of(words):  # Triton launches on the current device
        _best_rows[grid](
            *(left.rows, words, best, index, left.items, left.steps, count, width),
            KEEP_INDEX=keep_index,
            PRECISION="tf32x3" if words.dtype == torch.float32 else "tf32",
            EVEN=width % depth == 0,
            TOGETHER=left.together,
            BLOCK_C=ITEMS,
            BLOCK_P=128,
            BLOCK_D=depth,
            NEIGHBOURS=4,
            num_warps=8,
            num_stages=3,
        )
    return best, index.clamp_(max=left.fragments - 1) if keep_index else None


@triton.jit
def _best_rows(
    rows,
    words,
    best,
    index,
    items,
    steps,
    count,
    width,
    KEEP_INDEX: tl.constexpr,
    PRECISION: tl.constexpr,
    EVEN: tl.constexpr,
    TOGETHER: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_D: tl.constexpr,
    NEIGHBOURS: tl.constexpr,
):
    # Programs that follow each other share a few blocks of items and walk over the words: both stay in the L2 cache.
    program = tl.program_id(0)
    item_blocks, word_blocks = tl.cdiv(items, BLOCK_C), tl.cdiv(count, BLOCK_P)
    band = program // (NEIGHBOURS * word_blocks)
    first_block = band * NEIGHBOURS
    in_band = tl.minimum(item_blocks - first_block, NEIGHBOURS)
    inside = program % (NEIGHBOURS * word_blocks)
    item_block, word_block = first_block + inside % in_band, inside // in_band

    COLUMNS: tl.constexpr = TOGETHER * BLOCK_C
    inner = tl.arange(0, BLOCK_D)
    word = word_block * BLOCK_P + tl.arange(0, BLOCK_P)
    word_rows = words + tl.minimum(word, count - 1).to(tl.int64)[:, None] * width + inner[None, :]
    first_row = item_block.to(tl.int64) * steps * COLUMNS
    item_rows = rows + (first_row + tl.arange(0, COLUMNS))[None, :] * width + inner[:, None]

    largest = tl.full((BLOCK_P, BLOCK_C), float("-inf"), tl.float32)
    where = tl.zeros((BLOCK_P, BLOCK_C), tl.int32)
    for step in range(steps):
        similarity = tl.zeros((BLOCK_P, COLUMNS), tl.float32)
        for start in range(0, width, BLOCK_D):
            if EVEN:
                left = tl.load(word_rows + start)
                right = tl.load(item_rows + start)
            else:
                left = tl.load(word_rows + start, mask=start + inner[None, :] < width, other=0.0)
                right = tl.load(item_rows + start, mask=start + inner[:, None] < width, other=0.0)
            similarity = tl.dot(left, right, similarity, input_precision=PRECISION)
        item_rows += COLUMNS * width
        several = tl.reshape(similarity, (BLOCK_P, TOGETHER, BLOCK_C))
        if KEEP_INDEX:
            highest, place = tl.max(several, axis=1, return_indices=True)
            where = tl.where(highest > largest, step * TOGETHER + place, where)
        else:
            highest = tl.max(several, axis=1)
        largest = tl.maximum(largest, highest)

    item = item_block * BLOCK_C + tl.arange(0, BLOCK_C)
    place = item.to(tl.int64)[None, :] * count + word[:, None]
    real = (item < items)[None, :] & (word < count)[:, None]
    tl.store(best + place, largest, mask=real)
    if KEEP_INDEX:
        tl.store(index + place, where.to(tl.int16), mask=real)
