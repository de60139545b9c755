"""The matrix product under all fine-grained scores: several backends, of which a fixed rule takes one.

Scoring multiplies the same right-hand matrix (many words) with many small left-hand ones, so a backend may reorder the
right-hand one once. The backends differ in the last bit, so the default must not depend on how busy a machine is: `RULES`
looks at the device, the dtype and what torch and the processor offer. The candidates are timed on one tile only where
`harness.similarity.settings` ask for it, which may also name a backend. `chosen()` says what was taken; a run's record
keeps it. A GPU has one backend, beside the kernels of `harness.similarity.gpu.fused`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.similarity import settings

#: (m, D) -> (m, n)
Product = Callable[[Tensor], Tensor]

DEFAULT, GPU, FUSED = "torch_mm", "aligned_mm", "fused"
#: Elements of a vector of a GPU's memory, in half precision.
ALIGNMENT = 16
#: Below this many floating-point operations (a fraction of a second) timing costs more than it saves.
WORTH_TIMING = 1e10
#: Rows of the left and of the right-hand matrix that are enough to tell the candidates apart.
TIMED_TILE = (288, 1024)
#: Another backend replaces the default only when it is faster by this factor: noise should not change the numbers.
ADVANTAGE = 1.08
_REPEATS = 3


@dataclass(frozen=True)
class Choice:
    """Which backend was taken, and the rates of the candidates that were timed (GFLOP/s; empty = none)."""

    name: str
    gflops: dict[str, float] = field(default_factory=dict)


_choices: dict[tuple[str, str, int], Choice] = {}


def chosen() -> dict[str, dict[str, Any]]:
    """The choices of this process: `{"cpu float32, 2 threads": {"backend": ..., "gflops": {...}}}`."""
    return {
        f"{device} {dtype}, {threads} threads": {"backend": choice.name, "gflops": dict(choice.gflops)}
        for (device, dtype, threads), choice in _choices.items()
    }


def _torch_mm(right: Tensor, rows: int) -> Product:
    transposed = right.T
    return lambda left: torch.mm(left, transposed)


def _aligned_mm(right: Tensor, rows: int) -> Product:
    """Rows of the result filled up to whole vectors: others are three times as slow on a GPU."""
    count = len(right)
    transposed = F.pad(right, (0, 0, 0, -count % ALIGNMENT)).T
    return lambda left: torch.mm(left, transposed)[:, :count]


def _float32_mm(right: Tensor, rows: int) -> Product:
    """Operands of half precision or int8 multiplied in float32: exact products, for processors without units for them."""
    transposed = right.float().T
    return lambda left: torch.mm(left.float(), transposed)


def _int8_mm(right: Tensor, rows: int) -> Product:
    """Sums of products of int8 codes, in int32: exact."""
    transposed = right.T
    return lambda left: torch._int_mm(left, transposed)


def _onednn_prepacked(right: Tensor, rows: int) -> Product:
    operations = torch.ops.mkldnn
    packed = operations._reorder_linear_weight(right.contiguous(), rows)
    return lambda left: operations._linear_pointwise(left.contiguous(), packed, None, "none", [], "")


def _mkl_prepacked(right: Tensor, rows: int) -> Product:
    operations, right = torch.ops.mkl, right.contiguous()
    packed: dict[int, Tensor] = {}

    def product(left: Tensor) -> Tensor:
        # The packed form fits one number of rows, that of the first tile; with any other the operation itself takes the
        # plain right-hand matrix.
        if not packed:
            packed[len(left)] = operations._mkl_reorder_linear_weight(right, len(left))
        ((count, weight),) = packed.items()
        return operations._mkl_linear(left.contiguous(), weight, right, None, count)

    return product


BACKENDS: dict[str, Callable[[Tensor, int], Product]] = {
    "torch_mm": _torch_mm,
    "aligned_mm": _aligned_mm,
    "float32_mm": _float32_mm,
    "int8_mm": _int8_mm,
    "onednn_prepacked": _onednn_prepacked,
    "mkl_prepacked": _mkl_prepacked,
}
#: By device type and dtype, the safe choice first.
CANDIDATES: dict[tuple[str, torch.dtype], tuple[str, ...]] = {
    ("cpu", torch.float32): (DEFAULT, "onednn_prepacked", "mkl_prepacked"),
    ("cpu", torch.bfloat16): ("float32_mm", "torch_mm", "onednn_prepacked"),
    ("cpu", torch.float16): ("float32_mm",),  # the half-precision product of a CPU is a thousand times slower
    ("cpu", torch.int8): ("float32_mm", "int8_mm"),
}


@cache
def _offers_onednn(dtype: torch.dtype) -> bool:
    """Whether this build of torch has oneDNN's prepacked product, and the processor the units for the dtype."""
    if not (torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")):
        return False
    return dtype == torch.float32 or any(
        getattr(torch.cpu, name, lambda: False)() for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    )


@cache
def _offers_int8() -> bool:
    """Whether torch multiplies int8 matrices, and the processor has the units for it."""
    checks = ("_is_vnni_supported", "_is_avx512_vnni_supported", "_is_amx_tile_supported")
    has_units = any(getattr(torch.cpu, name, lambda: False)() for name in checks)
    return has_units and torch.backends.mkldnn.is_available() and hasattr(torch, "_int_mm")


#: What is taken without timing, by device type and dtype; anything else: the default of the device.
RULES: dict[tuple[str, torch.dtype], Callable[[], str]] = {
    ("cpu", torch.float32): lambda: "onednn_prepacked" if _offers_onednn(torch.float32) else DEFAULT,
    ("cpu", torch.bfloat16): lambda: "onednn_prepacked" if _offers_onednn(torch.bfloat16) else "float32_mm",
    ("cpu", torch.float16): lambda: "float32_mm",
    ("cpu", torch.int8): lambda: "int8_mm" if _offers_int8() else "float32_mm",
    ("cuda", torch.int8): lambda: "float32_mm",
}


def prepare(right: Tensor, rows: int, work: float = 0.0) -> Product:
    """The product with `right` by the backend of the rule, or what the settings ask for.

    Args:
        right: (n, D).
        rows: the usual number of rows of the left-hand side.
        work: floating-point operations of the whole computation; while tuning, decides whether timing is worth its cost.

    Returns:
        A function from (m, D) to (m, n) `left @ right.T`, accumulated in float32, returned in the operands' dtype or in
        float32; of int8 codes, the sums of integers in int32 or float32.
    """
    choice = _choices[_key(right)] = _choose(right, rows, work)
    return BACKENDS[choice.name](right, rows)


def note_fused(right: Tensor) -> None:
    """Record that kernels of our own multiply with `right` (n, D)."""
    _choices.setdefault(_key(right), Choice(FUSED))


def note_kernels(name: str) -> None:
    """Record what compiles the reductions of a tile on a CPU."""
    _choices.setdefault(("cpu", "reductions", torch.get_num_threads()), Choice(name))


def _key(right: Tensor) -> tuple[str, str, int]:
    return (right.device.type, str(right.dtype).removeprefix("torch."), torch.get_num_threads())


def _choose(right: Tensor, rows: int, work: float) -> Choice:
    default = GPU if right.device.type == "cuda" else DEFAULT
    kind = right.device.type, right.dtype
    candidates, wanted = CANDIDATES.get(kind, (default,)), settings.current().product
    # On a GPU the plain product may be asked for, whose operations torch counts without any that only fill up.
    if wanted in candidates or (wanted == DEFAULT and default == GPU):
        return Choice(wanted)
    if wanted == settings.TUNE and len(candidates) > 1:
        known = _choices.get(_key(right))
        if known is not None and known.gflops:
            return known
        if work >= WORTH_TIMING:
            return _fastest(candidates, right[: TIMED_TILE[1]], min(rows, TIMED_TILE[0]))
    return Choice(RULES[kind]() if kind in RULES else default)


def _fastest(candidates: tuple[str, ...], right: Tensor, rows: int) -> Choice:
    left = right[torch.arange(rows) % len(right)]
    products: dict[str, Product] = {}
    for name in candidates:
        try:  # an operation that this build of torch lacks is no candidate
            product = BACKENDS[name](right, rows)
            product(left)
        except (AttributeError, RuntimeError, NotImplementedError):
            continue
        products[name] = product
    seconds = dict.fromkeys(products, float("inf"))
    for _ in range(_REPEATS):  # interleaved: a passing load hits all candidates
        for name, product in products.items():
            started = time.perf_counter()
            product(left)
            seconds[name] = min(seconds[name], time.perf_counter() - started)
    best, safe = min(seconds, key=lambda name: seconds[name]), next(iter(products))
    taken = best if seconds[safe] > ADVANTAGE * seconds[best] else safe
    operations = 2.0 * rows * right.numel()
    return Choice(taken, {name: round(operations / value / 1e9, 1) for name, value in seconds.items()})
