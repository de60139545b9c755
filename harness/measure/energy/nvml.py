"""Energy of one GPU by NVML: its counter where it has one, else its power, sampled and integrated.

The whole GPU is counted, other processes on it too. Needs the extra `nvml`.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from typing import Any

NAME, SAMPLED = "gpu", "gpu (power samples)"
#: Seconds between two samples of power; GPUs renew it every 20 to 100 ms.
_SAMPLE_SECONDS = 0.1
#: A longer gap between two samples hides what was drawn meanwhile.
_LONGEST_GAP = 5.0


class Counter:
    """Joules of a GPU since it was made, from its own counter (Volta and later)."""

    name = NAME
    period = 0.0  #: nothing has to be read in between

    def __init__(self, nvml: Any, handle: Any):
        self._nvml, self._handle = nvml, handle
        self._first = self._millijoules()

    def read(self) -> float:
        """Joules so far."""
        return (self._millijoules() - self._first) / 1000

    def close(self) -> None:
        """Give NVML back."""
        self._nvml.nvmlShutdown()

    def _millijoules(self) -> int:
        return int(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle))


class Samples:
    """Joules of a GPU since it was made, as the integral of its power over the samples (trapezoids)."""

    name = SAMPLED
    period = _SAMPLE_SECONDS

    def __init__(self, nvml: Any, handle: Any, clock: Callable[[], float] = time.monotonic):
        self._nvml, self._handle, self._clock = nvml, handle, clock
        self._when, self._watts, self._joules = clock(), self._power(), 0.0

    def read(self) -> float:
        """Joules so far; takes a sample.

        Raises:
            ValueError: the last sample was taken too long ago.
        """
        now, watts = self._clock(), self._power()
        if now - self._when > _LONGEST_GAP:
            raise ValueError(f"{now - self._when:.1f} s between two samples of power")
        self._joules += (now - self._when) * (watts + self._watts) / 2
        self._when, self._watts = now, watts
        return self._joules

    def close(self) -> None:
        """Give NVML back."""
        self._nvml.nvmlShutdown()

    def _power(self) -> float:
        return float(self._nvml.nvmlDeviceGetPowerUsage(self._handle)) / 1000  # milliwatts


def find(uuid: str, clock: Callable[[], float] = time.monotonic) -> Counter | Samples | None:
    """What measures a GPU; None without the package, the driver, or a GPU that tells.

    Args:
        uuid: as torch has it, with or without `GPU-` in front. NVML numbers GPUs otherwise than torch does.
        clock: seconds.
    """
    try:
        nvml: Any = importlib.import_module("pynvml")
        nvml.nvmlInit()
    except Exception:  # no package, no library of the driver: NVML has an error class for each
        return None
    try:
        handle = nvml.nvmlDeviceGetHandleByUUID(uuid if uuid.startswith("GPU-") else f"GPU-{uuid}")
        try:
            return Counter(nvml, handle)
        except nvml.NVMLError:  # before Volta
            return Samples(nvml, handle, clock)
    except Exception:  # a part of a GPU (MIG), or one that tells nothing
        nvml.nvmlShutdown()
        return None
