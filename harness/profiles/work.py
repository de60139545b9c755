"""How much arithmetic a scorer does, how fast this machine multiplies matrices, and how much memory a call takes."""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from harness.fragments import Fragments
from harness.measure.system import MIB, peak_memory
from harness.profiles.session import Scenario
from harness.scorer import Scorer
from harness.scoring import evaluating, similarity_matrix
from harness.similarity import settings

#: (m, n, k) of the product whose rate is measured: a tile of regions against packed words.
MATRIX = (288, 4096, 1024)
MATRIX_DTYPES = (torch.float32, torch.bfloat16)


def flops(call: Callable[[], object]) -> int | None:
    """Floating-point operations of a call, as torch counts them: products, convolutions and attention, nothing else.

    Returns:
        A product of (m, k) and (k, n) counts 2 m n k. None where nothing was counted (an operation of a library that
        torch does not look into).

    >>> flops(lambda: torch.rand(3, 5) @ torch.rand(5, 7))
    210
    """
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        call()
    return int(counter.get_total_flops()) or None


def pair_flops(scorer: Scorer, images: Fragments, texts: Fragments) -> float | None:
    """Operations that one more pair costs in a large gallery: what grows with images x captions.

    Args:
        scorer: any.
        images: at least one image; the first is repeated, so that all pairs are alike.
        texts: at least one caption, likewise.

    Returns:
        The mixed difference of four counts, in which all that is done once per image or once per caption cancels.
    """

    def count(rows: int, columns: int) -> int:
        some_images, some_texts = _alike(images, rows), _alike(texts, columns).trimmed()
        # torch does not count the prepacked and the fused products, which do the same operations.
        with evaluating(scorer), settings.using(product="torch_mm", fused=False):
            return flops(lambda: similarity_matrix(scorer, some_images, some_texts)) or 0

    # Multiples of what the engine fills small products up to, so that no filling is counted.
    (few_rows, rows), (few_columns, columns) = (32, 64), (64, 128)
    mixed = count(rows, columns) - count(rows, few_columns) - count(few_rows, columns) + count(few_rows, few_columns)
    return mixed / ((rows - few_rows) * (columns - few_columns)) if mixed > 0 else None


def _alike(side: Fragments, count: int) -> Fragments:
    """The first item many times, each by a hair longer: the engine scores equal items once."""
    items = side[torch.zeros(count, dtype=torch.long, device=side.device)]
    longer = 1 + torch.arange(count, dtype=items.features.dtype, device=side.device) * 2.0**-16
    return replace(items, features=items.features * longer[:, None, None])


def matrix_scenarios(device: torch.device | str) -> list[Scenario]:
    """The machine's matrix product, to be timed in the same rounds as everything else."""

    def product(left: Tensor, right: Tensor, _: int) -> Tensor:
        return torch.mm(left, right.T)

    m, n, k = MATRIX
    scenarios = []
    for dtype in MATRIX_DTYPES:
        left, right = (torch.rand(rows, k, device=device).to(dtype) for rows in (m, n))
        scenarios.append(Scenario(f"matrix {dtype}", [("product", functools.partial(product, left, right))]))
    return scenarios


def matrix_gflops(milliseconds: Mapping[str, float]) -> dict[str, float]:
    """Rates by dtype, from the medians of `matrix_scenarios` by key."""
    m, n, k = MATRIX
    names = {f"matrix {dtype}": str(dtype).removeprefix("torch.") for dtype in MATRIX_DTYPES}
    return {names[key]: 2e-6 * m * n * k / ms for key, ms in milliseconds.items()}


def peak_of(call: Callable[[], object], device: torch.device) -> dict[str, float]:
    """Peak memory of a call, MiB.

    Returns:
        The keys of `harness.measure.system.peak_memory`, reset before the call; `working_mib`, what the call needs above what
        lay there already; `driver_mib`, all of the GPU that is in use, where NVML answers.
    """
    call()  # libraries load and allocate once
    with suppress(OSError, AttributeError):  # another C library
        # Freed heap goes back to the system, so that a peak above what is resident is the call's own.
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    before = torch.cuda.memory_allocated(device) / MIB if device.type == "cuda" else resident_mib()
    with peak_memory(device) as peaks:
        call()
    peak, driver = peaks.get("peak_memory_mib"), driver_memory_mib(device)
    if before is not None and peak is not None:
        peaks["working_mib"] = max(0.0, peak - before)
    if driver is not None:
        peaks["driver_mib"] = driver
    return peaks


def driver_memory_mib(device: torch.device) -> float | None:
    """Memory of a GPU that anybody uses; None where NVML (or its package, or a permission) is missing."""
    try:
        return torch.cuda.device_memory_used(device) / MIB if device.type == "cuda" else None
    except Exception:
        return None


def resident_mib() -> float | None:
    """Resident memory of this process now; None where /proc does not tell."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MIB
    except OSError:
        return None
