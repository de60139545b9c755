"""Kernels for a GPU that multiply the tile themselves, so that its similarities are not read in many passes.

They compute what `MaxSimKernel`, `CrossAttentionKernel` and the kernels of GRM and late interaction compute, and stand in
for them where Triton is installed and `harness.similarity.settings` allow it. Max-sim never writes the tile; its
float32 operands are multiplied in three TensorFloat-32 products, whose error is no larger than that of an ordinary float32
product. The others take the usual library's product and read the tile once or twice.

Shape letters: as in `harness.similarity.packed.kernels`.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.similarity import settings
from harness.similarity.gpu.weights import LeftWeights, RightWeights
from harness.similarity.packed.kernels import Kernel, Scratch
from harness.similarity.packed.layout import Bucket, Group
from harness.similarity.pooling import LogSumExp, Max, Mean, Pooling, Sum
from harness.similarity.reference.attention import LEAK

#: Fragments of the left items that the attention kernel can hold in its registers.
LARGEST_CONTEXT = 64
#: Attention norm -> (norm over an item's fragments, slope of negative similarities).
ATTENTION_NORMS = {
    "clipped_l2norm": ("l2", LEAK),
    "l2norm": ("l2", 1.0),
    "clipped_l1norm": ("l1", LEAK),
    "l1norm": ("l1", 1.0),
    "clipped": ("none", LEAK),
    "none": ("none", 1.0),
}
#: What the kernels multiply.
DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def available(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether fused kernels run on `device` for operands of `dtype`, and are wanted."""
    if device.type != "cuda" or dtype not in DTYPES or not settings.current().fused:
        return False
    return _triton_works() and torch.cuda.get_device_capability(device) >= (8, 0)


@cache
def _triton_works() -> bool:
    """Triton needs a C compiler for the part of a kernel that launches it, and looks for it in these places."""
    compilers = (os.environ.get("CC", ""), "cc", "gcc", "clang")
    return importlib.util.find_spec("triton") is not None and any(map(shutil.which, compilers))


@dataclass(frozen=True)
class FusedMaxSim(Kernel):
    """`MaxSimKernel` with the maximum fused into the product."""

    pooling: Pooling
    swapped: bool
    multiplies = True

    def left_side(self, items: Bucket, rows: Tensor) -> Any:
        from harness.similarity.gpu.maxsim import interleave

        return interleave(rows)

    def right_side(self, items: Group, columns: Tensor) -> tuple[Group, Tensor]:
        return items, columns.contiguous()

    def reduce(self, rows: Tensor, left: Any, right: tuple[Group, Tensor], scratch: Scratch) -> Tensor:
        """(c, F, D) -> (c, P): the largest similarity over F."""
        from harness.similarity.gpu.maxsim import best_rows

        return best_rows(left, right[1], keep_index=False)[0]

    def finish(self, values: Tensor, right: tuple[Group, Tensor]) -> Tensor:
        return right[0].joined(lambda view: self.pooling(view, 1), values)


@dataclass(frozen=True, eq=False)
class AlignedColumns:
    """n right items whose columns (P', D) are filled up with zeros, position by position, to whole vectors.

    `blocks` is of `harness.similarity.gpu.attention.block_table`.
    """

    items: Group
    columns: Tensor
    blocks: Tensor

    @classmethod
    def of(cls, items: Group, columns: Tensor) -> AlignedColumns:
        """From the columns (P, D) of a group."""
        from harness.similarity.gpu.attention import ITEMS, block_table

        counts = [len(part) for part in items.parts]
        steps = [count + -count % ITEMS for count in counts]
        table = block_table([part.length for part in items.parts], counts, steps)
        return cls(items, aligned(items, columns.T).T.contiguous(), table.to(columns.device))

    def similarity(self, rows: Tensor) -> Tensor:
        """(c, F, D) -> (c, F, P')."""
        return torch.mm(rows.flatten(0, 1), self.columns.T).unflatten(0, rows.shape[:2])


def aligned(items: Group, values: Tensor) -> Tensor:
    """(..., P) that belong to the columns of a group -> (..., P'), filled up with zeros."""
    from harness.similarity.gpu.attention import ITEMS

    return torch.cat([F.pad(view, (0, -view.shape[-1] % ITEMS)).flatten(-2) for view in items.each(values)], -1)


@dataclass(frozen=True)
class FusedCrossAttention(Kernel):
    """`CrossAttentionKernel` with everything after the product in one pass.

    Args:
        norm: of `ATTENTION_NORMS`.
        leak: likewise.
        inverse_temperature: SCAN's lambda1.
        pooling: name, sharpness and scale, see `harness.similarity.gpu.attention.attend`.
        swapped: True = regions attend to words.
    """

    norm: str
    leak: float
    inverse_temperature: float
    pooling: tuple[str, float, float]
    swapped: bool
    tiles_in_use = 2
    multiplies = True

    def left_side(self, items: Bucket, rows: Tensor) -> Tensor:
        """Factors of the Gram matrices."""
        from harness.similarity.gpu.attention import gram_factors

        return gram_factors(rows)

    def right_side(self, items: Group, columns: Tensor) -> tuple[AlignedColumns, Tensor]:
        """Columns, and their norms (P',) float32."""
        right = AlignedColumns.of(items, columns)
        return right, torch.linalg.vector_norm(right.columns, dim=-1, dtype=torch.float32)

    def reduce(self, rows: Tensor, left: Tensor, right: tuple[AlignedColumns, Tensor], scratch: Scratch) -> Tensor:
        """(c, F, D) -> scores (c, n)."""
        from harness.similarity.gpu.attention import attend

        columns, norms = right
        attention = self.norm, self.leak, self.inverse_temperature, *self.pooling
        return attend(columns.similarity(rows), left, norms, columns.blocks, len(columns.items), *attention)


class BothWays(Kernel):
    """Weighted maxima in both directions, as a kernel; a subclass says what the weights are."""

    tiles_in_use = 2
    multiplies = True

    def left_side(self, items: Bucket, rows: Tensor) -> LeftWeights:
        """Of a tile's images; `rows` (c, F, D)."""
        raise NotImplementedError

    def right_side(self, items: Group, columns: Tensor) -> tuple[AlignedColumns, RightWeights]:
        """Of a group's words, filled up by `aligned`; `columns` (P, D)."""
        raise NotImplementedError

    def activation(self, similarity: Tensor) -> Tensor:
        """What every token similarity goes through."""
        return similarity

    def reduce(
        self, rows: Tensor, left: LeftWeights, right: tuple[AlignedColumns, RightWeights], scratch: Scratch
    ) -> Tensor:
        """(c, F, D) -> (c, n)."""
        from harness.similarity.gpu.both_ways import both_ways

        columns, weights = right
        return both_ways(self.activation(columns.similarity(rows)), left, weights, columns.blocks, len(columns.items))


def pooling_terms(pooling: Pooling) -> tuple[str, float, float] | None:
    """Name, sharpness and scale of a pooling that the attention kernel has; None = it has not."""
    if isinstance(pooling, LogSumExp):
        return "lse", pooling.sharpness, pooling.scale
    return {Mean: ("mean", 1.0, 1.0), Max: ("max", 1.0, 1.0), Sum: ("sum", 1.0, 1.0)}.get(type(pooling))
