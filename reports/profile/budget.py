"""Budgets: `latency<=20ms,memory<=4GiB` as limits on the columns of a profile."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import InvalidSpec, UnknownName
from harness.reports.document.model import is_missing
from harness.reports.document.text import significant

_TIME = {"us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1000.0}
_BYTES = {
    "B": 1.0, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30, "TiB": 2.0**40,
}  # fmt: skip
_COUNT = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9}
_TERM = re.compile(r"^\s*([A-Za-z_0-9]+)\s*(<=|>=|<|>|=)\s*([0-9.]+(?:[eE][+-]?\d+)?)\s*([A-Za-zµ]*)\s*$")


@dataclass(frozen=True)
class Quantity:
    """Something that can be limited.

    Args:
        column: of a profile's rows.
        units: accepted units and what one of them is in the column's unit.
        shown: the column's unit.
        most: True = a limit says at most, False = at least.
    """

    column: str
    units: Mapping[str, float]
    shown: str
    most: bool = True


QUANTITIES = {
    "latency": Quantity("t2i_ms", _TIME, "ms"),
    "latency_t2i": Quantity("t2i_ms", _TIME, "ms"),
    "latency_i2t": Quantity("i2t_ms", _TIME, "ms"),
    "latency_p95": Quantity("t2i_ms_p95", _TIME, "ms"),
    "memory": Quantity("memory_mib", {unit: size / 2.0**20 for unit, size in _BYTES.items()}, "MiB"),
    "index": Quantity("index_mib", {unit: size / 2.0**20 for unit, size in _BYTES.items()}, "MiB"),
    "index_per_image": Quantity("index_bytes_per_image", _BYTES, "B"),
    "parameters": Quantity("params_millions", {unit: size / 1e6 for unit, size in _COUNT.items()}, "M"),
    "pairs_per_second": Quantity("pairs_per_second", _COUNT, "", most=False),
    "rsum": Quantity("rsum", {"": 1.0}, "", most=False),
}


@dataclass(frozen=True)
class Limit:
    """One limit of a budget.

    Args:
        name: as the user wrote it.
        quantity: what is limited.
        value: in the column's unit.
    """

    name: str
    quantity: Quantity
    value: float

    @property
    def text(self) -> str:
        """`latency <= 20 ms`."""
        sign = "<=" if self.quantity.most else ">="
        return f"{self.name} {sign} {significant(self.value, 3)} {self.quantity.shown}".strip()

    def admits(self, row: Mapping[str, Any]) -> bool:
        """Whether a row keeps it; a row without the figure does not."""
        value = row.get(self.quantity.column)
        if is_missing(value):
            return False
        return float(value) <= self.value if self.quantity.most else float(value) >= self.value  # type: ignore[arg-type]


def parse(text: str) -> tuple[Limit, ...]:
    """Limits from `latency<=20ms,memory<=4GiB`.

    Raises:
        InvalidSpec: not of that form, a wrong unit, or a limit in the wrong direction.
        UnknownName: not a quantity.
    """
    limits = tuple(_limit(term) for term in text.split(",") if term.strip())
    if not limits:
        raise InvalidSpec("--budget is empty; for example --budget 'latency<=20ms,memory<=4GiB'")
    return limits


def best_within(rows: Sequence[Mapping[str, Any]], limits: Sequence[Limit]) -> Mapping[str, Any] | None:
    """The row of the highest rSum that keeps all limits; the faster one of equals; None if none does."""
    admitted = [row for row in rows if all(limit.admits(row) for limit in limits)]
    return max(admitted, key=lambda row: (row["rsum"], -row["t2i_ms"]), default=None)


def _limit(term: str) -> Limit:
    matched = _TERM.match(term)
    if matched is None:
        raise InvalidSpec(
            f"--budget cannot read '{term.strip()}'; expected a quantity, <= or >=, a number and a unit, such as latency<=20ms"
        )
    name, sign, number, unit = matched.groups()
    if name not in QUANTITIES:
        raise UnknownName("quantity in --budget", name, QUANTITIES)
    quantity = QUANTITIES[name]
    if sign.startswith(">" if quantity.most else "<") or sign == "=":
        wanted = "<=" if quantity.most else ">="
        raise InvalidSpec(f"--budget: {name} takes {wanted}, got '{term.strip()}'")
    if unit not in quantity.units:
        units = ", ".join(repr(known) if known else "none" for known in quantity.units)
        raise InvalidSpec(f"--budget: {name} has no unit '{unit}' in '{term.strip()}'; valid: {units}")
    try:
        value = float(number)
    except ValueError:
        raise InvalidSpec(f"--budget: '{number}' in '{term.strip()}' is not a number") from None
    return Limit(name, quantity, value * quantity.units[unit])
