"""What trainings and scoring cost in money, from recorded seconds and energy and the prices that a reader gives.

Nothing of it is stored: prices are the reader's, and change.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.errors import InvalidSpec
from harness.records.run import RunRecord
from harness.reports.document.model import Column

_LONGEST_CURRENCY = 12


@dataclass(frozen=True, kw_only=True)
class Prices:
    """What a reader pays.

    >>> Prices(per_hour=2.0, currency="EUR").said
    '2 EUR per hour of a device'

    Args:
        per_hour: of each device that trains or scores; None = not counted.
        per_kwh: of energy, where it was measured; None = not counted.
        currency: any name, for titles.

    Raises:
        InvalidSpec: no price, a negative one, or a name that no table can show.
    """

    per_hour: float | None = None
    per_kwh: float | None = None
    currency: str = ""

    def __post_init__(self) -> None:
        given = [price for price in (self.per_hour, self.per_kwh) if price is not None]
        if not given:
            raise InvalidSpec("--currency names the unit of a price; give --price-per-hour or --price-per-kwh too")
        if any(not math.isfinite(price) or price < 0 for price in given):
            raise InvalidSpec("a price must be a finite number of at least 0")
        if len(self.currency) > _LONGEST_CURRENCY or not self.currency.isprintable():
            raise InvalidSpec(f"--currency must be one printable word of at most {_LONGEST_CURRENCY} characters")

    @property
    def said(self) -> str:
        """The prices in words."""
        unit = f" {self.currency}" if self.currency else ""
        parts = {"per hour of a device": self.per_hour, "per kWh": self.per_kwh}
        return ", ".join(f"{price:g}{unit} {what}" for what, price in parts.items() if price is not None)

    def money(self, hours: float | None, watt_hours: float | None) -> float | None:
        """What some device hours and some energy cost; None where a price meets nothing measured."""
        parts = [
            (self.per_hour, hours),
            (self.per_kwh, None if watt_hours is None else watt_hours / 1000),
        ]
        counted = [(price, amount) for price, amount in parts if price is not None]
        if any(amount is None for _, amount in counted):
            return None
        return sum(price * amount for price, amount in counted if amount is not None)

    def columns(self) -> tuple[Column, ...]:
        """For the table of costs."""
        unit = f" ({self.currency})" if self.currency else ""
        of = f"at {self.said}"
        return (
            Column("training_money", f"Training{unit}", "significant", help=f"one training, {of}", better="lower"),
            Column(
                "pairs_money",
                f"Million pairs{unit}",
                "significant",
                help=f"scoring encoded pairs, {of}",
                better="lower",
            ),
        )


#: Keys of the columns, which the CSV always has.
MONEY = ("training_money", "pairs_money")


def priced(records: Sequence[RunRecord], prices: Prices) -> dict[str, float | None]:
    """Medians over the runs of a method of what one training, and scoring a million encoded pairs, cost."""
    amounts: dict[str, Callable[[RunRecord], float | None]] = {
        "training_money": lambda record: prices.money(_training_hours(record), record.cost.train_energy_wh),
        "pairs_money": lambda record: prices.money(_pair_hours(record), record.cost.energy_wh_per_million_pairs),
    }
    found = {}
    for key, amount in amounts.items():
        known = [money for record in records if (money := amount(record)) is not None]
        found[key] = statistics.median(known) if known else None
    return found


def _training_hours(record: RunRecord) -> float | None:
    """Device hours of a training; None of a run without one."""
    training = record.training
    if not training.epochs or training.seconds is None:
        return None
    return training.seconds / 3600 * (training.devices.count if training.devices else 1)


def _pair_hours(record: RunRecord) -> float | None:
    rate = record.cost.pairs_per_second
    return 1e6 / rate / 3600 if rate else None
