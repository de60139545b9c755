"""The measuring kit against a clock turned by hand, tables of order statistics, and counts done on paper."""

import gc
import json
import resource
import statistics
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn

from harness.fragments import Fragments, Tokens
from harness.measure import cost as profiling
from harness.measure import system, timing
from harness.measure.cost import measure_cost
from harness.measure.system import peak_memory
from harness.measure.timing import StepTimer, Stopwatch, Timing, timed
from harness.scorer import Scorer


class Clock:
    """A clock that only moves when told to."""

    def __init__(self):
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def advance(self, ms: float) -> None:
        self.now += ms / 1000


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(timing.time, "perf_counter", clock)
    return clock


# Timing -------------------------------------------------------------------------------------------------------------


def test_percentiles_agree_with_the_standard_library():
    samples = tuple(np.random.default_rng(0).gamma(2.0, size=57))
    hundredths = statistics.quantiles(samples, n=100, method="inclusive")
    taken = Timing(samples)
    assert taken.p50 == pytest.approx(statistics.median(samples))
    assert taken.p95 == pytest.approx(hundredths[94])
    assert taken.iqr == pytest.approx(hundredths[74] - hundredths[24])
    assert taken.minimum == min(samples)


@pytest.mark.parametrize(("count", "given"), [(3, False), (19, False), (20, True)])
def test_a_p95_needs_twenty_samples(count, given):
    taken = Timing(tuple(float(i) for i in range(count)))
    assert (taken.p95 is not None) is given
    assert set(taken.as_cost("x")) == {"x_ms_p50"} | ({"x_ms_p95"} if given else set())


@pytest.mark.parametrize(
    ("count", "ranks"), [(5, None), (6, (1, 6)), (10, (2, 9)), (20, (6, 15)), (30, (10, 21)), (50, (18, 33))]
)
def test_interval_of_the_median_has_the_tabulated_ranks(count, ranks):
    """Ranks of the 95 % interval of a median, as printed in tables of the sign test."""
    shuffled = np.random.default_rng(1).permutation(np.arange(1.0, count + 1))
    assert Timing(tuple(shuffled)).interval(0.5) == ranks


def test_interval_covers_the_quantile_at_least_as_often_as_it_says():
    generator = np.random.default_rng(2)
    true = 0.9  # of the uniform distribution
    intervals = [Timing(tuple(generator.random(80))).interval(0.9, confidence=0.9) for _ in range(600)]
    covered = np.mean([low <= true <= high for low, high in intervals])
    assert 0.88 < covered < 0.98


# Taking samples -----------------------------------------------------------------------------------------------------


def test_timed_leaves_the_warmup_out(clock):
    durations = iter([500.0, 400.0, 3.0, 1.0, 2.0])
    taken = timed(lambda: clock.advance(next(durations)), repeats=3, warmup=2)
    assert taken.samples == pytest.approx((3.0, 1.0, 2.0))


@pytest.mark.parametrize(("seconds", "expected"), [(0.0, 3), (0.045, 5), (10.0, 30)])
def test_timed_ends_early_when_its_time_is_up(clock, seconds, expected):
    taken = timed(lambda: clock.advance(10), repeats=30, warmup=1, seconds=seconds)
    assert len(taken.samples) == expected


def test_the_garbage_collector_rests_between_samples_and_returns_after_a_failure():
    seen = []
    timed(lambda: seen.append(gc.isenabled()), repeats=2, warmup=0)
    assert seen == [False, False]
    with pytest.raises(ZeroDivisionError):
        timed(lambda: 1 / 0, repeats=1, warmup=0)
    assert gc.isenabled()


def test_on_a_gpu_work_that_is_still_queued_counts_to_its_own_sample_only(clock, monkeypatch):
    """A launch takes 1 ms, the kernel 50 ms more, which only a synchronisation waits for."""
    queue = [70.0]  # left over from before

    def synchronize(device):
        assert device.type == "cuda"
        while queue:
            clock.advance(queue.pop())

    def launch():
        clock.advance(1)
        queue.append(50.0)

    monkeypatch.setattr(torch.cuda, "synchronize", synchronize)
    with Stopwatch("cuda") as watch:
        launch()
    assert watch.ms == pytest.approx(51)
    assert timed(launch, repeats=3, warmup=1, device="cuda").samples == pytest.approx((51.0, 51.0, 51.0))


# StepTimer ----------------------------------------------------------------------------------------------------------


def test_step_timer_skips_the_warmup_and_failed_steps(clock):
    timer = StepTimer(warmup=2)
    for duration in (900, 800, 10, 30, 20):
        with timer:
            clock.advance(duration)
    with pytest.raises(ZeroDivisionError), timer:
        clock.advance(7 / 0)
    assert timer.samples == pytest.approx([10, 30, 20])
    assert timer.summary() == pytest.approx({"train_step_ms_p50": 20})


def test_step_timer_says_nothing_of_a_training_shorter_than_its_warmup(clock):
    timer = StepTimer(warmup=3)
    for _ in range(3):
        with timer:
            clock.advance(5)
    assert timer.summary() == {}


def test_step_timer_continues_with_the_samples_of_a_resumed_training(clock):
    timer = StepTimer(warmup=1)
    timer.samples = [10.0] * 19
    for duration in (500, 40):
        with timer:
            clock.advance(duration)
    assert timer.summary() == pytest.approx(
        {"train_step_ms_p50": 10, "train_step_ms_p95": np.quantile([10] * 19 + [40], 0.95)}
    )


# Memory -------------------------------------------------------------------------------------------------------------


def test_peak_memory_sees_what_was_freed_again_and_only_its_own_block():
    """In a process of its own: the resident memory of one that ran many tests may shrink while it is watched."""
    code = """if True:
        import json
        import numpy as np
        from harness.measure import system
        with system.peak_memory("cpu") as before:
            pass
        with system.peak_memory("cpu") as during:
            np.ones(256 * 2**20 // 8)
        with system.peak_memory("cpu") as after:
            pass
        print(json.dumps([before, during, after, system.reset_peak_rss()]))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, during, after, resettable = json.loads(done.stdout)
    assert set(during) == {"peak_rss_mib", "peak_memory_mib"}
    assert 240 < during["peak_rss_mib"] - before["peak_rss_mib"] < 300
    assert during["peak_memory_mib"] == during["peak_rss_mib"]
    if resettable:
        assert during["peak_rss_mib"] - after["peak_rss_mib"] > 200


def test_peak_memory_is_that_of_the_process_where_it_cannot_be_reset(monkeypatch):
    monkeypatch.setattr(system, "reset_peak_rss", lambda: False)
    with peak_memory("cpu") as peaks:
        pass
    assert peaks["peak_rss_mib"] == pytest.approx(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, rel=0.01)


def test_peak_memory_on_a_gpu_tells_allocated_reserved_and_the_whole_card(monkeypatch):
    events = []
    mib = 2**20
    answers = {
        "synchronize": None,
        "reset_peak_memory_stats": None,
        "mem_get_info": (60 * mib, 100 * mib),
        "max_memory_allocated": 10 * mib,
        "max_memory_reserved": 16 * mib,
    }
    for name, answer in answers.items():
        monkeypatch.setattr(
            torch.cuda, name, lambda device, name=name, answer=answer: (events.append((name, device.index)), answer)[1]
        )
    with peak_memory("cuda:1") as peaks:
        events.append("block")
    assert peaks == {
        "peak_gpu_allocated_mib": 10,
        "peak_gpu_reserved_mib": 16,
        "gpu_in_use_mib": 40,
        "peak_memory_mib": 10,
    }
    assert events[:4] == [("synchronize", 1), ("reset_peak_memory_stats", 1), "block", ("synchronize", 1)]


# The cost of a scorer -----------------------------------------------------------------------------------------------

PER_IMAGE_MS, PER_TEXT_MS, PER_PAIR_MS = 2.0, 1.0, 0.01


class Slow(Scorer):
    """Costs a known time an item on the hand-turned clock."""

    def __init__(self, clock, **encoders):
        super().__init__(None, **encoders)
        self.clock = clock
        self.weight = nn.Parameter(torch.ones(1500))
        self.frozen = nn.Parameter(torch.ones(500), requires_grad=False)
        self.dropout = nn.Dropout()

    def score(self, images, texts):
        assert not self.training
        assert not torch.is_grad_enabled()
        self.clock.advance(PER_PAIR_MS * len(images) * len(texts))
        return torch.einsum("ird,twd->it", images.features, texts.features)


class SlowEncoder(nn.Module):
    """Costs a known time an item; the longer the captions of a batch, the more."""

    def __init__(self, clock, ms):
        super().__init__()
        self.clock, self.ms = clock, ms

    def forward(self, batch):
        width = batch.ids.shape[1] if isinstance(batch, Tokens) else 1
        self.clock.advance(self.ms * len(batch) * width)
        return fragments(len(batch), 3)


def fragments(count, length, width=4, **extras):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(count, length, width, generator=generator)
    return Fragments(features, torch.ones(count, length, dtype=torch.bool), extras)


def slow_scorer(clock):
    return Slow(clock, image_encoder=SlowEncoder(clock, PER_IMAGE_MS), text_encoder=SlowEncoder(clock, PER_TEXT_MS))


def tokens(lengths):
    mask = torch.arange(max(lengths))[None, :] < torch.tensor(lengths)[:, None]
    return Tokens(mask.long(), mask)


def test_measure_cost_of_a_scorer_of_known_speed(clock):
    images, texts = fragments(40, 3), fragments(60, 2)
    cost = measure_cost(
        slow_scorer(clock), torch.zeros(64, 3, 8, 8), tokens([9, 2, 3, 4, 1]), images, texts, repeats=30
    )
    assert cost["encode_image_ms_p50"] == pytest.approx(PER_IMAGE_MS)
    assert cost["encode_image_ms_p95"] == pytest.approx(PER_IMAGE_MS)
    assert cost["encode_images_per_second"] == pytest.approx(1000 / PER_IMAGE_MS)
    assert cost["encode_text_ms_p50"] == pytest.approx(3 * PER_TEXT_MS), "one caption of median length, unpadded"
    assert cost["encode_texts_per_second"] == pytest.approx(1000 / PER_TEXT_MS / 9)
    assert cost["pairs_per_second"] == pytest.approx(1000 / PER_PAIR_MS)
    assert cost["timed_pairs"] == 40 * 60
    assert cost["query_ms_p50"] == pytest.approx(40 * PER_PAIR_MS)
    assert cost["gallery_images"] == 40
    assert cost["params_millions"] == pytest.approx(0.002)
    assert cost["trainable_params_millions"] == pytest.approx(0.0015)
    assert cost["peak_memory_mib"] == cost["peak_rss_mib"] > 0
    assert not [key for key in cost if "gpu" in key]
    assert all(isinstance(value, float) for value in cost.values())


def test_measure_cost_takes_smaller_batches_of_what_is_slow(clock):
    """An encoder of 2 ms an image: 64 images take 128 ms, more than a third of a figure's 300 ms."""
    sizes = []
    scorer = slow_scorer(clock)
    scorer.image_encoder.register_forward_pre_hook(lambda module, args: sizes.append(len(args[0])))
    measure_cost(scorer, torch.zeros(512, 3, 8, 8), None, fragments(4, 3), fragments(4, 2), repeats=30)
    assert max(sizes) == 32
    assert clock.now < 2


def test_costs_that_cannot_be_measured_are_absent(clock):
    cost = measure_cost(
        Slow(clock), torch.zeros(4, 3, 8, 8), tokens([2, 3]), fragments(4, 3), fragments(4, 2), repeats=5
    )
    assert not [key for key in cost if key.startswith("encode")]
    assert not [key for key in cost if key.endswith("p95")], "five samples are too few"
    assert {"query_ms_p50", "pairs_per_second", "index_bytes_per_image"} <= set(cost)


def test_measure_cost_leaves_the_scorer_in_the_mode_it_came_in(clock):
    scorer = slow_scorer(clock).train()
    scorer.dropout.eval()
    measure_cost(scorer, None, None, fragments(4, 3), fragments(4, 2), repeats=3)
    assert scorer.training
    assert not scorer.dropout.training


def test_index_bytes_count_features_mask_and_extras():
    kept = fragments(10, 3, width=4, gate=torch.zeros(10, 3), code=torch.zeros(10, 5, dtype=torch.uint8))
    assert profiling.index_bytes(kept) == 3 * 4 * 4 + 3 + 3 * 4 + 5


def test_a_shared_parameter_counts_once():
    first = nn.Linear(10, 10, bias=False)
    second = nn.Linear(10, 10, bias=False)
    second.weight = first.weight
    assert profiling.parameters(nn.Sequential(first, second))["params_millions"] == pytest.approx(1e-4)


def test_load_of_other_processes(monkeypatch):
    """Of 8 CPU seconds that passed, 5 were busy, 3 of them ours."""
    readings = iter([(100.0, 1000.0), (105.0, 1008.0)])
    own = iter([50.0, 53.0])
    monkeypatch.setattr(system, "cpu_seconds", lambda: next(readings))
    monkeypatch.setattr(system.time, "process_time", lambda: next(own))
    with profiling.other_load() as load:
        pass
    assert load == {"other_cpu_percent": pytest.approx(25.0)}


def test_a_tiny_scorer_is_called_little_more_often_than_its_repeats():
    """So that measuring takes little time where a call takes none, whatever the machine does meanwhile."""
    calls = Counter()

    class Dot(Scorer):
        def score(self, images, texts):
            calls["score"] += 1
            return torch.einsum("ird,twd->it", images.features, texts.features)

    encoder = nn.Sequential()
    encoder.register_forward_pre_hook(lambda *_: calls.update(["encode"]))
    scorer = Dot(None, image_encoder=encoder, text_encoder=encoder)
    cost = measure_cost(scorer, fragments(128, 9), None, fragments(200, 9), fragments(1000, 12), repeats=30)
    assert cost["encode_image_ms_p95"] >= cost["encode_image_ms_p50"] > 0
    assert calls["encode"] <= 2 * 30 + 10
    assert calls["score"] <= 5 * 30, "a large block is scored in several calls"
