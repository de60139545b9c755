"""Sampling against a clock turned by hand: interleaving, sums of parts, budgets, noise."""

import pytest

from harness.measure import timing
from harness.profiles import session
from harness.profiles.session import Scenario, affordable, measure, summary
from harness.records.profile import Measure


@pytest.fixture
def advance(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])

    def forward(ms: float) -> None:
        now[0] += ms / 1000

    return forward


def chain(key, advance, *costs, log=None):
    def stage(cost):
        def run(value):
            if log is not None:
                log.append(key)
            advance(cost)
            return value

        return run

    return Scenario(key, [(f"part {i}", stage(cost)) for i, cost in enumerate(costs)])


def test_the_parts_of_a_scenario_are_timed_apart_and_add_up_to_the_whole(advance):
    result = measure([chain("query", advance, 2.0, 5.0, 1.0)], rounds=2, seconds=1, samples=6)[0]
    assert result.whole.p50 == pytest.approx(8)
    assert [part.p50 for part in result.parts.values()] == pytest.approx([2, 5, 1])
    assert result.parts_over_whole == pytest.approx(1)


def test_a_whole_that_does_more_than_its_parts_fails_the_sum_check(advance):
    """The whole is timed on its own: overhead between the stages shows."""

    class Slow(Scenario):
        def __call__(self, number):
            advance(4.0)
            return super().__call__(number)

    plain = chain("query", advance, 2.0, 2.0)
    result = measure([Slow("query", plain.stages)], rounds=2, seconds=1, samples=4)[0]
    assert result.parts_over_whole == pytest.approx(0.5)


def test_a_single_stage_has_no_parts(advance):
    result = measure([chain("train", advance, 3.0)], rounds=2, seconds=1, samples=4)[0]
    assert (result.parts, result.parts_over_whole, result.whole.samples) == ({}, None, 4)


def test_rounds_are_interleaved_forwards_and_backwards(advance):
    log: list[str] = []
    scenarios = [chain(name, advance, 1.0, log=log) for name in "abc"]
    measure(scenarios, rounds=2, seconds=1, samples=2)
    warmup = session.WARMUP_CALLS * 3
    assert "".join(log[:warmup]) == "aabbcc"
    assert "".join(log[warmup:]) == "abccba"


def test_drift_of_the_machine_hits_all_alike(advance):
    """Each call is slower than the one before; the two equal scenarios still come out equal within a step."""
    calls = [0]

    def slower(value):
        calls[0] += 1
        advance(10 + 0.1 * calls[0])
        return value

    scenarios = [Scenario(name, [("work", slower)]) for name in ("a", "b")]
    found = measure(scenarios, rounds=4, seconds=1, samples=8)
    assert found[0].whole.p50 == pytest.approx(found[1].whole.p50, rel=0.01)


def test_time_is_shared_and_cheap_scenarios_leave_theirs_to_the_others():
    assert affordable([1.0, 1.0], 10, 100) == [5, 5]
    assert affordable([1.0, 10.0], 60, 9) == [9, 5]  # 9 ms of its 30 used, 51 left
    assert affordable([1000.0, 1.0], 10, 3) == [1, 3]  # once, whatever it takes
    counts = affordable([3.0, 7.0, 11.0, 0.5], 90, 12)
    assert sum(n * c for n, c in zip(counts, [3.0, 7.0, 11.0, 0.5], strict=True)) <= 90


def test_percentiles_that_the_samples_do_not_support_are_absent():
    few, some, many = (summary([[float(i) for i in range(n)]]) for n in (10, 100, 1000))
    assert (few.p95, few.p99, some.p99) == (None, None, None)
    assert some.p95 == pytest.approx(94.05)
    assert many.p99 == pytest.approx(989.01)


@pytest.mark.parametrize(
    ("rounds", "other", "noisy"),
    [
        ((10.0, 10.5, 11.0), 1.0, False),
        ((10.0, 10.5, 12.5), 1.0, True),
        ((10.0, 10.0), 7.0, True),
        ((10.0,), None, False),
    ],
)
def test_a_measure_says_when_it_is_noisy(rounds, other, noisy):
    assert Measure(samples=9, p50=10.5, rounds=rounds, other_cpu_percent=other).noisy is noisy


def test_an_interval_of_thousands_of_samples():
    """The binomial coefficients of 2,000 samples do not fit a float."""
    low, high = timing.Timing(tuple(float(i) for i in range(2000))).interval(0.5)
    assert 945 < low < 965
    assert 1035 < high < 1055


def test_a_machine_that_slows_down_between_rounds_does_not_break_the_sum_check(advance):
    """Whole and parts of a sample are timed side by side, and compared with each other."""
    calls = [0]

    def stage(value):
        calls[0] += 1
        advance(10.0 if calls[0] < 14 else 100.0)
        return value

    result = measure([Scenario("q", [("a", stage), ("b", stage)])], rounds=3, seconds=10, samples=3)[0]
    assert result.whole.noisy
    assert result.parts_over_whole == pytest.approx(1.0)


def test_parts_are_left_out_where_only_the_whole_is_asked_for(advance):
    plain = chain("query", advance, 2.0, 2.0)
    result = measure([Scenario("query", plain.stages, apart=False)], rounds=2, seconds=1, samples=4)[0]
    assert (result.parts, result.whole.p50) == ({}, pytest.approx(4.0))
