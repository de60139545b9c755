"""Who waits for whom: a training passes by between its steps, and every measurement is made alone."""

import pytest
import torch

from harness.benchmark.measure import interleave
from harness.machine import turnstile
from harness.machine.turnstile import Turnstile
from harness.measure import quiet
from harness.measure.cost import measure_cost
from harness.measure.timing import StepTimer
from harness.profiles import session
from harness.runs.building import build_scorer, open_dataset
from harness.runs.computing import computing
from harness.runs.planning import plan
from harness.scorer import Scorer
from harness.scoring.inputs import encode_split
from harness.spec import load_experiment
from harness.training import loop, steps
from tests.unit.measure.test_cost import fragments

pytestmark = pytest.mark.skipif(turnstile.fcntl is None, reason="this system has no flock")


@pytest.fixture
def other(tmp_path, monkeypatch) -> Turnstile:
    """Another process at the turnstile of the CPU; neither waits longer than a moment."""
    mine = {name: Turnstile(name, tmp_path, sleep=lambda _: None) for name in ("cpu", "gpu-1")}
    monkeypatch.setattr(quiet, "_turnstile", mine.__getitem__)
    monkeypatch.setattr(turnstile, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(turnstile, "LONGEST_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(turnstile, "_on", True)
    return Turnstile("cpu", tmp_path, sleep=lambda _: None)


def somebody_is_inside(other: Turnstile) -> bool:
    with other.alone() as alone:
        return not alone


def somebody_is_alone(other: Turnstile) -> bool:
    with other.inside():
        return not other._inside


class Asking(Scorer):
    """Notes, whenever it scores, whether somebody is alone."""

    def __init__(self, other: Turnstile):
        super().__init__()
        self.other, self.seen = other, set()

    def score(self, images, texts):
        self.seen.add(somebody_is_alone(self.other))
        return torch.einsum("ifd,tfd->it", images.features[:, :1], texts.features[:, :1])


def test_a_run_works(other):
    with computing(1, "cpu"):
        assert somebody_is_inside(other)
        assert not somebody_is_alone(other)
    assert not somebody_is_inside(other)


def test_cost_is_measured_alone(other):
    scorer = Asking(other)
    measure_cost(scorer, None, None, fragments(4, 3), fragments(4, 2), repeats=3)
    assert scorer.seen == {True}
    assert not somebody_is_alone(other)


def test_a_scenario_of_a_profile_is_sampled_alone_and_others_continue_between_two(other):
    seen = set()
    scenario = session.Scenario("ask", [("ask", lambda number: seen.add(somebody_is_alone(other)))])
    rounds = []
    session.measure([scenario], rounds=2, seconds=0.1, progress=lambda *_: rounds.append(somebody_is_alone(other)))
    assert seen == {True}
    assert rounds == [False, False]


def test_the_bench_of_the_engine_samples_alone(other):
    seen = set()
    interleave({"ask": lambda: seen.add(somebody_is_alone(other))}, {"ask": 2})
    assert seen == {True}


def test_whoever_does_not_want_to_wait_neither_waits_nor_is_waited_for(other, monkeypatch):
    monkeypatch.setattr(turnstile, "_on", False)
    with quiet.working("cpu"):
        assert not somebody_is_inside(other)
    with quiet.alone("cpu") as alone:
        assert not alone
        assert not somebody_is_alone(other)


def test_devices_have_a_turnstile_each(other, monkeypatch):
    properties = type("Properties", (), {"uuid": "1"})
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    with quiet.working("cuda:3"), quiet.alone("cuda:0") as alone:
        assert alone  # the same GPU under two numbers: this process steps out of its own way
        assert not somebody_is_inside(other)
        assert not somebody_is_alone(other)


@pytest.fixture
def trained(tiny):
    cell = plan(load_experiment(tiny))[0]
    dataset = open_dataset(cell.dataset)
    return cell, dataset, build_scorer(cell, dataset)


def test_a_training_passes_by_before_each_step_outside_of_the_step_timer(trained, monkeypatch):
    cell, dataset, scorer = trained
    running, seen = [], []

    class Timer(StepTimer):
        def __enter__(self):
            running.append(self)
            return super().__enter__()

        def __exit__(self, *exception):
            super().__exit__(*exception)
            running.remove(self)

    monkeypatch.setattr(steps, "StepTimer", Timer)
    monkeypatch.setattr(steps, "pass_by", lambda: seen.append(len(running)))
    result = loop.fit(scorer, dataset.split("train"), dataset.split("val"), cell.training, seed=0)
    assert seen == [0] * result.steps


def test_a_training_is_inside_for_as_long_as_it_lasts(other, trained):
    cell, dataset, scorer = trained
    seen = []
    loop.fit(
        scorer, dataset.split("train"), dataset.split("val"), cell.training, seed=0,
        on_epoch=lambda epoch: seen.append(somebody_is_inside(other)),
    )  # fmt: skip
    assert seen == [True] * cell.training.epochs
    assert not somebody_is_inside(other)


def test_seconds_of_an_epoch_leave_the_wait_out(trained, monkeypatch):
    cell, dataset, scorer = trained

    def wait() -> None:
        turnstile._waited += 1000.0

    monkeypatch.setattr(turnstile, "_waited", 0.0)
    monkeypatch.setattr(steps, "pass_by", wait)
    result = loop.fit(scorer, dataset.split("train"), dataset.split("val"), cell.training, seed=0)
    spent = result.seconds + turnstile._waited
    assert 0 < spent < 1000.0  # real seconds, whatever was waited


def test_encoding_a_split_passes_by_between_batches(trained, monkeypatch):
    from harness.scoring import inputs

    _, dataset, scorer = trained
    passed = []
    monkeypatch.setattr(inputs, "pass_by", lambda: passed.append(1))
    split = dataset.split("val")
    encode_split(scorer, split, batch_size=5)
    distinct = len(set(split.captions))
    assert len(passed) == -(-len(split.images) // 5) + -(-distinct // 5)
