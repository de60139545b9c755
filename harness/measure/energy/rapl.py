"""Energy of the CPU packages, from the RAPL counters that Linux shows below /sys/class/powercap.

A package is counted with everything that runs on it, other people's processes too. Memory, disks and cooling are not in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
NAME = "cpu package"
#: More than any package draws: a counter that could have gone round between two readings tells nothing.
_MOST_WATTS = 1500.0


@dataclass(frozen=True)
class _Domain:
    counter: Path
    range_uj: int  # the counter begins at 0 again after it

    def read(self) -> int:
        return int(self.counter.read_text(encoding="ascii"))


class Rapl:
    """Joules of all CPU packages since it was made.

    Args:
        domains: one per package.
        clock: seconds.
    """

    name = NAME
    #: Seconds between two readings: a counter goes round within minutes, and its rounds are not counted anywhere.
    period = 5.0

    def __init__(self, domains: list[_Domain], clock: Callable[[], float] = time.monotonic):
        self._domains, self._clock = domains, clock
        self._last, self._when = [domain.read() for domain in domains], clock()
        self._longest = min(domain.range_uj for domain in domains) / 1e6 / _MOST_WATTS
        self._joules = 0.0

    def read(self) -> float:
        """Joules so far.

        Raises:
            OSError, ValueError: a counter cannot be read any more, or may have gone round unseen.
        """
        now, values = self._clock(), [domain.read() for domain in self._domains]
        if now - self._when > self._longest:
            raise ValueError(f"{now - self._when:.0f} s between two readings of a counter that may go round in less")
        for domain, before, after in zip(self._domains, self._last, values, strict=True):
            gone = after - before
            self._joules += (gone if gone >= 0 else gone + domain.range_uj) / 1e6
        self._last, self._when = values, now
        return self._joules

    def close(self) -> None:
        """Nothing is held."""


def find(root: Path | None = None, clock: Callable[[], float] = time.monotonic) -> Rapl | None:
    """The packages of this machine; None where there is no counter, or one of them cannot be read.

    Zones within a package (core, uncore, dram) and that of the whole platform (psys) are not taken: they would count
    twice. `intel-rapl-mmio` shows the packages a second time.

    Args:
        root: folder of the powercap zones; default `POWERCAP`.
        clock: seconds.
    """
    domains = []
    try:
        for zone in sorted((root or POWERCAP).glob("intel-rapl:*")):
            if zone.name.count(":") == 1 and (zone / "name").read_text(encoding="ascii").startswith("package"):
                most = int((zone / "max_energy_range_uj").read_text(encoding="ascii"))
                domains.append(_Domain(zone / "energy_uj", most))
        return Rapl(domains, clock) if domains else None
    except (OSError, ValueError):  # most often a counter that root alone may read
        return None
