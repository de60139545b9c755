"""Energy from counters of fake machines: sysfs trees and a fake NVML; this decides nothing about real ones."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch

from harness.measure import cost
from harness.measure.energy import meter, nvml, rapl
from harness.records import noise
from harness.records.parts import Cost
from harness.training.state import Epoch, TrainingResult

RANGE = 262_143_328_850


def zone(root, name, label, energy=0, most=RANGE):
    folder = root / name
    folder.mkdir(parents=True)
    for file, text in (("name", label), ("max_energy_range_uj", most), ("energy_uj", energy)):
        (folder / file).write_text(f"{text}\n")
    return folder / "energy_uj"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_packages_alone_are_added_up(tmp_path, clock):
    first = zone(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    second = zone(tmp_path, "intel-rapl:1", "package-1", 5_000_000)
    others = [
        zone(tmp_path, name, label)
        for name, label in (
            ("intel-rapl:0:0", "core"),
            ("intel-rapl:0:1", "dram"),
            ("intel-rapl:2", "psys"),
            ("intel-rapl-mmio:0", "package-0"),
        )
    ]
    found = rapl.find(tmp_path, clock)
    first.write_text("3500000\n")
    second.write_text("6000000\n")
    for counter in others:
        counter.write_text("99000000\n")
    assert found.read() == pytest.approx(2.5 + 1.0)
    assert found.read() == pytest.approx(3.5)


def test_counters_that_go_round_are_followed(tmp_path, clock):
    """Against the sum of what was drawn, over many rounds of a small counter."""
    counter, drawn, most = zone(tmp_path, "intel-rapl:0", "package-0", 900, 1_000_000_000), 0, 1_000_000_000
    found = rapl.find(tmp_path, clock)
    for step in range(50):
        more = 130_000_000 + step * 1_000_003
        drawn += more
        clock.now += 0.5
        counter.write_text(str((900 + drawn) % most))
        total = found.read()
    assert drawn > 5 * most
    assert total == pytest.approx(drawn / 1e6)


def test_a_counter_that_may_have_gone_round_unseen_tells_nothing(tmp_path, clock):
    zone(tmp_path, "intel-rapl:0", "package-0")
    found = rapl.find(tmp_path, clock)
    clock.now = 3600.0
    with pytest.raises(ValueError, match="3600 s between two readings"):
        found.read()


@pytest.mark.parametrize("case", ["nothing", "unreadable", "damaged", "no package"])
def test_machines_that_do_not_tell_have_no_energy(tmp_path, clock, case):
    if case != "nothing":
        counter = zone(tmp_path, "intel-rapl:0", "psys" if case == "no package" else "package-0")
        zone(tmp_path, "intel-rapl:1", "core" if case == "no package" else "package-1")
    if case == "unreadable":  # root reads every mode, so a folder stands for what may not be read
        counter.unlink()
        counter.mkdir()
    if case == "damaged":
        counter.write_text("many\n")
    assert rapl.find(tmp_path, clock) is None


class NVMLError(Exception):
    pass


class FakeNvml(SimpleNamespace):
    """A GPU with or without a counter of energy."""

    NVMLError = NVMLError
    millijoules, milliwatts, opened = 5_000_000, 200_000, 0

    def __init__(self, *, counts=True, here=True):
        super().__init__(counts=counts, here=here)

    def nvmlInit(self):
        if not self.here:
            raise NVMLError("driver not loaded")
        self.opened += 1

    def nvmlShutdown(self):
        self.opened -= 1

    def nvmlDeviceGetHandleByUUID(self, uuid):
        if uuid != "GPU-1234":
            raise NVMLError("not found")
        return "handle"

    def nvmlDeviceGetTotalEnergyConsumption(self, handle):
        if not self.counts:
            raise NVMLError("not supported")
        return self.millijoules

    def nvmlDeviceGetPowerUsage(self, handle):
        return self.milliwatts


def test_a_gpu_is_measured_by_its_counter(monkeypatch):
    gpu = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", gpu)
    found = nvml.find("1234")
    gpu.millijoules += 7_200_000
    assert (found.name, found.read()) == ("gpu", 7200.0)
    found.close()
    assert gpu.opened == 0


def test_a_gpu_without_a_counter_is_measured_by_its_power(monkeypatch, clock):
    gpu = FakeNvml(counts=False)
    monkeypatch.setitem(sys.modules, "pynvml", gpu)
    found = nvml.find("GPU-1234", clock)
    for second in range(1, 5):  # from 200 to 280 W within 4 s: 960 J
        clock.now, gpu.milliwatts = float(second), 200_000 + 20_000 * second
        total = found.read()
    assert (found.name, total) == ("gpu (power samples)", pytest.approx(960.0))
    clock.now = 60.0
    with pytest.raises(ValueError, match="between two samples"):
        found.read()


@pytest.mark.parametrize("case", ["no package", "no driver", "another gpu"])
def test_gpus_that_do_not_tell_have_no_energy(monkeypatch, case):
    gpu = FakeNvml(here=case != "no driver")
    monkeypatch.setitem(sys.modules, "pynvml", None if case == "no package" else gpu)
    assert nvml.find("9999" if case == "another gpu" else "1234") is None
    assert gpu.opened == 0


class Made:
    """A source whose readings a test decides."""

    period = 0.0

    def __init__(self, name, readings):
        self.name, self._readings, self.closed = name, iter(readings), False

    def read(self):
        value = next(self._readings)
        if isinstance(value, Exception):
            raise value
        return value

    def close(self):
        self.closed = True


def test_a_block_has_the_watt_hours_of_every_source_that_stayed_sound(monkeypatch):
    sources = [
        Made("cpu package", [10.0, 7210.0]),
        Made("gpu", [0.0, OSError("gone")]),
        Made("still", [5.0, 5.0]),
    ]
    monkeypatch.setattr(meter, "sources_of", lambda device: sources)
    with meter.energy_of("cpu") as spent:
        assert spent == {}
    assert spent == {"cpu package": 2.0}
    assert all(source.closed for source in sources)


def test_a_block_that_fails_closes_its_sources(monkeypatch):
    source = Made("gpu", [0.0])
    monkeypatch.setattr(meter, "sources_of", lambda device: [source])
    with pytest.raises(RuntimeError, match="boom"), meter.energy_of("cpu"):
        raise RuntimeError("boom")
    assert source.closed


def epoch(number, spent):
    return Epoch(
        epoch=number, losses={}, validation={"rsum": 1.0}, learning_rate=0.1, seconds=1.0, energy_wh=dict(spent)
    )


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [
        ([{"gpu": 1.0, "cpu package": 0.5}, {"gpu": 2.0, "cpu package": 0.25}], (3.75, "cpu package, gpu")),
        ([{"gpu": 1.0}, {}], None),  # resumed where nothing is measured
        ([{"gpu": 1.0}, {"gpu": 1.0, "cpu package": 1.0}], None),  # resumed on another machine
        ([{}, {}], None),
        ([], None),
    ],
)
def test_a_training_has_the_energy_of_all_its_epochs_or_none(epochs, expected):
    result = TrainingResult(history=[epoch(number, spent) for number, spent in enumerate(epochs)])
    keys = ("train_energy_wh", "train_energy_covers")
    assert result.energy == ({} if expected is None else dict(zip(keys, expected, strict=True)))


def test_scoring_has_its_energy_per_million_pairs(monkeypatch):
    from harness.fragments import Fragments

    side = Fragments(torch.ones(4, 1, 2), torch.ones(4, 1, dtype=torch.bool))
    calls = []
    monkeypatch.setattr(meter, "sources_of", lambda device: [Made("gpu", [0.0, 36.0])])
    monkeypatch.setattr(cost, "similarity_matrix", lambda scorer, images, texts: calls.append(len(images) * len(texts)))
    monkeypatch.setattr(cost, "ENERGY_SECONDS", 0.001)
    found = cost._energy(None, side, side, 8, torch.device("cpu"))
    assert calls
    assert set(calls) == {8}
    assert found == {"energy_wh_per_million_pairs": pytest.approx(1e6 * 0.01 / sum(calls)), "energy_covers": "gpu"}
    monkeypatch.setattr(meter, "sources_of", lambda device: [])
    assert cost._energy(None, side, side, 8, torch.device("cpu")) == {}


def test_energy_of_a_package_is_noisy_beside_other_processes():
    busy = {"train_energy_wh": 1.0, "train_other_cpu_percent": 50.0}
    assert noise.is_noisy([Cost(**busy, train_energy_covers="cpu package, gpu")], "train_energy_wh")
    assert not noise.is_noisy([Cost(**busy, train_energy_covers="gpu")], "train_energy_wh")
    read = Cost(**busy, train_energy_covers="gpu")
    assert "train_energy_covers" not in read.figures
    assert Cost.model_validate(read.model_dump()).train_energy_covers == "gpu"


class Steady:
    """36 J between any two readings."""

    name, period = "gpu", 0.0

    def __init__(self):
        self.joules = 0.0

    def read(self):
        self.joules += 36.0
        return self.joules

    def close(self):
        pass


@pytest.fixture
def trained(tmp_path, monkeypatch):
    from harness.records.store import RunStore
    from harness.runs.experiment import run_cells
    from harness.runs.planning import plan
    from harness.spec import load_experiment

    monkeypatch.setattr(meter, "sources_of", lambda device: [Steady()])
    monkeypatch.setattr(cost, "ENERGY_SECONDS", 0.001)
    spec = load_experiment(
        {
            "name": "tiny",
            "dataset": {"name": "scenes", "train_images": 40, "val_images": 10, "test_images": 12, "image_size": 32},
            "image": {"name": "regions", "width": 16},
            "text": {"name": "bigru", "width": 16},
            "training": {"epochs": 3, "batch_size": 32, "learning_rate": 0.003, "decay_epochs": []},
            "evaluation": {"cost_repeats": 3},
            "protocols": ["full"],
            "seeds": 1,
            "scorers": ["scan"],
        }
    )
    store = RunStore(tmp_path / "results")
    (record,) = run_cells(plan(spec), store, device=torch.device("cpu")).records
    return store, record


def test_a_run_records_its_energy_and_tables_show_it_with_what_it_is_of(trained):
    from harness.reports.leaderboard.report import build
    from harness.reports.run.costs import cost_sentences, cost_table

    store, record = trained
    read = store.require(record.run_id)
    assert [epoch.energy_wh for epoch in read.training.history] == [{"gpu": 0.01}] * 3
    assert read.cost.train_energy_wh == pytest.approx(0.03)
    assert (read.cost.train_energy_covers, read.cost.energy_covers) == ("gpu", "gpu")
    assert read.cost.energy_wh_per_million_pairs > 0
    (row,) = [row for row in cost_table(read).frame.to_dict("records") if row["key"] == "train_energy_wh"]
    assert (row["median"], row["unit"]) == (pytest.approx(0.03), "Wh")
    assert any("The energy of training is that of: gpu" in sentence for sentence in cost_sentences(read))

    def cost_columns(report):
        (table,) = [table for section in report.sections for table in section.tables if table.key.startswith("cost-")]
        return [column.key for column in table.columns]

    board = build(store, [record.run_id], title="energy")
    assert board.main["energy_covers"].tolist() == ["gpu"]
    assert {"train_energy_wh", "energy_wh_per_million_pairs", "energy_covers"} <= set(cost_columns(board))
    silent = {key: value for key, value in read.cost.figures.items() if "energy" not in key}
    store.write(read.model_copy(update={"cost": Cost(**silent)}))
    assert not any("energy" in key for key in cost_columns(build(store, [record.run_id], title="none")))
