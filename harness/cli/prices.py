"""Options of what a reader pays, for the columns of money on leaderboards."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from harness.cli.options import FiniteRange


def price_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The prices, handed over as `prices`, or None where none is given."""

    @click.option(
        "--price-per-hour", "per_hour", type=FiniteRange(min=0), metavar="PRICE", help="Price of an hour of one device."
    )
    @click.option(
        "--price-per-kwh", "per_kwh", type=FiniteRange(min=0), metavar="PRICE", help="Price of a kWh of energy."
    )
    @click.option("--currency", default="", show_default=False, metavar="NAME", help="Unit of the prices, e.g. EUR.")
    @functools.wraps(command)
    def with_prices(*arguments: Any, per_hour: float | None, per_kwh: float | None, currency: str, **own: Any) -> Any:
        from harness.reports.leaderboard.prices import Prices

        given = per_hour is not None or per_kwh is not None or bool(currency)
        prices = Prices(per_hour=per_hour, per_kwh=per_kwh, currency=currency) if given else None
        return command(*arguments, prices=prices, **own)

    return with_prices
