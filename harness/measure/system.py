"""The machine during a block of work: peak memory, and the CPU load of other processes."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from harness.measure.timing import synchronize

MIB = 1024**2


@contextmanager
def peak_memory(device: torch.device | str = "cpu") -> Iterator[dict[str, float]]:
    """Peak memory of a block; not to be nested, since the inner one would reset the outer one's peak.

    Args:
        device: what the block computes on.

    Yields:
        A dict that is filled when the block ends, in MiB. On a GPU: `peak_gpu_allocated_mib` (tensors),
        `peak_gpu_reserved_mib` (torch's allocator) and `gpu_in_use_mib` (the whole GPU at the end: contexts and other
        processes too). Elsewhere `peak_rss_mib`, the resident memory of the whole process, interpreter and libraries
        included; where the system cannot reset it (not Linux), its peak since the process began. `peak_memory_mib`
        repeats the first of them.
    """
    device = torch.device(device)
    peaks: dict[str, float] = {}
    read = _watch_gpu(device) if device.type == "cuda" else _watch_process()
    try:
        yield peaks
    finally:
        peaks |= {key: size / MIB for key, size in read().items()}
        if peaks:
            peaks["peak_memory_mib"] = next(iter(peaks.values()))


@contextmanager
def other_load(helped: Callable[[], float] = lambda: 0.0) -> Iterator[dict[str, float]]:
    """Fills in `other_cpu_percent` when the block ends; nothing where /proc/stat cannot be read.

    Args:
        helped: CPU seconds that processes of this one's own spent for it in the block; asked at its end.
    """
    load: dict[str, float] = {}
    before, mine = cpu_seconds(), time.process_time()
    yield load
    after, mine = cpu_seconds(), time.process_time() - mine + helped()
    if before and after and after[1] > before[1]:
        other = after[0] - before[0] - mine
        load["other_cpu_percent"] = max(0.0, 100 * other / (after[1] - before[1]))


def cpu_seconds() -> tuple[float, float] | None:
    """Busy and total seconds of all CPUs since the start of the system; None where /proc does not tell."""
    try:
        fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()
    except OSError:
        return None
    ticks = [int(value) for value in fields[1:9]]  # user nice system idle iowait irq softirq steal
    total = sum(ticks)
    tick = os.sysconf("SC_CLK_TCK")
    return (total - ticks[3] - ticks[4]) / tick, total / tick


def _watch_gpu(device: torch.device) -> Callable[[], dict[str, int]]:
    def read() -> dict[str, int]:
        synchronize(device)
        free, total = torch.cuda.mem_get_info(device)
        return {
            "peak_gpu_allocated_mib": torch.cuda.max_memory_allocated(device),
            "peak_gpu_reserved_mib": torch.cuda.max_memory_reserved(device),
            "gpu_in_use_mib": total - free,
        }

    synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    return read


def _watch_process() -> Callable[[], dict[str, int]]:
    resettable = reset_peak_rss()

    def read() -> dict[str, int]:
        rss = _peak_rss_since_reset() if resettable else _peak_rss_of_process()
        return {"peak_rss_mib": rss} if rss else {}

    return read


def reset_peak_rss() -> bool:
    """Make the process's peak resident memory start again from what it holds now; whether that worked."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return _peak_rss_since_reset() is not None


def _peak_rss_since_reset() -> int | None:
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)


def _peak_rss_of_process() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # bytes there, KiB elsewhere
