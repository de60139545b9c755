"""Kernels of a tile that numba compiles: what SCAN's, GRM's and late interaction's own compute, in one pass instead of ten.

They stand in for those on a CPU where numba is installed (`pip install itm-harness[fast]`) and `harness.similarity.settings`
allow it. They compile on first use, and numba keeps the code on disk.

Shape letters: as in `harness.similarity.packed.kernels`.
"""

from __future__ import annotations

import importlib.util
import logging
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.errors import one_line
from harness.similarity import settings
from harness.similarity.gpu.weights import LeftWeights, RightWeights
from harness.similarity.packed import products
from harness.similarity.packed.attention import SAFE_EXPONENT, CrossAttentionKernel
from harness.similarity.packed.kernels import Kernel, Scratch
from harness.similarity.packed.layout import Bucket, Group
from harness.similarity.reductions import precise
from harness.similarity.reference.attention import EPSILON, LEAK

logger = logging.getLogger(__name__)

#: Attention norm -> (slope of negative similarities, whether the norm over an item's fragments is L1).
ATTENTION_NORMS = {
    "clipped_l2norm": (LEAK, False),
    "l2norm": (1.0, False),
    "clipped_l1norm": (LEAK, True),
    "l1norm": (1.0, True),
}
#: Fewer columns take the loops that run over left items. A tile of so many left items mostly meets few columns.
FEW, MANY = 32, 64
#: What a tile may be multiplied from. Float64 is reduced by torch in float64.
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.int8)


def available(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether compiled kernels run on `device` for operands of `dtype`, and are wanted."""
    version = _numba() if device.type == "cpu" and dtype in DTYPES and settings.current().fused else None
    if version is not None:
        products.note_kernels(f"numba {version}")
    return version is not None


@cache
def _numba() -> str | None:
    """The version of numba, if it is there, takes the NumPy that is there, and may keep compiled code on the disk."""
    if importlib.util.find_spec("numba") is None:
        return None
    try:
        import numba

        from harness.similarity.compiled import attention, both_ways  # noqa: F401 - finds a folder for the compiled code
    except (
        ImportError,
        RuntimeError,
    ) as error:  # a NumPy that is newer than it knows, or no folder that can be written
        logger.warning("numba cannot be used, torch computes in its place: %s", one_line(error, 200))
        return None
    return numba.__version__


@dataclass(frozen=True, eq=False)
class Columns:
    """The items of a right group, and of each of its parts the length L and the number q of its items: (parts,) int64."""

    items: Group
    lengths: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, items: Group) -> Columns:
        """The columns of a group."""
        return cls(
            items,
            np.array([part.length for part in items.parts], np.int64),
            np.array([len(part) for part in items.parts], np.int64),
        )


@dataclass(frozen=True, eq=False)
class Rows:
    """What is known of c left items: see `LeftWeights`; `weights` (3, c, F) are gates, and those of plain and gated maxima."""

    split: int
    gated: bool
    weights: Tensor


@dataclass(frozen=True)
class CompiledAttention(Kernel):
    """`CrossAttentionKernel` with everything between the product and the pooling in one pass."""

    plain: CrossAttentionKernel  #: what it computes
    tiles_in_use, reads_position_first = 2, False

    @property
    def swapped(self) -> bool:  # type: ignore[override]
        """As `plain`."""
        return self.plain.swapped

    def left_side(self, items: Bucket, rows: Tensor) -> Tensor:
        """Gram matrices (c, F, F), by item last where a tile holds many: those meet few columns."""
        gram = self.plain.left_side(items, rows).float()
        return gram.permute(1, 2, 0).contiguous().permute(2, 0, 1) if len(gram) >= MANY else gram.contiguous()

    def right_side(self, items: Group, columns: Tensor) -> tuple[Group, Tensor, Columns, tuple[np.ndarray, np.ndarray]]:
        """The items, the norms (P,) of their fragments, and where these stand."""
        from harness.similarity.compiled.attention import runs

        _, norms = self.plain.right_side(items, columns)
        of_items = Columns.of(items)
        return items, norms, of_items, runs(of_items.lengths, of_items.counts)

    def reduce(self, similarity: Tensor, left: Tensor, right: Any, scratch: Scratch) -> Tensor:
        """(c, F, P) -> (c, 2, P): products of queries and attended vectors, and the products of their norms."""
        from harness.similarity.compiled.attention import attend, attend_few

        _, norms, columns, runs = right
        leak, absolute = ATTENTION_NORMS[self.plain.attention_norm]
        factor = self.plain.inverse_temperature
        attention = np.float32(leak), np.float32(factor), np.float32(EPSILON), absolute
        least = np.float32(EPSILON * similarity.shape[1] * math.exp(factor))
        tile, values = (
            _array(similarity),
            similarity.new_empty(len(similarity), 2, similarity.shape[2], dtype=torch.float32),
        )
        out, of_columns = values.numpy(), (norms.numpy(), columns.lengths, columns.counts)
        few = similarity.shape[2] < FEW
        gram = (left.permute(1, 2, 0) if few else left).contiguous().numpy()

        def some(part: slice) -> None:
            if few:
                attend_few(tile[part], np.ascontiguousarray(gram[..., part]), *of_columns, attention, least, out[part])
            else:
                attend(tile[part], gram[part], *of_columns, *runs, attention, least, out[part])

        _in_threads(some, len(similarity))
        return values

    def finish(self, values: Tensor, right: Any) -> Tensor:
        """(C, 2, P) -> (C, n)."""
        return self.plain.finish(values, right[:2])


def attention_kernel(kernel: CrossAttentionKernel) -> Kernel:
    """The compiled stand-in of a kernel, or the kernel itself where its weights need a maximum first."""
    safe = 0 <= kernel.inverse_temperature <= SAFE_EXPONENT
    return CompiledAttention(kernel) if safe and kernel.attention_norm in ATTENTION_NORMS else kernel


class BothWays(Kernel):
    """Weighted maxima in both directions; a subclass says what the weights are."""

    tiles_in_use, reads_position_first = 2, False

    def left_weights(self, items: Bucket, rows: Tensor) -> LeftWeights:
        """Of a tile's images; `rows` (c, F, D)."""
        raise NotImplementedError

    def right_weights(self, items: Group, columns: Tensor) -> RightWeights:
        """Of a group's words; `columns` (P, D)."""
        raise NotImplementedError

    def activation(self, similarity: Tensor) -> Tensor:
        """What every token similarity goes through."""
        return similarity

    def left_side(self, items: Bucket, rows: Tensor) -> Rows:
        """The weights of a tile's images, by item last where there are many."""
        of = self.left_weights(items, rows)
        weights = _stacked(of.gates, of.plain, of.gated)
        many = weights.shape[1] >= MANY
        return Rows(of.split, of.gates is not None, weights.mT.contiguous().mT if many else weights)

    def right_side(self, items: Group, columns: Tensor) -> tuple[Columns, np.ndarray]:
        """The columns, and their weights (4, P)."""
        of = self.right_weights(items, columns)
        return Columns.of(items), _stacked(of.gates, of.plain, of.gated, of.rest).numpy()

    def reduce(self, similarity: Tensor, left: Rows, right: tuple[Columns, np.ndarray], scratch: Scratch) -> Tensor:
        """(c, F, P) -> (c, n)."""
        from harness.similarity.compiled.both_ways import both_ways, both_ways_few

        columns, of_columns = right
        few = similarity.shape[2] < FEW
        run, weights = (both_ways_few, left.weights.mT) if few else (both_ways, left.weights)
        tile, of_rows = _array(self.activation(similarity)), weights.contiguous().numpy()
        scores = similarity.new_empty(len(similarity), len(columns.items), dtype=torch.float32)
        out, kinds = scores.numpy(), (left.gated, left.split)

        def some(part: slice) -> None:
            own = np.ascontiguousarray(of_rows[..., part] if few else of_rows[:, part])
            run(tile[part], *kinds, own, of_columns, columns.lengths, columns.counts, out[part])

        _in_threads(some, len(similarity))
        return scores


def _array(similarity: Tensor) -> np.ndarray:
    """Contiguous and float32, for which alone the kernels are compiled."""
    return precise(similarity).contiguous().numpy()


def _stacked(*values: Tensor | None) -> Tensor:
    """Equally large tensors as one of float32 with a leading axis; zeros for those that are not there."""
    like = next(value for value in values if value is not None)
    return torch.stack([torch.zeros_like(like) if value is None else value for value in values]).float()


def _in_threads(run: Callable[[slice], None], count: int) -> None:
    """`run` on all of `count` left items, which torch's number of threads share; each item's result is its own."""
    threads = min(torch.get_num_threads(), count)
    if threads == 1:
        return run(slice(0, count))
    bounds = [count * thread // threads for thread in range(threads + 1)]
    with ThreadPoolExecutor(threads - 1) as pool:  # made anew: a pool that stays does not outlive a fork
        waiting = [pool.submit(run, slice(*bounds[at : at + 2])) for at in range(1, threads)]
        run(slice(*bounds[:2]))
        for one in waiting:
            one.result()
    return None
