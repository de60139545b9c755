"""The leaderboard against naive arithmetic on the same ranks, and what it says where it cannot say everything."""

from __future__ import annotations

import io
import json
import math
from statistics import mean, stdev

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from scipy import stats

from harness.errors import InvalidRecord
from harness.records.parts import Cost, Environment
from harness.reports.document import render, terminal
from harness.reports.document.model import is_missing
from harness.reports.leaderboard import report as leaderboard
from harness.reports.runs.groups import groups

RECALLS = ["i2t_r1", "i2t_r5", "i2t_r10", "t2i_r1", "t2i_r5", "t2i_r10"]


def build(runs, **options):
    return leaderboard.build(runs.store, runs.ids, title="Leaderboard: test", **options)


def row(report, label: str) -> pd.Series:
    (found,) = [r for _, r in report.main.iterrows() if r["label"] == label]
    return found


def reading(report) -> str:
    return " ".join(sentence for section in report.sections for sentence in section.reading)


def shown(report, width: int) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(terminal.Page(report))
    return console.file.getvalue()


def test_means_and_deviations_are_those_of_the_records(three_scorers):
    report = build(three_scorers)
    for scorer in ("scan", "chan", "clip"):
        records = [r for r in three_scorers.store.records() if r.scorer == scorer]
        found = row(report, scorer)
        assert found["seeds"] == 3
        for metric in [*RECALLS, "rsum"]:
            values = [record.metrics["full"][metric] for record in records]
            assert found[metric] == pytest.approx(mean(values), abs=1e-9)
            assert found[f"{metric}_sd"] == pytest.approx(stdev(values), abs=1e-9)


def test_the_interval_adds_the_variance_of_images_and_of_seeds(three_scorers):
    """One loop over images: V = s²(d)/N + s²/S with Satterthwaite's degrees of freedom, for t2i R@5 of one scorer."""
    tables = [three_scorers.store.ranks(r.run_id)["full"] for r in three_scorers.store.records() if r.scorer == "scan"]
    a_caption = [[100.0 * (t.t2i_rank[c] < 5) for t in tables] for c in range(len(tables[0].t2i_rank))]
    owner = tables[0].caption_image
    by_image = [mean(mean(a_caption[c]) for c in np.flatnonzero(owner == i)) for i in range(len(tables[0].i2t_rank))]
    seeds = [mean(caption[s] for caption in a_caption) for s in range(3)]
    images, of_seeds = stdev(by_image) ** 2 / len(by_image), stdev(seeds) ** 2 / 3
    df = (images + of_seeds) ** 2 / (images**2 / (len(by_image) - 1) + of_seeds**2 / 2)
    half = stats.t.ppf(0.975, df) * math.sqrt(images + of_seeds)

    found = row(build(three_scorers), "scan")
    assert (found["t2i_r5_low"], found["t2i_r5_high"]) == pytest.approx((mean(seeds) - half, mean(seeds) + half))
    assert found["interval_covers"] == "images and seeds"


def test_best_first_with_tiers_from_the_tests(three_scorers):
    report = build(three_scorers)
    assert report.main["label"].tolist() == ["chan", "scan", "clip"]
    assert report.main["tier"].tolist() == [1, 2, 3]
    pairs = {(p["a"], p["b"]): p for p in report.data["boards"][0]["tests"]["pairs"]}
    assert len(pairs) == 3
    assert all(p["significant"] for p in pairs.values())
    assert "chan leads with rSum" in report.sentences[0]
    assert "on new images and new seeds" in report.sentences[0]


def test_methods_that_cannot_be_told_apart_share_a_tier(runs):
    for scorer in ("scan", "chan"):
        runs.add_drawn(0.5, scorer=scorer)
    runs.add_drawn(0.0, scorer="clip")
    report = build(runs)
    assert report.main["tier"].tolist() == [1, 1, 2]
    assert report.main[["rank_low", "rank_high"]].to_numpy().tolist() == [[1, 2], [1, 2], [3, 3]]
    assert "cannot be told apart" in report.sentences[0]


def test_costs_are_medians_over_seeds_and_missing_ones_stay_missing(runs, table):
    for seed, speed in enumerate((100.0, 900.0, 300.0)):
        cost = {"pairs_per_second": speed, "peak_gpu_allocated_mib": 50.0, "peak_memory_mib": 51.0}
        runs.add(table([0, 1] * 20, [0, 2] * 20, range(40)), seed=seed, cost=cost, environment={"gpu": "GPU X"})
    found = row(build(runs), "scan")
    assert found["pairs_per_second"] == 300.0
    assert (found["peak_memory_mib"], found["peak_memory_kind"]) == (50.0, "GPU allocated")
    assert is_missing(found["encode_image_ms_p50"])
    assert found["device"] == "GPU X"


def test_one_seed_has_no_deviation_and_claims_nothing_about_retraining(runs):
    for scorer, skill in (("scan", 0.3), ("chan", 0.9)):
        runs.add_drawn(skill, scorer=scorer, seeds=1)
    report = build(runs)
    found = row(report, "chan")
    assert is_missing(found["rsum_sd"])
    assert found["rsum_low"] < found["rsum"] < found["rsum_high"]
    assert found["interval_covers"] == "images"
    assert "one seed says nothing about retraining" in reading(report)
    assert report.data["boards"][0]["tests"]["claim"] == "checkpoint"
    assert "for these checkpoints" in report.sentences[0]


def test_unequal_seeds_are_compared_and_said(runs):
    runs.add_drawn(0.3, scorer="scan", seeds=3)
    runs.add_drawn(0.9, scorer="chan", seeds=5)
    report = build(runs)
    assert report.main["seeds"].tolist() == [5, 3]
    assert report.main["tier"].tolist() == [1, 2]
    assert "3 to 5 seeds" in report.sections[0].sentences[0]
    assert report.data["boards"][0]["tests"]["claim"] == "method"


def test_the_methods_whose_seeds_lower_the_claim_of_all_are_named(runs):
    for scorer, skill, seeds in (("scan", 0.3, 3), ("chan", 0.9, 3), ("grm", 1.2, 1)):
        runs.add_drawn(skill, scorer=scorer, seeds=seeds)
    report = build(runs)
    assert report.data["boards"][0]["tests"]["claim"] == "checkpoint"
    assert "grm has fewer. The others have enough: `itm significance RESULTS --pairs A:B`" in reading(report)


def test_unequal_captions_an_image(runs, table):
    owner = np.sort(np.concatenate([np.arange(40), np.arange(0, 40, 2), np.arange(0, 40, 4)]))
    draw = np.random.default_rng(0)
    tables = [table(draw.integers(0, 12, 40), draw.integers(0, 12, len(owner)), owner) for _ in range(4)]
    for number, made in enumerate(tables):
        runs.add(made, scorer=("scan", "chan")[number % 2], seed=number // 2)
    report = build(runs)
    hits = [100.0 * np.mean(made.t2i_rank < 5) for made in tables[::2]]
    assert row(report, "scan")["t2i_r5"] == pytest.approx(mean(hits))
    assert "(1 to 3 per image)" in report.sections[0].sentences[0]
    assert "the ratio estimator is used" in reading(report)


def test_folds_are_averaged(runs, table):
    draw = np.random.default_rng(1)
    for seed in range(2):
        made = table(draw.integers(0, 9, 50), draw.integers(0, 9, 100), np.repeat(np.arange(50), 2), folds=5)
        runs.add(made, seed=seed, protocol="coco_1k", dataset="mscoco")
    records = runs.store.records()
    assert row(build(runs), "scan")["rsum"] == pytest.approx(mean(r.metrics["coco_1k"]["rsum"] for r in records))


def test_a_single_method_has_an_interval_and_no_tier(runs):
    runs.add_drawn(0.5, scorer="scan")
    report = build(runs)
    assert is_missing(row(report, "scan")["tier"])
    assert "nothing to compare it with" in report.sentences[0]
    assert row(report, "scan")["rsum_low"] < row(report, "scan")["rsum"]


def test_too_few_images_give_numbers_but_no_tiers(runs):
    for scorer in ("scan", "chan"):
        runs.add_drawn(0.5, scorer=scorer, images=12)
    report = build(runs)
    assert report.main["tier"].isna().all()
    assert report.main["rsum"].notna().all()
    assert "12 images are too few" in reading(report)


def test_failures_are_listed_with_their_error_on_one_line(three_scorers):
    failed = three_scorers.store.read(three_scorers.ids[0]).model_copy(
        update={"status": "failed", "error": "loss is NaN\nat epoch 3", "seed": 7, "run_id": "f" * 16}
    )
    report = build(three_scorers, failures=[failed])
    assert "1 run failed" in report.sentences[-1]
    markdown = render.render(report, "md")
    (line,) = [line for line in markdown.splitlines() if "loss is NaN at epoch 3" in line]
    assert line.startswith("| scan | ")
    assert report.data["failures"][0]["seed"] == 7
    assert "f" * 16 not in report.main["run_ids"].str.cat()


def test_only_failures_still_make_a_report(three_scorers):
    failed = three_scorers.store.read(three_scorers.ids[0]).model_copy(update={"status": "failed", "error": "why"})
    report = leaderboard.build(three_scorers.store, [], title="x", failures=[failed])
    assert [section.title for section in report.sections] == ["Failures"]
    assert "no finished run" in shown(report, 100)


def test_published_rows_join_marked_and_untested(runs):
    for scorer, skill in (("scan", 0.3), ("chan", 0.6)):
        runs.add_drawn(skill, scorer=scorer, images=1000, captions=1, seeds=1, dataset="flickr30k")
    assert (build(runs).main["origin"] != "published").all()
    report = build(runs, published=True)
    joined = report.main[report.main["origin"] == "published"]
    assert len(joined) > 100
    for column in ("tier", "rank", "seeds", "rsum_sd", "rsum_low", "rsum_high", "i2t_r1_low"):
        assert joined[column].isna().all(), column
    assert joined["source"].notna().all()
    assert not joined["note"].str.contains("ablation").any()
    assert report.main["label"].iloc[:2].tolist() == ["chan", "scan"]
    assert len(report.data["boards"][0]["tests"]["pairs"]) == 1
    assert "cannot be tested" in reading(report)

    only = build(runs, published=["chan"]).main
    assert set(only.loc[only["origin"] == "published", "label"]) == {"CHAN"}
    assert f"and {len(joined)} published rows" in shown(report, 100)


def test_published_rows_of_another_test_set_are_not_joined(runs):
    runs.add_drawn(0.3, scorer="scan", images=200, captions=1, dataset="flickr30k")
    report = build(runs, published=True)
    assert (report.main["origin"] != "published").all()
    assert "are about 1,000 images, this table about 200" in reading(report)


def test_two_contents_of_one_dataset_are_never_compared(runs):
    runs.add_drawn(0.3, scorer="scan")
    runs.add_drawn(0.9, scorer="chan", data_sha256="b" * 64)
    report = build(runs)
    assert [section.title for section in report.sections] == [
        "scenes test, full (data aaaaaaaa)",
        "scenes test, full (data bbbbbbbb)",
    ]
    assert len({figure.key for figure in report.figures}) == 2
    assert report.main["tier"].isna().all()


def test_a_record_that_contradicts_its_ranks_is_refused(three_scorers):
    record = three_scorers.store.read(three_scorers.ids[0])
    metrics = {"full": {**record.metrics["full"], "t2i_r1": 99.0}}
    three_scorers.store.write(record.model_copy(update={"metrics": metrics}))
    with pytest.raises(InvalidRecord, match=r"says t2i_r1 = 99\.0 on full, ranks\.npz"):
        build(three_scorers)


def test_busy_machines_and_different_devices_are_said(three_scorers):
    record = three_scorers.store.read(three_scorers.ids[0])
    cost = Cost(**{**record.cost.figures, "other_cpu_percent": 42.0})
    three_scorers.store.write(record.model_copy(update={"cost": cost, "environment": Environment(gpu="GPU X")}))
    text = reading(build(three_scorers))
    assert "Here others took up to 42 %" in text
    assert "different devices" in text


def test_a_noisy_cost_is_marked_in_its_cell_in_every_medium(three_scorers, tmp_path):
    """One method was timed beside busy neighbours, one on a quiet machine, one by a version that did not say."""
    figures = (("chan", 42.0), ("scan", 1.0), ("clip", None))
    for run_id in three_scorers.ids:
        record = three_scorers.store.read(run_id)
        load = dict(figures).get(record.scorer)
        cost = Cost(pairs_per_second=3286.0, **({} if load is None else {"other_cpu_percent": load}))
        three_scorers.store.write(record.model_copy(update={"cost": cost}))
    report = build(three_scorers)
    labels = set(report.main["label"])
    flat = report.main.set_index("label")["pairs_per_second_noisy"]
    assert {name: bool(flat[name]) for name in labels if name in dict(figures)} == {
        name: (load or 0) > 6 for name, load in figures if name in labels
    }
    render.write(report, tmp_path)
    for suffix, mark in ((".md", "~3,286"), (".html", "~3,286"), (".tex", r"\textasciitilde{}3,286")):
        assert (tmp_path / f"leaderboard{suffix}").read_text("utf-8").count(mark) == 1
    assert "~3,286" in shown(report, 120)
    assert "marks a time or rate" in shown(report, 120)
    assert "marks a time or rate" in reading(report)
    methods = json.loads((tmp_path / "leaderboard.json").read_text())["data"]["boards"][0]["methods"]
    assert {m["label"] for m in methods if m["pairs_per_second_noisy"]} == {"chan"}


def test_the_terminal_table_fits_and_reads_no_markup(three_scorers):
    three_scorers.add_drawn(0.4, scorer="[red]evil[/red]")
    report = build(three_scorers)
    for width in (120, 100, 80):
        text = shown(report, width)
        assert max(map(len, text.splitlines())) <= width
        for needle in ("chan", "[red]evil", f"{row(report, 'chan')['rsum']:.1f}", "1,000"):
            assert needle in text, (width, needle)


def test_files_are_complete_and_byte_identical(three_scorers, tmp_path):
    first = render.write(build(three_scorers, published=True), tmp_path / "a")
    second = render.write(build(three_scorers, published=True), tmp_path / "b")
    assert {path.suffix for path in first} == {".md", ".html", ".csv", ".json", ".tex", ".svg", ".png", ".pdf"}
    assert [path.name for path in first] == [path.name for path in second]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name
    flat = pd.read_csv(tmp_path / "a" / "leaderboard.csv")
    assert flat["rsum"].dtype == float
    data = json.loads((tmp_path / "a" / "leaderboard.json").read_text())
    assert sorted(data["data"]["run_ids"]) == sorted(three_scorers.ids)
    assert data["data"]["boards"][0]["methods"][0]["run_ids"] == flat["run_ids"].iloc[0].split()
    assert data["data"]["boards"][0]["methods"][0]["rsum"] == pytest.approx(flat["rsum"].iloc[0])


def test_the_order_of_the_runs_does_not_matter(three_scorers):
    forwards = build(three_scorers).main
    three_scorers.ids.reverse()
    pd.testing.assert_frame_equal(forwards, build(three_scorers).main)


def test_methods_that_differ_in_their_code_are_told_apart_by_the_first_digits_of_its_hash(runs, table):
    for number, digest in enumerate(("1f" * 32, "2e" * 32)):
        runs.add(
            table([0, 1], [0, 0], [0, 1]), seed=0, spec={"scorer": "scan", "source_sha256": digest}, run_id=f"r{number}"
        )
    (members,) = groups(runs.store.records()).values()
    assert [group.label for group in members] == ["scan (source_sha256=1f1f1f1f)", "scan (source_sha256=2e2e2e2e)"]
