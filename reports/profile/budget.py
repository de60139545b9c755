"""Budgets: `latency<=20ms,memory<=4GiB` as limits on the columns of a profile."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import InvalidSpec, UnknownName
from harness.reports.document.model import is_missing
from harness.reports.document.text import significant
from harness.reports.profile.rows import Row, best

_TIME = {"us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1000.0}
_BYTES = {
    "B": 1.0, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30, "TiB": 2.0**40,
}  # fmt: skip
_MIB = {unit: size / 2.0**20 for unit, size in _BYTES.items()}
_COUNT = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9}
_TERM = re.compile(r"\s*([A-Za-z_0-9]+)\s*(<=|>=|<|>|=)\s*((?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([A-Za-zµ]*)\s*")


#: Quantity -> column of a profile's rows, sign of its limits, the column's unit, and accepted units in that unit.
QUANTITIES: dict[str, tuple[str, str, str, Mapping[str, float]]] = {
    "latency": ("t2i_ms", "<=", "ms", _TIME),
    "latency_t2i": ("t2i_ms", "<=", "ms", _TIME),
    "latency_i2t": ("i2t_ms", "<=", "ms", _TIME),
    "latency_p95": ("t2i_ms_p95", "<=", "ms", _TIME),
    "memory": ("memory_mib", "<=", "MiB", _MIB),
    "index": ("index_mib", "<=", "MiB", _MIB),
    "index_per_image": ("index_bytes_per_image", "<=", "B", _BYTES),
    "parameters": ("params_millions", "<=", "M", {unit: size / 1e6 for unit, size in _COUNT.items()}),
    "pairs_per_second": ("pairs_per_second", ">=", "", _COUNT),
    "rsum": ("rsum", ">=", "", {"": 1.0}),
}


@dataclass(frozen=True)
class Limit:
    """One limit of a budget."""

    name: str  # of the quantity, as the user wrote it
    column: str  # of a profile's rows
    sign: str  # `<=`, or `>=` where more is better
    value: float  # in the column's unit
    unit: str

    @property
    def text(self) -> str:
        """`latency <= 20 ms`."""
        return f"{self.name} {self.sign} {significant(self.value, 3)} {self.unit}".strip()

    def admits(self, row: Mapping[str, Any]) -> bool:
        """Whether a row satisfies it; a row without the figure does not."""
        value = row.get(self.column)
        if value is None or is_missing(value):
            return False
        return float(value) <= self.value if self.sign == "<=" else float(value) >= self.value


def parse(text: str) -> tuple[Limit, ...]:
    """Limits from their spelling on the command line.

    Raises:
        InvalidSpec: not of that form, a wrong unit, or a limit in the wrong direction.
        UnknownName: not a quantity.

    >>> [limit.text for limit in parse("latency<=0.02s,memory<=4GiB")]
    ['latency <= 20.0 ms', 'memory <= 4,096 MiB']
    """
    limits = tuple(_limit(term.strip()) for term in text.split(",") if term.strip())
    if not limits:
        raise InvalidSpec("--budget is empty; for example --budget 'latency<=20ms,memory<=4GiB'")
    return limits


def best_within(rows: Sequence[Row], limits: Sequence[Limit]) -> Row | None:
    """The row of the highest rSum that satisfies all limits; the faster one of equals; None if none does."""
    return best(row for row in rows if all(limit.admits(row) for limit in limits))


def _limit(term: str) -> Limit:
    matched = _TERM.fullmatch(term)
    if matched is None:
        raise InvalidSpec(
            f"--budget cannot read '{term}'; expected a quantity, <= or >=, a number and a unit, such as latency<=20ms"
        )
    name, sign, number, unit = matched.groups()
    if name not in QUANTITIES:
        raise UnknownName("quantity in --budget", name, QUANTITIES)
    column, wanted, shown, units = QUANTITIES[name]
    if sign not in (wanted, wanted[0]):
        raise InvalidSpec(f"--budget: {name} takes {wanted}, got '{term}'")
    if unit not in units:
        valid = ", ".join(repr(known) if known else "none" for known in units)
        raise InvalidSpec(f"--budget: {name} has no unit '{unit}' in '{term}'; valid: {valid}")
    return Limit(name, column, wanted, float(number) * units[unit], shown)
