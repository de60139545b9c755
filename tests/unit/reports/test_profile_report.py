"""The profile report from a record made by hand: fronts, advice, budgets, devices, and what is written."""

import io
import itertools
import json

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from harness.errors import InvalidRecord, InvalidSpec, UnknownName
from harness.records.pareto import dominates, front, strongest_dominator
from harness.records.profile import Growth, Measure, Point, Profile, ProfileStore, ScenarioResult
from harness.records.ranks import RankTable
from harness.reports.document import render, terminal
from harness.reports.profile import budget
from harness.reports.profile import report as profile
from harness.reports.profile.rows import rows_of, scaling_rows, scenario_rows


def measure(ms, noisy=False):
    rounds = (ms, 1.5 * ms) if noisy else (ms, 1.01 * ms)
    return Measure(samples=40, p50=ms, p95=1.2 * ms, minimum=ms, iqr=0.1, low=0.9 * ms, high=1.1 * ms, rounds=rounds)


def point(label, rsum, ms, memory, index, *, kind="base", rate=1e6, noisy=False, **settings):
    whole, half = measure(ms, noisy), measure(ms / 2)
    queries = {
        f"query {d} {g}": ScenarioResult(
            whole=measure(ms * g / 1000, noisy), parts={"encode": half, "score": half}, parts_over_whole=1.04, gallery=g
        )
        for d in ("t2i", "i2t")
        for g in (1000,)
    }
    queries["query t2i 5000"] = ScenarioResult(whole=Measure(samples=0, p50=5 * ms, extrapolated=True), gallery=5000)
    if kind != "cascade":
        queries["score pairs"] = ScenarioResult(whole=measure(1e6 / rate), items={"pairs": 1000})
    assert whole.p50 == ms
    return Point(
        key=label,
        label=label,
        kind=kind,
        base=settings.get("fine", label.split()[0]),
        settings=settings,
        run_ids=("0" * 16,),
        metrics={"rsum": rsum, "i2t_r1": rsum / 6, "t2i_r1": rsum / 6},
        scenarios=queries,
        growth={"t2i": Growth(exponent=0.97, low=0.9, high=1.04, sizes=(1000, 2000, 4000))} if kind == "base" else {},
        index_bytes_per_image=index,
        index_bytes_per_text=index,
        memory_mib=memory,
        sizes={"params_millions": 1.0, "pair_flops": 2000.0, "achieved_gflops": 2.0},
    )


POINTS = (
    point("clip", 200.0, 1.0, 100.0, 500.0, rate=9e6),
    point("scan", 400.0, 30.0, 300.0, 18000.0),
    point("scan bf16", 399.0, 20.0, 250.0, 9000.0, kind="precision"),
    point("scan 1/4 patches", 150.0, 10.0, 400.0, 20000.0, kind="pruned"),
    point("cascade(clip, scan, 10)", 300.0, 3.0, 420.0, 18500.0, kind="cascade", coarse="clip", fine="scan", k=10),
    point("cascade(clip, scan, all)", 400.0, 30.0, 400.0, 18500.0, kind="cascade", coarse="clip", fine="scan", k=None),
)


def record(points=POINTS, processor="Abacus", **changes):
    values = {
        "name": "made",
        "dataset": "scenes",
        "split": "test",
        "protocol": "full",
        "data_sha256": "ab" * 32,
        "images": 8,
        "captions": 8,
        "seed": 0,
        "gallery": 1000,
        "galleries": (1000, 5000),
        "rounds": 5,
        "seconds": 1.0,
        "matrix_gflops": {"float32": 100.0},
        "environment": {"processor": processor, "threads": 2, "torch": "2"},
        "points": points,
        "started": "2025-01-01T00:00:00+00:00",
        "finished": "2025-01-01T00:01:00+00:00",
    }
    return Profile(**{**values, **changes})


def ranks(points=POINTS):
    ids = np.array([f"{i}" for i in range(8)])
    zeros, generator = np.zeros(8, dtype=np.int64), np.random.default_rng(0)
    return {
        p.key: RankTable(
            i2t_rank=generator.integers(0, 20, 8), i2t_ties=zeros, i2t_image_id=ids, i2t_caption_id=ids,
            t2i_rank=generator.integers(0, 20, 8), t2i_ties=zeros, t2i_caption_id=ids, t2i_image_id=ids,
            i2t_fold=zeros, t2i_fold=zeros,
        )
        for p in points
    }  # fmt: skip


def by_label():
    return {row["label"]: row for row in rows_of(record(), ranks())}


# Pareto front --------------------------------------------------------------------------------------------------------


def test_the_front_is_what_a_definition_written_out_finds():
    values = np.random.default_rng(0).integers(0, 6, (60, 3)).astype(float)  # with ties and doubles
    senses = ("min", "max", "min")

    def beats(a, b):
        gains = (b[0] - a[0], a[1] - b[1], b[2] - a[2])
        return all(g >= 0 for g in gains) and any(g > 0 for g in gains)

    expected = [[beats(a, b) for b in values] for a in values]
    assert dominates(values, senses).tolist() == expected
    assert front(values, senses).tolist() == [not any(row[j] for row in expected) for j in range(60)]


def test_equal_points_do_not_dominate_each_other_and_the_front_is_never_empty():
    assert front([[1, 2], [1, 2]], ("min", "max")).all()
    for senses in itertools.product(("min", "max"), repeat=2):
        values = np.random.default_rng(1).normal(size=(30, 2))
        assert front(values, senses).any()
        for j, by in enumerate(strongest_dominator(values, senses)):
            assert (by is None) == front(values, senses)[j]
            assert by is None or (dominates(values, senses)[by, j] and front(values, senses)[by])
    with pytest.raises(InvalidRecord, match="finite"):
        front([[1.0, np.nan]], ("min", "max"))


# Rows ----------------------------------------------------------------------------------------------------------------


def test_rows_say_what_beats_a_point():
    rows = by_label()
    assert rows["scan"]["front_latency"]
    assert rows["cascade(clip, scan, 10)"]["fronts"] == "latency"
    beaten = rows["scan 1/4 patches"]
    assert (beaten["front_latency"], beaten["beaten_by_latency"]) == (False, "cascade(clip, scan, 10)")
    assert beaten["fronts"] == ""


def test_a_cascade_that_leaves_nothing_out_is_no_choice_of_its_own():
    row = by_label()["cascade(clip, scan, all)"]
    assert (row["fronts"], row["beaten_by"]) == ("", "scan, which it equals")


def test_intervals_come_from_the_ranks_and_the_samples():
    row = by_label()["scan"]
    assert row["rsum_low"] is not None
    assert row["rsum_low"] < row["rsum_high"]
    assert (row["t2i_ms_low"], row["t2i_ms_high"]) == pytest.approx((27.0, 33.0))
    assert row["pairs_per_second"] == pytest.approx(1e6)
    assert row["pairs_per_second_low"] == pytest.approx(1e6 / 1.1)
    assert row["achieved_percent"] == pytest.approx(2.0)
    assert row["index_mib"] == pytest.approx(18000 * 1000 / 2**20)


def test_the_sum_check_is_in_the_scenario_table():
    (row,) = [r for r in scenario_rows(record()) if (r["label"], r["scenario"]) == ("scan", "query t2i 1000")]
    assert row["parts_percent"] == pytest.approx(104.0)
    assert "add up to the whole within 10 %" in " ".join(built().sections[0].sentences)


def test_parts_that_do_not_add_up_are_named():
    wrong = ScenarioResult(
        whole=measure(10.0), parts={"encode": measure(2.0), "score": measure(3.0)}, gallery=1000, parts_over_whole=0.5
    )
    points = (POINTS[0], POINTS[1].model_copy(update={"scenarios": {**POINTS[1].scenarios, "query t2i 1000": wrong}}))
    said = " ".join(profile.build([(record(points), ranks(points))], title="P").sections[0].sentences)
    assert "do not add up" in said
    assert "scan, query t2i 1000, 50 %" in said


def test_extrapolated_sizes_are_marked():
    row = next(r for r in scaling_rows(record()) if r["label"] == "clip")
    assert (row["extrapolated_1000"], row["extrapolated_5000"]) == (False, True)
    assert "(extrapolated)" in built().tables[1].frame["shown_5000"][0]


# The report -----------------------------------------------------------------------------------------------------------


def built(**options):
    return profile.build([(record(), ranks())], title="Profile: made", **options)


def test_advice_names_the_best_under_each_latency_and_its_price():
    said = " ".join(built().sentences)
    assert (
        "Under 1 ms per query at 1,000 images: clip, rSum 200.0, 1.0 ms; 200.0 points below the best (scan), 30x faster."
        in said
    )
    assert "Under 5 ms per query at 1,000 images: cascade(clip, scan, 10), rSum 300.0" in said
    assert "Under 50 ms per query at 1,000 images: scan, rSum 400.0, 30 ms; no point is more accurate." in said
    assert "scan 1/4 patches is dominated on every chart" in said


def test_points_lead_to_their_runs():
    report = built()
    named = {run_id for one in POINTS for run_id in one.run_ids}
    assert set(report.data["run_ids"]) == named
    (points,) = [table for table in report.tables if table.key == "points"]
    assert {run_id for row in points.rows() for run_id in row[0].runs} == named


def test_noise_is_said():
    points = (POINTS[0], point("scan", 400.0, 30.0, 300.0, 1.0, noisy=True))
    said = " ".join(profile.build([(record(points), ranks(points))], title="P").sections[0].sentences)
    assert "Noisy: 2 of" in said
    assert "Noisy" not in " ".join(built().sections[0].sentences)


def test_a_noisy_point_is_marked_and_decides_nothing(tmp_path):
    """clip is fast and quiet; scan is the most accurate, but was timed on a busy machine."""
    points = (POINTS[0], point("scan", 400.0, 30.0, 300.0, 1.0, noisy=True))
    report = profile.build([(record(points), ranks(points))], title="P", limits=budget.parse("latency<=50ms"))
    assert "No point" not in report.sentences[0]
    assert "(1 point with noisy times left out): clip" in report.sentences[0]
    assert "1 of 2 points was timed on a busy machine" in report.sentences[1]
    assert not any("scan" in sentence for sentence in report.sentences)
    rows = {row["label"]: row for row in report.data["points"]}
    assert (rows["scan"]["front_latency"], rows["scan"]["front_memory"]) == (None, False) or rows["scan"][
        "front_memory"
    ]
    assert rows["clip"]["front_latency"]
    texts = [path for path in render.write(report, tmp_path) if path.suffix not in (".png", ".pdf")]
    written = {path.suffix: path.read_text("utf-8") for path in texts}
    assert "~30.00" in written[".md"]
    assert "~30.00" in written[".html"]
    assert r"\textasciitilde{}30.00" in written[".tex"]
    assert pd.read_csv(tmp_path / "profile.csv").set_index("label")["noisy_t2i_ms"].to_dict() == {
        "clip": False,
        "scan": True,
    }


def test_a_profile_of_noisy_points_alone_advises_nothing():
    points = tuple(
        point(name, rsum, ms, 300.0, 1.0, noisy=True) for name, rsum, ms in (("a", 100.0, 1.0), ("b", 400.0, 9.0))
    )
    report = profile.build([(record(points), ranks(points))], title="P", limits=budget.parse("latency<=50ms"))
    assert report.sentences[0].startswith("Whether a point satisfies latency <= 50.0 ms is unknown")
    assert report.sentences[1].startswith("All 2 points were timed on a busy machine")
    assert not any("more accurate" in sentence or "dominated on" in sentence for sentence in report.sentences)


def test_everything_is_written_and_the_device_is_in_every_caption(tmp_path):
    report = built()
    files = {path.name for path in render.write(report, tmp_path)}
    assert {f"profile.{ending}" for ending in ("md", "html", "csv", "json", "tex")} <= files
    keys = ("pareto-latency", "pareto-pairs", "pareto-memory", "pareto-index", "scaling", "cascades")
    assert {f"profile-{key}.svg" for key in keys} <= files
    assert all("Abacus, 2 threads" in figure.caption for figure in report.figures)
    assert all("Abacus, 2 threads" in table.caption for table in report.tables)
    assert json.loads((tmp_path / "profile.json").read_text())["data"]["points"][0]["label"] == "clip"
    assert len((tmp_path / "profile.csv").read_text().splitlines()) == 1 + len(POINTS)


def test_devices_share_a_chart_only_when_asked():
    both = [(record(), ranks()), (record(processor="Quipu"), ranks())]
    apart = profile.build(both, title="P")
    assert not [f for f in apart.figures if "Abacus" in f.caption and "Quipu" in f.caption]
    together = profile.build(both, title="P", mix_devices=True)
    mixed = [f for f in together.figures if "Abacus" in f.caption and "Quipu" in f.caption]
    assert len(mixed) == 4
    assert len({f.key for f in together.figures}) == len(together.figures)


def test_hostile_labels_do_no_harm(tmp_path):
    points = (POINTS[0], point("<script>alert(1)</script> $x_$ | [b]", 300.0, 2.0, 1.0, 1.0))
    report = profile.build([(record(points), ranks(points))], title="P")
    render.write(report, tmp_path)
    assert "<script>" not in (tmp_path / "profile.html").read_text()
    printed = io.StringIO()
    Console(width=100, file=printed).print(terminal.Page(report))
    assert "<script>" in printed.getvalue()  # shown as it is, not read as markup


# Budgets --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("latency<=20ms", [20.0]),
        ("latency <= 0.02 s , memory<=4GiB", [20.0, 4096.0]),
        ("latency<=500us", [0.5]),
        ("memory<=1048576B", [1.0]),
        ("memory<=1GB", [1e9 / 2**20]),
        ("parameters<=30M", [30.0]),
        ("pairs_per_second>=2M,rsum>=300", [2e6, 300.0]),
    ],
)
def test_units(text, values):
    assert [limit.value for limit in budget.parse(text)] == pytest.approx(values)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("latncy<=20ms", UnknownName, "did you mean 'latency'"),
        ("latency<=20", InvalidSpec, "no unit ''"),
        ("latency<=20GiB", InvalidSpec, "no unit 'GiB'"),
        ("latency>=20ms", InvalidSpec, "takes <="),
        ("rsum<=20", InvalidSpec, "takes >="),
        ("latency", InvalidSpec, "cannot read 'latency'"),
        ("latency<=1.2.3ms", InvalidSpec, r"cannot read 'latency<=1\.2\.3ms'"),
        (" , ", InvalidSpec, "empty"),
    ],
)
def test_a_wrong_budget_says_what_is_wrong(text, error, message):
    with pytest.raises(error, match=message):
        budget.parse(text)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("latency<=25ms", "scan bf16"),
        ("latency<=25ms,memory<=200MiB", "clip"),
        ("index<=10MiB", "scan bf16"),
        ("latency<=1us", None),
        ("pairs_per_second>=5M", "clip"),
    ],
)
def test_the_best_admissible_point(text, label):
    rows = [row for row in rows_of(record(), ranks()) if not row["is_fine"]]
    found = budget.best_within(rows, budget.parse(text))
    assert (found["label"] if found else None) == label
    said = built(limits=budget.parse(text)).sentences[0]
    assert (label in said) if label else said.startswith("No point satisfies")


# The record ------------------------------------------------------------------------------------------------------------


def test_a_profile_is_read_as_it_was_written(tmp_path):
    store = ProfileStore(tmp_path, "made")
    store.write(record(processor="Quipu", started="2025-01-02T00:00:00+00:00"), ranks())
    store.write(record(), ranks())
    (first, table), (second, _) = store.profiles()
    assert (first, second.device) == (record(), "Quipu, 2 threads")
    assert table["scan"].i2t_rank.tolist() == ranks()["scan"].i2t_rank.tolist()
    store.write(record(), ranks())
    assert len(store.profiles()) == 2  # the same device is replaced


@pytest.mark.parametrize("text", ["{", "[]", '{"schema_version": 99}', '{"schema_version": 1}'])
def test_a_damaged_profile_is_refused(tmp_path, text):
    (tmp_path / "profiles" / "made" / "x").mkdir(parents=True)
    (tmp_path / "profiles" / "made" / "x" / "profile.json").write_text(text)
    with pytest.raises(InvalidRecord, match="measure again"):
        ProfileStore(tmp_path, "made").profiles()


def test_reports_of_profiles_import_no_torch():
    import subprocess
    import sys

    code = "import sys, harness.reports.profile.report; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
