"""The energy of a block of work, from whatever this machine measures."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch

from harness.measure.energy import nvml, rapl
from harness.measure.timing import synchronize

JOULES_PER_WH = 3600.0


class Source(Protocol):
    """A counter of joules."""

    name: str
    period: float  # longest time between two readings, seconds; 0 = none is needed in between

    def read(self) -> float:
        """Joules since it was made."""
        ...

    def close(self) -> None:
        """Give back what it holds."""
        ...


def sources_of(device: torch.device) -> list[Source]:
    """What this machine measures of work on a device: the CPU packages, and the GPU if it is one."""
    gpu = nvml.find(str(torch.cuda.get_device_properties(device).uuid)) if device.type == "cuda" else None
    return [source for source in (rapl.find(), gpu) if source is not None]


def is_measured(device: torch.device | str) -> bool:
    """Whether this machine measures any energy of work on a device."""
    sources = sources_of(torch.device(device))
    for source in sources:
        source.close()
    return bool(sources)


@contextmanager
def energy_of(device: torch.device | str) -> Iterator[dict[str, float]]:
    """Fills in the watt-hours of the block by source when it ends; nothing where the machine measures none.

    A source that fails in between, or that did not move, is left out: a part of the energy is never called the whole.

    Args:
        device: what the block computes on.
    """
    device = torch.device(device)
    spent: dict[str, float] = {}
    sources = sources_of(device)
    if not sources:
        yield spent
        return
    synchronize(device)
    readers = [_Reader(source) for source in sources]
    try:
        yield spent
        synchronize(device)
        found = {reader.name: reader.joules() for reader in readers}
        spent |= {name: joules / JOULES_PER_WH for name, joules in found.items() if joules}
    finally:
        for reader in readers:
            reader.close()


def covers(spent: Mapping[str, float]) -> str:
    """What an energy is of, in words.

    >>> covers({"gpu": 2.0, "cpu package": 1.0}), covers({})
    ('cpu package, gpu', '')
    """
    return ", ".join(sorted(spent))


def added_up(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The sum of the energies of all parts of a work, by source; nothing unless every part has the same sources.

    >>> added_up([{"gpu": 2.0}, {"gpu": 1.0}]), added_up([{"gpu": 2.0}, {}]), added_up([])
    ({'gpu': 3.0}, {}, {})
    """
    if not parts or any(part.keys() != parts[0].keys() for part in parts):
        return {}
    return {name: sum(part[name] for part in parts) for name in parts[0]}


class _Reader:
    """A source that is read as often as it needs, by a thread of its own, until it is closed."""

    def __init__(self, source: Source):
        self.name, self._source = source.name, source
        self._lock, self._ended, self._sound = threading.Lock(), threading.Event(), True
        self._joules = self._start = 0.0
        self.joules()
        self._start = self._joules
        self._thread = threading.Thread(target=self._poll, daemon=True) if source.period else None
        if self._thread:
            self._thread.start()

    def joules(self) -> float | None:
        """Since the start; None once a reading failed."""
        with self._lock:
            if self._sound:
                try:
                    self._joules = self._source.read()
                except Exception:  # a counter that went away; NVML has its own errors
                    self._sound = False
            return self._joules - self._start if self._sound else None

    def close(self) -> None:
        self._ended.set()
        if self._thread:
            self._thread.join()
        self._source.close()

    def _poll(self) -> None:
        while not self._ended.wait(self._source.period):
            self.joules()
