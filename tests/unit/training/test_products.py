"""Products of a training by oneDNN: against float64 and torch's own, in whole steps of every scorer, and how they are chosen."""

from __future__ import annotations

import itertools

import pytest
import torch
from steps_of_scorers import CASES, distances, steps

from harness.errors import InvalidSpec
from harness.records.store import RunStore
from harness.runs.building import build_scorer, open_dataset
from harness.runs.cell import run_cell
from harness.runs.experiment import run_cells
from harness.runs.planning import plan
from harness.spec import TrainingSpec, load_experiment
from harness.training import loop, precision
from harness.training.products import choice, onednn
from harness.training.products.choice import ADVANTAGE, ROUNDS, Taken, named, tuned

CPU = torch.device("cpu")

pytestmark = pytest.mark.skipif(not onednn.available(), reason="this build of torch has no oneDNN")


@pytest.fixture
def small_ones(monkeypatch):
    """Products of any size are sent; the list of their shapes (m, k, n)."""
    sent = []
    multiplied = onednn.multiplied

    def noted(left, right):
        product = multiplied(left, right)
        if product is not None:
            sent.append((*left.shape, right.shape[1]))
        return product

    for name in ("LEAST_WORK", "LEAST_EXTENT", "LEAST_TERMS_OVER_ROWS"):
        monkeypatch.setattr(onednn, name, 1)
    monkeypatch.setattr(onednn, "multiplied", noted)
    return sent


def _matrix(rows: int, columns: int, transposed: bool, **options) -> torch.Tensor:
    made = torch.randn(*((columns, rows) if transposed else (rows, columns)), **options)
    return made.T if transposed else made


#: Which sides lie column after column: as in the forward pass of a layer, and in the two products of its backward pass.
LAYOUTS = [(False, True), (False, False), (True, False)]


@pytest.mark.parametrize("layout", LAYOUTS, ids=["forward", "to the input", "to the weight"])
@pytest.mark.parametrize("shape", [(300, 257, 128), (64, 4096, 64), (999, 260, 70)], ids=str)
def test_a_product_is_that_of_float64(shape, layout):
    m, k, n = shape
    torch.manual_seed(0)
    left, right = _matrix(m, k, layout[0]), _matrix(k, n, layout[1])
    exact = left.double() @ right.double()
    found = onednn.multiplied(left, right)
    assert found.dtype == torch.float32
    assert found.is_contiguous()
    assert float((found - exact).norm() / exact.norm()) < 1e-6


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (torch.ones(300, 300).double(), torch.ones(300, 300).double()),
        (torch.ones(300, 300).bfloat16(), torch.ones(300, 300).bfloat16()),
        (torch.ones(300, 300).T, torch.ones(300, 300).T),
        (torch.ones(300, 600)[:, :300], torch.ones(300, 300)),
        (torch.ones(300, 300), torch.ones(300, 300)[:, ::2]),
        (torch.ones(300, 1)[:, [0] * 300].T[::1, :].expand(300, 300), torch.ones(1, 300).expand(300, 300)),
        (torch.ones(64, 64), torch.ones(64, 64)),
        (torch.ones(10_000, 8), torch.ones(8, 10_000)),
        (torch.ones(128, 1024).T, torch.ones(128, 1024)),
    ],
    ids=["float64", "bfloat16", "both", "gaps", "strides", "expanded", "small", "thin", "few terms"],
)
def test_what_stays_with_torch(left, right):
    assert onednn.multiplied(left, right) is None
    with onednn.OneDnnProducts():
        product = left @ right
    assert torch.equal(product, left @ right)


def test_a_layer_and_its_gradients(small_ones):
    """Bias, a side that needs no gradient, and a higher rank."""
    torch.manual_seed(0)
    layer, inputs = torch.nn.Linear(33, 21), torch.randn(5, 7, 33)
    weights = torch.randn(5, 7, 21)

    def gradients(module, batch):
        module.zero_grad()
        output = module(batch)
        (output * weights.to(output)).sum().backward()
        return [output.detach(), *(parameter.grad.clone() for parameter in module.parameters())]

    with onednn.OneDnnProducts():
        ours = gradients(layer, inputs)
    assert small_ones == [(35, 33, 21), (21, 35, 33)]
    exact = gradients(layer.double(), inputs.double())
    for got, expected in zip(ours, exact, strict=True):
        assert float((got - expected).norm() / expected.norm()) < 1e-6


def test_second_derivatives_and_doubles_are_left_alone(small_ones):
    torch.manual_seed(0)
    sides = [torch.randn(4, 3, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    with onednn.OneDnnProducts():
        assert torch.autograd.gradcheck(lambda left, right: (left @ right.T).tanh(), sides)
        assert torch.autograd.gradgradcheck(lambda left, right: (left @ right.T).tanh(), sides)
    assert not small_ones


@pytest.mark.parametrize("name", CASES)
def test_a_step_has_the_gradients_of_the_other_product(name, small_ones):
    case = CASES[name]
    plain = steps(case)
    assert not small_ones
    routed = steps({**case, "training": {**case.get("training", {}), "product": "onednn"}})
    assert len(small_ones) > 10
    found = distances(routed, plain)
    assert max(found.values()) < 1e-5, found


def test_the_same_bits_every_time(small_ones):
    case = {**CASES["scan"], "training": {"product": "onednn"}}
    first, second = steps(case), steps(case)
    assert small_ones
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("spec", "device", "processes", "line"),
    [
        (
            {"product": "onednn"},
            "cuda",
            1,
            "training.product is onednn, which multiplies on a CPU, and the device is cuda; set training.product=torch",
        ),
        (
            {"product": "tune"},
            "cpu",
            2,
            "training.product is tune, which times the steps of one process, and devices is 2; set training.product to "
            "torch or onednn",
        ),
    ],
)
def test_what_is_not_to_be_had_is_refused(spec, device, processes, line):
    with pytest.raises(InvalidSpec) as caught:
        named(TrainingSpec(**spec), torch.device(device), processes)
    assert str(caught.value) == line


def test_a_build_without_it_is_refused_and_tunes_to_torch(monkeypatch):
    monkeypatch.setattr(onednn, "available", lambda: False)
    with pytest.raises(InvalidSpec, match="which this build of torch does not have"):
        named(TrainingSpec(product="onednn"), CPU)
    assert tuned(CPU, lambda product: pytest.fail("nothing to time")) == Taken()


def test_compiled_towers_exclude_it():
    with pytest.raises(ValueError, match="product is tune, which does not reach what compile compiles"):
        TrainingSpec(compile=True, product="tune")


def test_experiments_are_refused_before_anything_runs(tiny, tmp_path):
    tiny |= {"devices": 2, "training": {**tiny["training"], "product": "tune"}}
    with pytest.raises(InvalidSpec, match="times the steps of one process"):
        run_cells(plan(load_experiment(tiny)), RunStore(tmp_path))


@pytest.mark.parametrize(("factor", "taken"), [(1.0, "torch"), (ADVANTAGE, "torch"), (1.2, "onednn"), (0.5, "torch")])
def test_the_faster_product_by_a_clear_margin_is_taken(monkeypatch, factor, taken):
    """By a clock that the steps move; the first step of each takes ten times as long."""
    now, calls = [0.0], []
    monkeypatch.setattr(choice.time, "perf_counter", lambda: now[0])

    def step_by(product):
        def step(number):
            warm = calls.count(product)
            calls.append(product)
            now[0] += (factor if product == "torch" else 1.0) * (1.0 if warm else 10.0)

        return step

    found = tuned(CPU, step_by)
    assert calls == ["torch", "onednn"] * (1 + ROUNDS)
    assert found.backend == taken
    assert found.step_ms == {"torch": round(1000 * factor, 2), "onednn": 1000.0}


def test_a_trial_step_leaves_no_trace(tiny):
    """Steps on copies: weights, noise and the caller's random stream are those of a training that named the product."""
    runs = []
    for product in ("torch", "tune"):
        cell = plan(load_experiment({**tiny, "training": {**tiny["training"], "product": product, "epochs": 1}}))[0]
        dataset = open_dataset(cell.dataset)
        scorer = build_scorer(cell, dataset)
        torch.manual_seed(3)
        result = loop.fit(scorer, dataset.split("train"), dataset.split("val"), cell.training, seed=0)
        runs.append((scorer.state_dict(), result, torch.rand(1)))
    (plain, first, drawn), (timed, second, drawn_too) = runs
    assert first.product == {"backend": "torch"}
    assert set(second.product["step_ms"]) == {"torch", "onednn"}
    assert torch.equal(drawn, drawn_too)
    # Products of this width are too small to be sent, whichever was taken.
    assert all(torch.equal(plain[name], timed[name]) for name in plain)


class Killed(Exception):
    pass


def test_a_resumed_training_keeps_what_was_taken(tiny, tmp_path, monkeypatch, small_ones):
    training = {**tiny["training"], "product": "tune", "epochs": 3}
    cell = plan(load_experiment({**tiny, "training": training}))[0]
    dataset = open_dataset(cell.dataset)
    taken = [Taken(backend="onednn", step_ms={"torch": 2.0, "onednn": 1.0})]
    monkeypatch.setattr(choice, "tuned", lambda *_: taken.pop())

    def fitted(**options):
        scorer = build_scorer(cell, dataset)
        result = loop.fit(scorer, dataset.split("train"), dataset.split("val"), cell.training, seed=0, **options)
        return scorer.state_dict(), result

    def kill(epoch):
        if epoch.epoch == 1:
            raise Killed

    path = tmp_path / "checkpoint.pt"
    with pytest.raises(Killed):
        fitted(checkpoint=path, on_epoch=kill)
    assert small_ones
    resumed, result = fitted(checkpoint=path)  # with nothing left to take
    assert result.product == {"backend": "onednn", "step_ms": {"torch": 2.0, "onednn": 1.0}}
    taken.append(Taken(backend="onednn"))
    straight, _ = fitted()
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)


@pytest.mark.parametrize("product", ["torch", "onednn"])
def test_a_run_is_identified_by_it_and_records_it(tiny, tmp_path, product):
    (plain,) = plan(load_experiment(tiny))
    (cell,) = plan(load_experiment({**tiny, "training": {**tiny["training"], "product": product}}))
    assert (cell.run_id == plain.run_id) == (product == "torch")
    store = RunStore(tmp_path)
    store.prepare()
    record, code = run_cell(cell, store, CPU)
    assert code == 0, record.error
    read = store.require(cell.run_id)
    assert read.training.product.backend == product
    assert not read.training.product.step_ms


def test_slow_bfloat16_is_warned_of_in_one_line(caplog, monkeypatch):
    def told(factor, device=CPU, **spec):
        monkeypatch.setattr(precision, "slowdown", lambda: factor)
        caplog.clear()
        precision.warn_of_slow_bfloat16([TrainingSpec(), TrainingSpec(**spec)], device)
        return [record.getMessage() for record in caplog.records]

    assert told(8.4, precision="bfloat16") == [
        "training.precision is bfloat16, for which this processor has no units: a matrix product takes 8 times as long as "
        "in float32; training.precision=float32 is faster and more exact"
    ]
    for quiet in itertools.chain(
        [told(0.6, precision="bfloat16")],
        (told(8.4, precision=name) for name in ("auto", "float32")),
        [told(8.4, precision="bfloat16", epochs=0), told(8.4, torch.device("cuda"), precision="bfloat16")],
    ):
        assert quiet == []


def test_the_slowdown_is_a_ratio_of_two_products(monkeypatch):
    precision.slowdown.cache_clear()
    ticks = iter([0, 8, 0, 2] * precision.ROUNDS)  # begin and end of each product, bfloat16 first
    monkeypatch.setattr(precision.time, "perf_counter", lambda: next(ticks))
    assert precision.slowdown() == 4.0
    precision.slowdown.cache_clear()
