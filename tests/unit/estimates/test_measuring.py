"""From timed steps to a whole run: a bench whose work takes exactly what a formula says, on a clock that it moves."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.estimates.extrapolate import Work, estimate, evaluation_at, full_batch, steps_of
from harness.estimates.measure import measure
from harness.records.plan import Split
from harness.spec import TrainingSpec

MB = 10**6


class FormulaBench:
    """A step takes a fixed part, a part per pair and a part per pair of pairs; everything else is linear."""

    def __init__(self, fixed: float = 1.0, each: float = 0.5, square: float = 0.001):
        self.fixed, self.each, self.square = fixed, each, square
        self.now = 0.0
        self.batches: list[int] = []

    def clock(self) -> float:
        return self.now

    def step(self, batch: int) -> None:
        self.batches.append(batch)
        self.now += self.step_seconds(batch)

    def step_seconds(self, batch: int) -> float:
        return self.fixed + self.each * batch + self.square * batch**2

    def loss(self, batch: int) -> None:
        self.now += 0.01 + self.square * batch**2

    def images(self, count: int) -> None:
        self.now += count / 4

    def captions(self, count: int) -> None:
        self.now += count / 40

    def pairs(self, images: int, captions: int) -> None:
        self.now += images * captions / 1000

    def saved(self, work: Callable[[], None]) -> int:
        before, count = self.now, len(self.batches)
        work()
        took, self.now = self.now - before, before
        if len(self.batches) > count:
            return 100 * MB * self.batches[-1] + MB * self.batches[-1] ** 2
        return round(MB * (took - 0.01) / self.square)  # a loss: the square of its batch

    def item_bytes(self) -> tuple[int, int]:
        return 1000, 100


def planned(bench: FormulaBench, batch: int, seconds: float, epochs: int = 3):
    measured = measure(bench, batch, train=epochs > 0, seconds=seconds, data="formula", clock=bench.clock)
    work = Work(
        training=TrainingSpec(epochs=epochs, batch_size=batch),
        steps_per_epoch=10,
        validation=Split(images=20, captions=100),
        test=Split(images=40, captions=200),
    )
    return measured, estimate(measured.model_copy(update={"parameters": MB, "trainable": MB // 2}), work)


@pytest.mark.parametrize(("batch", "seconds"), [(64, 5.0), (64, 20.0), (64, 60.0), (384, 20.0), (100, 30.0)])
def test_a_step_is_extrapolated_exactly_where_its_parts_are_what_they_are(batch, seconds):
    bench = FormulaBench()
    measured, found = planned(bench, batch, seconds)
    assert max(measured.steps) < batch
    assert found.measured_batch == max(measured.steps)
    assert found.step_seconds == pytest.approx(bench.step_seconds(batch), rel=1e-6)


def test_a_batch_for_which_there_is_time_is_measured_and_not_extrapolated():
    bench = FormulaBench(each=0.001)
    measured, found = planned(bench, 32, 60.0)
    assert sorted(measured.steps) == [2, 4, 8, 16, 32]
    assert found.measured_batch == 32
    assert found.step_seconds == pytest.approx(bench.step_seconds(32))


def test_the_budget_is_kept_but_for_the_calls_that_have_begun():
    for seconds in (10.0, 60.0, 600.0):
        bench = FormulaBench()
        planned(bench, 512, seconds)
        largest = bench.step_seconds(max(bench.batches))
        assert bench.now < 1.5 * seconds + 2 * largest


def test_a_model_too_slow_for_the_budget_is_still_measured_at_two_batches():
    bench = FormulaBench(fixed=1000.0, each=500.0)
    measured, found = planned(bench, 64, 1.0)
    assert sorted(measured.steps) == [2, 4]
    assert found.step_seconds == pytest.approx(bench.step_seconds(64), rel=1e-6)


def test_the_times_of_a_run_add_up():
    bench = FormulaBench()
    _, found = planned(bench, 64, 60.0, epochs=3)
    assert found.training_seconds == pytest.approx(3 * 10 * bench.step_seconds(64))
    one = lambda images, captions: images / 4 + captions / 40 + images * captions / 1000  # noqa: E731
    assert found.validation_seconds == pytest.approx(3 * one(20, 100))
    assert found.test_seconds == pytest.approx(one(40, 200))
    assert found.seconds == found.training_seconds + found.validation_seconds + found.test_seconds


def test_memory_and_disk_add_up():
    _, found = planned(FormulaBench(), 64, 60.0)
    weights, moments_and_gradients, best = 4 * MB, 3 * 4 * MB // 2, 4 * MB
    saved = 64 * 100 * MB + 64**2 * MB
    assert found.memory_bytes == weights + moments_and_gradients + best + saved
    assert found.kept_bytes == weights
    assert found.working_bytes == 2 * weights + 2 * 4 * MB // 2


def test_a_model_that_is_only_evaluated_costs_its_evaluation():
    measured, found = planned(FormulaBench(), 64, 60.0, epochs=0)
    assert (measured.steps, measured.pairwise, found.step_seconds, found.measured_batch) == ({}, {}, None, None)
    assert (found.training_seconds, found.validation_seconds, found.working_bytes) == (0.0, 0.0, 0)
    assert found.seconds == found.test_seconds > 0
    assert found.memory_bytes == 4 * MB + 40 * 1000 + 200 * 100 + 4 * 40 * 200


def test_an_evaluation_of_any_size_is_extrapolated_by_the_rules_of_the_engine():
    """Sides of a quarter of the free memory stay there, and so does a matrix of half of what is then left."""
    measured, _ = planned(
        FormulaBench(), 8, 10.0, epochs=0
    )  # 4 and 40 items, 1,000 pairs a second; 1,000 and 100 bytes
    gallery = Split(images=1_000_000, captions=10_000_000)  # 1 GB of fragments each, 40 TB of scores
    roomy = evaluation_at(measured, gallery)
    assert (roomy.encoding_seconds, roomy.scoring_seconds) == pytest.approx((500_000, 1e10))
    assert (roomy.streamed, roomy.disk_bytes) == (False, 0)
    assert roomy.memory_bytes == 2 * 10**9 + 4 * 10**13
    narrow = evaluation_at(measured, gallery, free=10**9)
    assert (narrow.streamed, narrow.disk_bytes, narrow.seconds) == (True, 2 * 10**9, roomy.seconds)
    assert narrow.memory_bytes == 2 * 10**9 // 4
    between = evaluation_at(measured, gallery, free=8 * 10**9)
    assert (between.streamed, between.disk_bytes) == (True, 0)
    assert between.memory_bytes == 2 * 10**9 + 2 * (6 * 10**9 // 4)
    assert not evaluation_at(measured, Split(images=1000, captions=1000), free=8 * 10**6).streamed  # small: stays


def test_saved_scores_take_disk():
    measured, _ = planned(FormulaBench(), 8, 10.0)
    work = Work(TrainingSpec(batch_size=8), 1, None, Split(images=5000, captions=25_000), saves_scores=True)
    assert estimate(measured, work).kept_bytes == 4 * 5000 * 25_000


@pytest.mark.parametrize(
    ("train", "training", "steps"),
    [
        (Split(images=29_000, captions=145_000), {"batch_size": 64}, 2266),
        (Split(images=113_287, captions=566_435), {"batch_size": 64}, 8851),
        (Split(images=113_287, captions=566_435), {"batch_size": 128, "pairs": "one_per_image"}, 886),
        (Split(images=129, captions=129), {"batch_size": 128}, 1),  # a single pair has no negatives
    ],
)
def test_steps_of_an_epoch(train, training, steps):
    assert steps_of(train, TrainingSpec(**training)) == steps


def test_noise_never_makes_a_larger_batch_cheaper():
    assert full_batch({2: 3.0, 4: 2.0}, {}, 64) == 2.0
