"""Several datasets: counted per dataset, and tested from six on."""

from __future__ import annotations

import pytest
from compared import QUICK

from harness.reports.runs.sources import read_sources
from harness.reports.significance.across import build as build_across
from harness.reports.significance.across import independent, of_runs
from harness.reports.significance.examine import Request, examine


def galleries(runs, names, **changes):
    for n, name in enumerate(names):
        for scorer, skill in (("scan", 0.3), ("chan", 0.7)):
            runs.add_drawn(skill, scorer=scorer, seeds=1, dataset=name, data_sha256=f"{n}" * 64, **changes)
    subjects = read_sources([str(runs.store.results)], runs.store.results)
    return [examine(subject, Request(metrics=("rsum",), **QUICK)) for subject in subjects]


@pytest.mark.parametrize(("datasets", "p"), [(5, None), (6, 2 / 64)])
def test_datasets_are_counted_and_tested_only_from_six_on(runs, datasets, p):
    report = build_across(galleries(runs, [f"set{n}" for n in range(datasets)]))
    (wins,) = report.data["win_counts"]
    assert (wins["a"], wins["b"], wins["wins"], wins["significant_wins"], wins["losses"]) == (
        "chan", "scan", datasets, datasets, 0
    )  # fmt: skip
    assert wins["p"] == p
    assert ("There is no test" in " ".join(report.sentences)) == (p is None)


def test_two_protocols_on_the_same_images_count_once(runs):
    results = galleries(runs, ["coco"], protocol="coco_1k")
    results += galleries(runs, ["coco", "flickr8k"], protocol="coco_5k")[1:]
    counted = [(r.subject.dataset, r.subject.protocol) for r in independent(results)]
    assert counted == [("coco", "coco_5k"), ("flickr8k", "coco_5k")]
    report = build_across(results)
    assert report.data["win_counts"][0]["datasets"] == 2
    assert "coco test, coco_1k" in report.sentences[-1]


def test_one_dataset_makes_no_page_across(runs):
    assert build_across(galleries(runs, ["only"])) is None


def rows_of(report, key):
    (table,) = [table for table in report.tables if table.key == key]
    return table.frame.set_index("method")


def test_methods_that_all_datasets_have_are_ranked_and_nothing_is_filled_in(runs):
    for number, skills in enumerate(({"scan": 0.3, "chan": 0.7, "clip": 0.5}, {"scan": 0.2, "chan": 0.8})):
        for scorer, skill in skills.items():
            runs.add_drawn(skill, scorer=scorer, seeds=1, dataset=f"set{number}", data_sha256=f"{number}" * 64)
    subjects = read_sources([str(runs.store.results)], runs.store.results)
    report = build_across([examine(subject, Request(metrics=("rsum",), **QUICK)) for subject in subjects])
    borda = rows_of(report, "borda")
    assert borda["borda"].to_dict() == {"chan": 2.0, "scan": 0.0}
    assert borda["places"].to_dict() == {"chan": "1", "scan": "2"}
    scores = rows_of(report, "by-dataset-scores")
    assert list(scores.index) == ["chan", "scan", "clip"]
    assert scores["score_1"].isna().to_dict() == {"chan": False, "scan": False, "clip": True}
    assert report.data["not_ranked"] == {"clip": ["set1 test, full"]}
    said = " ".join(sentence for section in report.sections for sentence in section.sentences)
    assert 'clip is not ranked: "set1 test, full" has no entry of that name' in said
    assert any("not about new datasets" in sentence for sentence in report.sentences)
    assert {figure.key for figure in report.figures} == {"rank-intervals", "win-rates"}


def test_entries_of_which_several_share_scorer_and_variant_are_not_merged(runs):
    for number in (0, 1):
        for scorer, skill in (("scan", 0.3), ("chan", 0.7)):
            runs.add_drawn(skill, scorer=scorer, seeds=1, dataset=f"set{number}", data_sha256=f"{number}" * 64)
    runs.add_drawn(0.6, scorer="grm", seeds=1, dataset="set0", data_sha256="0" * 64)
    for backbone in ("regions+bigru", "patches+bert"):
        runs.add_drawn(0.6, scorer="grm", seeds=1, dataset="set1", data_sha256="1" * 64, backbone=backbone)
    subjects = read_sources([str(runs.store.results)], runs.store.results)
    report = build_across([examine(subject, Request(metrics=("rsum",), **QUICK)) for subject in subjects])
    assert set(rows_of(report, "borda").index) == {"scan", "chan"}
    said = " ".join(sentence for section in report.sections for sentence in section.sentences)
    assert 'grm is not merged: "set1 test, full" has several entries' in said


def test_a_report_of_all_runs_has_the_page_and_the_tiers_of_the_leaderboards(runs):
    for number in (0, 1):
        for scorer, skill in (("scan", 0.3), ("chan", 0.7)):
            runs.add_drawn(skill, scorer=scorer, seeds=1, dataset=f"set{number}", data_sha256=f"{number}" * 64)
    page = of_runs(runs.store, runs.ids)
    assert page.stem == "across"
    assert rows_of(page, "by-dataset-scores")[["tier_0", "tier_1"]].to_numpy().tolist() == [[1, 1], [2, 2]]
    assert set(page.data["run_ids"]) == set(runs.ids)
    assert of_runs(runs.store, runs.ids[:2]) is None
