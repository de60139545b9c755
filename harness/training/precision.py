"""Mixed precision on a CPU: without units for bfloat16, its products take several times as long as those in float32."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from functools import cache

import torch

from harness.spec import TrainingSpec

logger = logging.getLogger(__name__)

#: (m, k, n) of the product that is timed: a few milliseconds in float32 at most.
TIMED = (256, 512, 512)
ROUNDS = 3
#: Factors below it pass for noise. With units for bfloat16 it is below 1, without them 4 and more.
SLOWER = 2.0


def warn_of_slow_bfloat16(specs: Sequence[TrainingSpec], device: torch.device) -> None:
    """Say in one line by how much bfloat16 slows the products of trainings on this CPU, where it does."""
    if device.type != "cpu" or not any(spec.epochs and spec.precision == "bfloat16" for spec in specs):
        return
    factor = slowdown()
    if factor >= SLOWER:
        logger.warning(
            "training.precision is bfloat16, for which this processor has no units: a matrix product takes %.0f times as "
            "long as in float32; training.precision=float32 is faster and more exact",
            factor,
        )


@cache
def slowdown() -> float:
    """Time of a matrix product in bfloat16 over that in float32, in this process; above 1: slower."""
    m, k, n = TIMED
    times = {}
    sides = {
        dtype: (torch.ones(m, k, dtype=dtype), torch.ones(k, n, dtype=dtype))
        for dtype in (torch.bfloat16, torch.float32)
    }
    for dtype, (left, right) in sides.items():
        left @ right  # loads the library
        times[dtype] = float("inf")
    for _ in range(ROUNDS):  # in turn: a passing load hits both
        for dtype, (left, right) in sides.items():
            started = time.perf_counter()
            left @ right
            times[dtype] = min(times[dtype], time.perf_counter() - started)
    return times[torch.bfloat16] / times[torch.float32]
