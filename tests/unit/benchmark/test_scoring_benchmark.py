"""The benchmark compares forms that compute the same, rejects disturbed samples, and writes what it measured."""

from __future__ import annotations

import itertools

import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from harness.benchmark import cases, measure, naive, products, report, run, training
from harness.benchmark.data import LONGEST_CAPTION, Size, make
from harness.benchmark.forms import PEERS
from harness.cli.main import cli
from harness.errors import InvalidSpec
from harness.measure.timing import Timing
from harness.metrics import ranks
from harness.registry import create
from harness.training.products import onednn

SMALL = Size(5, 140, 4, 8)  # more captions than a shard


@pytest.mark.parametrize(
    ("form", "name", "config"),
    [
        (naive.chan_shards, "chan", {"pooling": "mean"}),
        (naive.padded, "chan", {"pooling": "mean"}),
        (naive.scan_t2i, "scan", {}),
        (naive.scan_i2t, "scan", {"direction": "i2t"}),
    ],
)
def test_the_authors_forms_compute_what_ours_do(form, name, config):
    images, texts = make(SMALL)
    torch.testing.assert_close(form(images, texts), create(name, **config).score(images, texts), rtol=0, atol=2e-6)


def test_sorting_gives_the_ranks_that_counting_gives():
    scores = torch.rand(6, 30, generator=torch.Generator().manual_seed(1))
    owner = torch.arange(30) // 5
    for by_sort, counted in zip(naive.argsort_ranks(scores, owner), ranks(scores, owner), strict=True):
        assert by_sort.tolist() == counted.tolist()


def test_counting_tile_by_tile_is_compared_with_the_matrix():
    rows = {row["form"]: row for row in run.rank_rows(lambda _: None, 0.1, images=6)}
    goal = rows["tile by tile / by the matrix"]
    assert goal["ratio"] == rows["tile by tile"]["median_ms"] / rows["by the matrix"]["median_ms"]
    assert goal["goal"] == "<= 1.05 and the same ranks"


def test_captions_have_the_stated_lengths():
    _, texts = make(Size(1, 4000, 2, 2))
    assert float(texts.lengths.float().mean()) == pytest.approx(11.7, abs=0.3)
    assert int(texts.lengths.max()) <= LONGEST_CAPTION


def samples_of(monkeypatch, shares: dict[str, list[float]]):
    """Replace the clock: after a warm-up, `name` takes 1 ms, then 2 ms, ..., with the given shares taken by others."""
    streams = {name: iter(zip(itertools.count(), [0.0, *values], strict=False)) for name, values in shares.items()}
    monkeypatch.setattr(measure, "_sample", lambda call: (*next(streams[call()]), call()))
    return {name: (lambda name=name: name) for name in shares}


def test_disturbed_samples_are_rejected(monkeypatch):
    calls = samples_of(monkeypatch, {"a": [0.0, 0.5, 0.01, 0.9, 0.02], "b": [0.0, 0.0, 0.0]})
    measured, results = measure.interleave(calls, {"a": 3, "b": 3})
    assert results == {"a": "a", "b": "b"}
    assert measured["a"].timing.samples == (1.0, 3.0, 5.0)
    assert (measured["a"].rejected, measured["a"].noisy) == (2, False)
    assert measured["a"].foreign == pytest.approx(0.01)
    assert measured["b"].timing.samples == (1.0, 2.0, 3.0)


def test_the_least_disturbed_samples_stand_in_and_are_marked(monkeypatch):
    calls = samples_of(monkeypatch, {"a": [0.9, 0.3, 0.8, 0.2, 0.7, 0.0, 0.6, 0.5]})
    measured = measure.interleave(calls, {"a": 2})[0]["a"]
    assert measured.timing.samples == (6.0, 4.0)
    assert (measured.noisy, measured.rejected) == (True, 6)


def ticking(monkeypatch, step=1.0):
    """A clock that goes on by `step` seconds whenever somebody looks."""
    clock = itertools.count(0.0, step)
    monkeypatch.setattr(measure.time, "monotonic", lambda: next(clock))


def test_disturbed_samples_are_not_retried_when_the_time_is_up(monkeypatch):
    calls = samples_of(monkeypatch, {"a": [0.0, *[0.9] * 11], "b": [0.9] * 12})
    ticking(monkeypatch)  # looked at three times before the first round, then once a round: eight are in time
    measured, _ = measure.interleave(calls, {"a": 9, "b": 9}, seconds=10.5)
    assert [len(m.timing.samples) for m in measured.values()] == [8, 8]
    assert [m.noisy for m in measured.values()] == [True, True]
    assert [m.rejected for m in measured.values()] == [0, 0]


@pytest.mark.parametrize(("wanted", "taken"), [(1, 1), (3, 3), (5, 5), (9, 5)])
def test_however_late_it_is_a_few_samples_are_taken(monkeypatch, wanted, taken):
    calls = samples_of(monkeypatch, {"a": [0.0] * 9, "b": [0.9] * 9})
    measured, _ = measure.interleave(calls, {"a": wanted, "b": wanted}, seconds=-1.0)
    assert [len(m.timing.samples) for m in measured.values()] == [taken, taken]
    assert [m.noisy for m in measured.values()] == [False, True]


def test_slow_forms_take_nothing_of_the_time_of_the_others(monkeypatch):
    """A form that wants one sample is called first and by itself; afterwards the others have their share all the same."""
    now, order = [0.0], []
    monkeypatch.setattr(measure.time, "monotonic", lambda: now[0])

    def call(name, seconds):
        def run():
            order.append(name)
            now[0] += seconds
            return name

        return run

    monkeypatch.setattr(measure, "_sample", lambda run: (1.0, 0.0, run()))
    calls = {"ours": call("ours", 1.0), "slow": call("slow", 100.0), "limit": call("limit", 1.0)}
    measured, results = measure.interleave(calls, {"ours": 7, "slow": 1, "limit": 7}, seconds=40.0)
    assert list(measured) == list(calls)
    assert results == {name: name for name in calls}
    assert order == ["slow"] * 2 + ["ours", "limit"] * 8
    assert [len(m.timing.samples) for m in measured.values()] == [7, 1, 7]


def test_a_long_first_call_is_a_sample(monkeypatch):
    times = {"long": iter([4000.0]), "short": iter([20.0, 10.0])}
    monkeypatch.setattr(measure, "_sample", lambda call: (next(times[call()]), 0.0, None))
    measured, _ = measure.interleave({name: lambda name=name: name for name in times}, {"long": 1, "short": 1})
    assert [m.timing.samples for m in measured.values()] == [(4000.0,), (10.0,)]


def test_the_time_is_shared_out_and_what_does_not_fit_is_named(monkeypatch):
    given = {}
    now = [0.0]

    def section(name: str, seconds: float, takes: float) -> run.Section:
        def rows(allowance: float):
            given[name] = allowance
            now[0] += takes
            yield {"kind": "time", "case": name}

        return run.Section(name, seconds, rows)

    parts = [section("a", 30.0, 40.0), section("b", 10.0, 5.0), section("c", 20.0, 60.0), section("d", 20.0, 1.0)]
    monkeypatch.setattr(run, "sections", lambda say, quick, device: parts)
    monkeypatch.setattr(run.time, "monotonic", lambda: now[0])
    rows = [row for row in run.all_rows(lambda text: None, seconds=100.0) if row["kind"] != "backend"]
    assert given == {"a": 30.0, "b": 10.0, "c": 20.0}
    assert rows[-1] == {"kind": "skipped", "case": "d", "goal": "not measured: the 100 s were used up"}
    assert "not measured" in report.markdown(pd.DataFrame(rows))

    given.clear()
    now[0] = 0.0
    list(run.all_rows(lambda text: None, seconds=40.0))
    assert given == {"a": 15.0}


def test_the_packed_grm_is_compared_with_its_plain_score():
    rows = list(run.scoring_rows(cases.replace(cases.grm_case(Size(5, 9, 4, 8)), samples=1), lambda text: None))
    errors = {row["form"]: row["largest_error"] for row in rows if row["kind"] == "time"}
    assert errors[cases.OURS] < 1e-5
    assert errors["max-sim"] is None  # another score
    assert errors[cases.PLAIN] is None
    assert [row["form"] for row in rows if row["kind"] == "goal"] == ["ours / max-sim"]


def test_a_step_that_takes_too_long_is_stopped():
    assert training.measure("CHAN: ours", Size(2, 2, 2, 2), seconds=0.01) == "stopped after 0 s"


def test_the_command_writes_and_prints(tmp_path, monkeypatch):
    rows = [
        {"kind": "time", "case": "max-sim", "size": "2 x 3", "form": "ours", "median_ms": 12.3, "over_product": 1.1}
    ]
    asked = []

    def fake(say, seconds, quick, device):
        asked.append((seconds, quick, device))
        say("max-sim")
        return iter(rows)

    monkeypatch.setattr(run, "all_rows", fake)
    runner = CliRunner()
    for options in ([], ["--quick"], ["--quick", "--seconds", "7"]):
        result = runner.invoke(cli, ["bench", str(tmp_path / "out"), "--device", "cpu", *options])
        assert result.exit_code == 0, result.output
        assert "| max-sim | 2 x 3  | ours   | 12.3" in result.output
        assert (report.QUICK in result.output) == ("--quick" in options)
    assert asked == [(run.SECONDS, False, "cpu"), (run.QUICK_SECONDS, True, "cpu"), (7.0, True, "cpu")]
    assert (tmp_path / "out" / "scoring.csv").exists()
    assert runner.invoke(cli, ["bench", "--seconds", "0"]).exit_code == 2


def test_a_busy_neighbour_is_noticed(monkeypatch):
    busy = itertools.count(100.0, 1.0)  # between two readings others work one second
    monkeypatch.setattr(measure, "cpu_seconds", lambda: (next(busy), 0.0))
    _, share, result = measure._sample(lambda: "done")
    assert result == "done"
    assert share is not None
    assert share > measure.FOREIGN_SHARE


def test_a_case_yields_times_errors_and_goals():
    case = cases.max_sim_case(SMALL, limit=0.0, authors=0.0)
    rows = list(run.scoring_rows(cases.replace(case, samples=1), lambda text: None))
    times = {row["form"]: row for row in rows if row["kind"] == "time"}
    assert set(times) == set(case.forms)
    assert times[cases.OURS]["largest_error"] < 1e-6
    assert times["ours, bfloat16"]["largest_error"] < 2e-2
    assert times[cases.OURS]["over_product"] > 0
    goals = {row["form"]: row["met"] for row in rows if row["kind"] == "goal"}
    assert goals["ours / packed product"] is False
    assert goals["authors / ours"] is True


def test_a_training_step_is_measured_in_a_process_of_its_own():
    step = training.measure("CHAN: ours", Size(8, 8, 6, 16))
    assert isinstance(step, training.Step), step
    assert step.seconds > 0
    images, texts = make(Size(8, 8, 6, 16))
    scores = create("chan", pooling="mean").score(images, texts)
    assert step.loss == pytest.approx(float(torch.logsumexp(scores, 1).sum() - scores.diagonal().sum()), abs=1e-3)
    assert training.measure("no such form", Size(2, 2, 2, 2)) == "exit 1: KeyError: 'no such form'"


def test_the_report_names_machine_goals_and_steps(tmp_path):
    rows = [
        {
            "kind": "time",
            "case": "max-sim",
            "size": "2 x 3",
            "form": "ours",
            "median_ms": 12.3456,
            "over_product": 1.0625,
        },
        {"kind": "time", "case": "max-sim", "size": "2 x 3", "form": "authors", "median_ms": 99.0, "over_product": 9.5},
        {
            "kind": "goal",
            "case": "max-sim",
            "size": "2 x 3",
            "form": "ours / product",
            "ratio": 1.06,
            "goal": "<= 1.15",
            "met": True,
        },
        {"kind": "training", "form": "CHAN: ours", "size": "2 x 3", "median_ms": 500.0, "peak_mib": 157.0},
    ]
    text = report.write(rows, tmp_path)
    assert "| max-sim | 2 x 3  | ours / product | 1.06    | <= 1.15 | yes   |" in text
    assert "12.3" in text
    assert "threads" in text
    assert (tmp_path / "scoring.md").read_text() == text
    assert len(pd.read_csv(tmp_path / "scoring.csv")) == 4
    assert (tmp_path / "scoring.png").stat().st_size > 1000
    assert (tmp_path / "scoring.svg").exists()


@pytest.mark.parametrize(("long_enough", "expected"), [(3000.0, (9000.0,)), (float("inf"), (1.0,))])
def test_a_first_call_that_compiles_is_no_sample(monkeypatch, long_enough, expected):
    times = iter([9000.0, 1.0])
    monkeypatch.setattr(measure, "_sample", lambda call: (next(times), 0.0, call()))
    measured, _ = measure.interleave({"a": lambda: None}, {"a": 1}, long_enough=long_enough)
    assert measured["a"].timing.samples == expected


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_goals_name_forms_and_a_gpu_works_in_half_precision(device, quick):
    for case in cases.scoring_cases(device, quick):
        assert case.device == device
        assert case.dtype == (torch.float32 if device == "cpu" else torch.float16)
        named = {name for goal in case.goals for name in (goal.form, goal.over)}
        assert named <= {*case.forms, *PEERS[device], cases.LIMIT}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(tmp_path):
    result = CliRunner().invoke(cli, ["bench", str(tmp_path), "--device", "cuda"])
    assert isinstance(result.exception, InvalidSpec)  # which `itm` turns into exit code 2
    assert "device 'cuda' cannot be used here" in str(result.exception)
    assert not list(tmp_path.iterdir())


def test_the_store_is_compared_with_the_tower():
    rows = list(run.frozen_rows(lambda _: None, seconds=1, images=2))
    times = {row["form"]: row["median_ms"] for row in rows if row["kind"] == "time"}
    (goal,) = (row for row in rows if row["kind"] == "goal")
    assert set(times) == {"from the store", "tower runs"}
    assert goal["ratio"] == times["from the store"] / times["tower runs"]
    assert goal["goal"] == "<= 0.05"
    assert goal["met"] == (goal["ratio"] <= 0.05)


@pytest.mark.skipif(not onednn.available(), reason="this build of torch has no oneDNN")
def test_both_products_make_the_same_step(monkeypatch):
    """Every scorer that is compared: equal losses, and products of the step that went to oneDNN."""
    sent, multiplied = [], onednn.multiplied
    monkeypatch.setattr(onednn, "multiplied", lambda *sides: sent.append(sides) or multiplied(*sides))
    for name in products.SCORERS:
        sent.clear()
        calls = products.calls(name, Size(3, 4, 5, 64))
        loss = calls[products.TORCH]()
        assert not sent
        assert float(calls[products.ONEDNN]()) == pytest.approx(float(loss), rel=1e-5)
        assert len(sent) >= 5


@pytest.mark.skipif(not onednn.available(), reason="this build of torch has no oneDNN")
@pytest.mark.parametrize(("factor", "taken"), [(0.5, "onednn"), (0.99, "torch"), (2.0, "torch")])
def test_the_faster_product_is_named(monkeypatch, factor, taken):
    def interleave(calls, wanted, seconds):
        times = {products.TORCH: 100.0, products.ONEDNN: 100.0 * factor}
        return {name: measure.Measured(Timing((times[name],)), None, 0, False) for name in calls}, {}

    monkeypatch.setattr(run, "interleave", interleave)
    monkeypatch.setattr(products, "calls", lambda name, size: dict.fromkeys((products.TORCH, products.ONEDNN)))
    rows = [row for row in run.product_rows(lambda _: None, pairs=4) if row["kind"] == "products"]
    assert [(row["ratio"], row["goal"]) for row in rows] == [(factor, taken)] * len(products.SCORERS)
    assert taken in report.markdown(pd.DataFrame(rows))
