"""Money on leaderboards: seconds and energy times prices, counted by hand; what was not measured costs nothing known."""

from __future__ import annotations

import pytest

from harness.errors import InvalidSpec
from harness.records.parts import Cost, Devices, Training
from harness.records.run import RunRecord
from harness.reports.leaderboard.prices import Prices, priced
from harness.reports.leaderboard.report import build


def record(seconds=7200.0, count=None, **cost) -> RunRecord:
    devices = Devices(count=count, names=("x",) * count, backend="gloo") if count else None
    known = {"epochs": 3, "seconds": seconds} if seconds is not None else {}
    return RunRecord(
        run_id="0" * 16, scorer="x", backbone="b", dataset="d", protocols=("full",), seed=0, data_sha256="0" * 64,
        status="finished", started="2026", cost=Cost(**cost),
        training=Training(**known, **({"devices": devices} if devices else {})),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("prices", "given", "training", "pairs"),
    [
        (Prices(per_hour=3.0), record(pairs_per_second=1e6), 6.0, 3.0 / 3600),
        (Prices(per_hour=3.0), record(count=4, pairs_per_second=5e5), 24.0, 6.0 / 3600),
        (Prices(per_kwh=0.5), record(train_energy_wh=400.0, energy_wh_per_million_pairs=2.0), 0.2, 0.001),
        (
            Prices(per_hour=3.0, per_kwh=0.5),
            record(train_energy_wh=400.0, pairs_per_second=1e6, energy_wh_per_million_pairs=2.0),
            6.2,
            3.0 / 3600 + 0.001,
        ),
        (Prices(per_kwh=0.5), record(), None, None),  # energy was not measured
        (Prices(per_hour=3.0, per_kwh=0.5), record(pairs_per_second=1e6), None, None),  # a part is never the whole
        (Prices(per_hour=3.0), record(seconds=None, pairs_per_second=1e6), None, 3.0 / 3600),  # was not trained
        (Prices(per_hour=0.0), record(pairs_per_second=1e6), 0.0, 0.0),
    ],
)
def test_money_is_amounts_times_prices(prices, given, training, pairs):
    assert priced([given], prices) == pytest.approx({"training_money": training, "pairs_money": pairs})


def test_a_row_costs_the_median_of_its_runs():
    runs = [record(seconds) for seconds in (3600.0, 7200.0, 36000.0)]
    assert priced(runs, Prices(per_hour=1.0))["training_money"] == 2.0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"currency": "EUR"}, "give --price-per-hour or --price-per-kwh too"),
        ({"per_hour": -1.0}, "at least 0"),
        ({"per_kwh": float("inf")}, "finite"),
        ({"per_hour": 1.0, "currency": "x" * 13}, "at most 12 characters"),
    ],
)
def test_prices_that_are_none_are_refused(given, message):
    with pytest.raises(InvalidSpec, match=message):
        Prices(**given)


@pytest.mark.parametrize(("per_kwh", "told"), [(0.3, ["The energy of training clip was not measured"]), (None, [])])
def test_costs_that_lack_measured_energy_are_named(runs, per_kwh, told):
    training = {"epochs": 3, "seconds": 60.0}
    runs.add_drawn(0.5, scorer="scan", training=training, cost={"train_energy_wh": 2.0, "pairs_per_second": 1e6})
    runs.add_drawn(0.6, scorer="clip", training=training, cost={"pairs_per_second": 1e6})
    report = build(runs.store, runs.ids, title="x", prices=Prices(per_hour=1.0, per_kwh=per_kwh))
    lines = [line for line in report.sections[0].reading if "energy of training" in line.lower()]
    assert [line.split(",")[0] for line in lines] == told


def test_columns_name_the_currency_and_the_prices():
    first, second = Prices(per_hour=2.5, per_kwh=0.3, currency="EUR").columns()
    assert first.title == "Training (EUR)"
    assert "2.5 EUR per hour of a device, 0.3 EUR per kWh" in second.help
