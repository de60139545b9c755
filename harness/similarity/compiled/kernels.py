"""Kernels of a tile that numba compiles: what SCAN's, GRM's and late interaction's own compute, in one pass instead of ten.

They stand in for those on a CPU where numba is installed (`pip install itm-harness[fast]`) and `harness.similarity.settings`
allow it. They compile on first use, and numba keeps the code on disk.

Shape letters: as in `harness.similarity.packed.kernels`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
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
#: Fewer columns leave lanes empty: left items take them.
FEW = 32
#: Pieces of a tile for each thread: one that is held up leaves the rest to the others.
PIECES = 2
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

        from harness.similarity.compiled import attention, both_ways  # finds a folder for the compiled code
    except (
        ImportError,
        RuntimeError,
    ) as error:  # a NumPy that is newer than it knows, or no folder that can be written
        logger.warning("numba cannot be used, torch computes in its place: %s", one_line(error, 200))
        return None
    for kernel in (attention.attend, attention.attend_few, both_ways.both_ways, both_ways.both_ways_few):
        _forget_stale(Path(kernel.stats.cache_path), kernel.py_func)
    return numba.__version__


def _forget_stale(folder: Path, kernel: Callable[..., Any]) -> None:
    """Remove a kernel's compiled code that is older than this package: numba looks at no other file than the kernel's own."""
    newest = max(file.stat().st_mtime for file in Path(__file__).parent.glob("*.py"))
    for index in folder.glob(f"{kernel.__module__.rpartition('.')[2]}.{kernel.__name__}-*.nbi"):
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            if index.stat().st_mtime < newest:
                index.unlink()


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
    """K numbers of each of c left items: (c / together, K, together), filled up with zeros."""

    values: np.ndarray
    together: int

    @classmethod
    def of(cls, values: Tensor) -> Rows:
        """(c, K) by item last where the items of a vector are there, which few columns are compared with."""
        from harness.similarity.compiled.lanes import WIDTH

        if len(values) < WIDTH:
            return cls(values.float().contiguous().numpy().ravel(), 1)
        spare = -len(values) % WIDTH
        filled = F.pad(values.float(), (0, 0, 0, spare)) if spare else values.float()
        return cls(filled.unflatten(0, (-1, WIDTH)).mT.contiguous().numpy().ravel(), WIDTH)


@dataclass(frozen=True)
class CompiledAttention(Kernel):
    """`CrossAttentionKernel` with everything between the product and the pooling in one pass."""

    plain: CrossAttentionKernel  #: what it computes
    tiles_in_use, reads_position_first = 2, False

    @property
    def swapped(self) -> bool:  # type: ignore[override]
        """As `plain`."""
        return self.plain.swapped

    def left_side(self, items: Bucket, rows: Tensor) -> Rows:
        """What quadratic forms read of the Gram matrices."""
        places, factors = _triangle(rows.shape[1])
        return Rows.of(self.plain.left_side(items, rows).float().flatten(1)[:, places] * factors)

    def right_side(self, items: Group, columns: Tensor) -> tuple[Group, Tensor, Columns]:
        """The items, the norms (P,) of their fragments, and where these stand."""
        _, norms = self.plain.right_side(items, columns)
        return items, norms, Columns.of(items)

    def reduce(self, similarity: Tensor, left: Rows, right: tuple[Group, Tensor, Columns], scratch: Scratch) -> Tensor:
        """(c, F, P) -> (c, 2, P): products of queries and attended vectors, and the products of their norms."""
        from harness.similarity.compiled.attention import attend, attend_few

        _, norms, columns = right
        leak, absolute = ATTENTION_NORMS[self.plain.attention_norm]
        exponent = self.plain.inverse_temperature / math.log(2)  # of powers of two
        attention = np.float32(leak), np.float32(exponent), np.float32(EPSILON), absolute
        contexts, fragments, count = similarity.shape
        values = similarity.new_empty(contexts, 2, count, dtype=torch.float32)
        rest = (norms.numpy(), columns.lengths, columns.counts, attention, values.numpy().ravel())
        if _by_lane(left, count):
            tile = _tile(similarity, left.together)
            few = partial(attend_few, *tile), (contexts, fragments, left.values, *rest)
            _in_threads(*few, -(-contexts // left.together))
        else:
            _in_threads(partial(attend, *_tile(similarity)), (fragments, left.values, left.together, *rest), contexts)
        return values

    def finish(self, values: Tensor, right: tuple[Group, Tensor, Columns]) -> Tensor:
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

    def left_side(self, items: Bucket, rows: Tensor) -> tuple[bool, int, Rows]:
        """Whether there are gates, the split, and a tile's images' weights (c, 3 F)."""
        of = self.left_weights(items, rows)
        weights = _stacked(of.gates, of.plain, of.gated)
        return of.gates is not None, of.split, Rows.of(weights.transpose(0, 1).flatten(1))

    def right_side(self, items: Group, columns: Tensor) -> tuple[Columns, np.ndarray]:
        """The columns, and their weights (4, P)."""
        of = self.right_weights(items, columns)
        return Columns.of(items), _stacked(of.gates, of.plain, of.gated, of.rest).numpy().ravel()

    def reduce(
        self,
        similarity: Tensor,
        left: tuple[bool, int, Rows],
        right: tuple[Columns, np.ndarray],
        scratch: Scratch,
    ) -> Tensor:
        """(c, F, P) -> (c, n)."""
        from harness.similarity.compiled.both_ways import both_ways, both_ways_few

        (columns, of_columns), (gated, split, rows) = right, left
        similarity = self.activation(similarity)
        contexts, fragments, count = similarity.shape
        scores = similarity.new_empty(contexts, len(columns.items), dtype=torch.float32)
        rest = (of_columns, columns.lengths, columns.counts, scores.numpy().ravel())
        if _by_lane(rows, count):
            tile = _tile(similarity, rows.together)
            few = partial(both_ways_few, *tile), (contexts, fragments, gated, split, rows.values, *rest)
            _in_threads(*few, -(-contexts // rows.together))
        else:
            of_left = (fragments, gated, split, rows.values, rows.together)
            _in_threads(partial(both_ways, *_tile(similarity)), (*of_left, *rest), contexts)
        return scores


@cache
def _triangle(fragments: int) -> tuple[Tensor, Tensor]:
    from harness.similarity.compiled.attention import triangle_places

    places, factors = triangle_places(fragments)
    return torch.from_numpy(places), torch.from_numpy(factors)


def _by_lane(left: Rows, columns: int) -> bool:
    """Whether left items take the lanes: columns would leave many empty."""
    return columns < FEW and left.together > 1


def _tile(similarity: Tensor, columns: int = 1) -> tuple[np.ndarray, int]:
    """A tile (c, F, P) as float32 in one axis, and how far its rows lie apart: whole multiples of `columns` may be read of each.

    A product with more columns is read where it lies.
    """
    rows, width, stride = similarity.shape[0] * similarity.shape[1], similarity.shape[2], similarity.stride(1)
    whole = -(-width // columns) * columns
    lies_in_rows = similarity.stride(2) == 1 and similarity.stride(0) == similarity.shape[1] * stride
    room = similarity.untyped_storage().nbytes() // similarity.element_size() - similarity.storage_offset()
    if lies_in_rows and whole <= stride and (rows - 1) * stride + whole <= room:
        wide = similarity.as_strided((rows, whole), (stride, 1))
    else:
        wide = F.pad(similarity.flatten(0, 1), (0, whole - width))
    wide = precise(wide)  # of half precision a copy, whose rows may lie in another way
    wide = wide if wide.stride(1) == 1 else wide.contiguous()
    stride = wide.stride(0)
    return wide.as_strided(((rows - 1) * stride + whole,), (1,)).numpy(), stride


def _stacked(*values: Tensor | None) -> Tensor:
    """Equally large tensors as one of float32 with a leading axis; zeros for those that are not there."""
    like = next(value for value in values if value is not None)
    return torch.stack([torch.zeros_like(like) if value is None else value for value in values]).float()


def _in_threads(run: Callable[..., None], rest: tuple[Any, ...], count: int) -> None:
    """`run((first, last), *rest)` on all of `count` left items, which torch's number of threads share."""
    threads = min(torch.get_num_threads(), count)
    if threads == 1:
        return run((0, count), *rest)
    pieces = min(count, PIECES * threads)
    todo: SimpleQueue[tuple[int, int]] = SimpleQueue()
    for piece in range(pieces):
        todo.put((count * piece // pieces, count * (piece + 1) // pieces))

    def work() -> None:
        with contextlib.suppress(Empty):
            while True:
                run(todo.get_nowait(), *rest)

    others = [_pool(os.getpid(), threads - 1).submit(work) for _ in range(threads - 1)]
    work()
    for other in others:
        if not other.cancel():  # one that has not begun finds nothing left
            other.result()
    return None


@cache
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Threads that wait for work, of the process that asks: a fork has none of them."""
    return ThreadPoolExecutor(threads, thread_name_prefix="itm-kernel")
