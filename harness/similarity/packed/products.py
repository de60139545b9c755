"""The matrix product under all fine-grained scores: several backends, of which a fixed rule takes one.

Scoring multiplies the same right-hand matrix (many words) with many small left-hand ones, so a backend may reorder the
right-hand one once. The backends differ in the last bit, so the choice must not depend on how busy a machine is: the rule
(`RULES`) looks at the device, the dtype and what torch and the processor offer. Only where tuning is asked for (`tune`,
`ITM_PRODUCTS=tune itm ...`) are the candidates timed on one tile. The choice is kept for the process, recorded in
`chosen()` and pinned by the environment variable ITM_PRODUCT, where it names a candidate. A GPU has one backend, beside
the kernels of `harness.similarity.gpu.fused`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.errors import InvalidSpec, UnknownName

#: (m, D) -> (m, n)
Product = Callable[[Tensor], Tensor]

ENVIRONMENT = "ITM_PRODUCT"
DEFAULT, GPU, FUSED = "torch_mm", "aligned_mm", "fused"
#: Elements of a vector of a GPU's memory, in half precision.
ALIGNMENT = 16
#: Read by the command line: "tune" asks for `tune(True)`.
TUNING_ENVIRONMENT = "ITM_PRODUCTS"
#: Below this many floating-point operations (a fraction of a second) timing costs more than it saves.
WORTH_TIMING = 1e10
#: Rows of the left and of the right-hand matrix that are enough to tell the candidates apart.
TIMED_TILE = (288, 1024)
#: Another backend replaces the default only when it is faster by this factor: noise should not change the numbers.
ADVANTAGE = 1.08
_REPEATS = 3


@dataclass(frozen=True)
class Choice:
    """Which backend was taken, and the rates of the candidates that were timed (GFLOP/s; empty = by the rule)."""

    name: str
    gflops: dict[str, float]


_choices: dict[tuple[str, str, int], Choice] = {}
_tuning = False


def tune(wanted: bool = True) -> None:
    """Whether this process times the candidates where the work is large enough; choices made so far are forgotten."""
    global _tuning
    _tuning = wanted
    _choices.clear()


def tune_as_asked(value: str) -> None:
    """Tuning by the text of `TUNING_ENVIRONMENT`, for the command line.

    Raises:
        InvalidSpec: neither empty, "rule" nor "tune".
    """
    if value not in ("", "rule", "tune"):
        raise InvalidSpec(f"{TUNING_ENVIRONMENT} must be 'rule' (the default) or 'tune', got '{value}'")
    tune(value == "tune")


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
    """Half-precision operands multiplied in float32: exact products, for processors without half-precision units."""
    transposed = right.float().T
    return lambda left: torch.mm(left.float(), transposed)


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
    "onednn_prepacked": _onednn_prepacked,
    "mkl_prepacked": _mkl_prepacked,
}
#: By device type and dtype, the safe choice first.
CANDIDATES: dict[tuple[str, torch.dtype], tuple[str, ...]] = {
    ("cpu", torch.float32): (DEFAULT, "onednn_prepacked", "mkl_prepacked"),
    ("cpu", torch.bfloat16): ("float32_mm", "torch_mm", "onednn_prepacked"),
    ("cpu", torch.float16): ("float32_mm",),  # the half-precision product of a CPU is a thousand times slower
}


def _offers_onednn(dtype: torch.dtype) -> bool:
    """Whether this build of torch has oneDNN's prepacked product, and the processor the units for the dtype."""
    operations = torch.ops.mkldnn
    if not (torch.backends.mkldnn.is_available() and hasattr(operations, "_reorder_linear_weight")):
        return False
    return dtype == torch.float32 or any(
        getattr(torch.cpu, name, lambda: False)() for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    )


#: What is taken without timing, by device type and dtype; anything else: the default of the device.
RULES: dict[tuple[str, torch.dtype], Callable[[], str]] = {
    ("cpu", torch.float32): lambda: "onednn_prepacked" if _offers_onednn(torch.float32) else DEFAULT,
    ("cpu", torch.bfloat16): lambda: "onednn_prepacked" if _offers_onednn(torch.bfloat16) else "float32_mm",
    ("cpu", torch.float16): lambda: "float32_mm",
}


def prepare(right: Tensor, rows: int, work: float = 0.0) -> Product:
    """The product with `right` by the backend of the rule, or by the fastest one while tuning.

    Args:
        right: (n, D).
        rows: the usual number of rows of the left-hand side.
        work: floating-point operations of the whole computation; while tuning, decides whether timing is worth its cost.

    Returns:
        A function from (m, D) to (m, n) `left @ right.T`, accumulated in float32, returned in the operands' dtype or in
        float32.

    Raises:
        UnknownName: ITM_PRODUCT names no backend.
    """
    return BACKENDS[_choose(right, rows, work)](right, rows)


def note_fused(right: Tensor) -> None:
    """Record that kernels of our own multiply with `right` (n, D)."""
    _choices.setdefault(_key(right), Choice(FUSED, {}))


def _key(right: Tensor) -> tuple[str, str, int]:
    return (right.device.type, str(right.dtype).removeprefix("torch."), torch.get_num_threads())


def _choose(right: Tensor, rows: int, work: float) -> str:
    default = GPU if right.device.type == "cuda" else DEFAULT
    candidates = CANDIDATES.get((right.device.type, right.dtype), (default,))
    pinned = os.environ.get(ENVIRONMENT, "")
    if pinned and pinned not in BACKENDS:
        raise UnknownName(f"product backend in {ENVIRONMENT}", pinned, BACKENDS)
    # On a GPU the plain product may be asked for, whose operations torch counts without any that only fill up.
    if pinned in candidates or (pinned == DEFAULT and default == GPU):
        return pinned
    key = _key(right)
    timed = _tuning and len(candidates) > 1 and work >= WORTH_TIMING
    known = _choices.get(key)
    if known is None or known.name == FUSED or (timed and not known.gflops):
        rule = RULES.get((right.device.type, right.dtype), lambda: default)
        _choices[key] = (
            _fastest(candidates, right[: TIMED_TILE[1]], min(rows, TIMED_TILE[0])) if timed else Choice(rule(), {})
        )
    return _choices[key].name


def _fastest(candidates: tuple[str, ...], right: Tensor, rows: int) -> Choice:
    left = torch.rand(rows, right.shape[1], device=right.device).to(right.dtype)
    products: dict[str, Product] = {}
    for name in candidates:
        try:  # an operation that this build of torch lacks is no candidate
            product = BACKENDS[name](right, rows)
            product(left)
        except (AttributeError, RuntimeError, NotImplementedError):
            continue
        products[name] = product
    seconds = {name: float("inf") for name in products}
    for _ in range(_REPEATS):  # interleaved: a passing load hits all candidates
        for name, product in products.items():
            started = time.perf_counter()
            product(left)
            seconds[name] = min(seconds[name], time.perf_counter() - started)
    best = min(seconds, key=lambda name: seconds[name])
    safe = next(iter(products))
    taken = best if seconds[safe] > ADVANTAGE * seconds[best] else safe
    operations = 2.0 * rows * right.numel()
    return Choice(taken, {name: round(operations / value / 1e9, 1) for name, value in seconds.items()})
