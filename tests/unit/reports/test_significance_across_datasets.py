"""Several datasets: counted per dataset, and tested from six on."""

from __future__ import annotations

import pytest
from compared import QUICK

from harness.reports.runs.sources import read_sources
from harness.reports.significance.across import build as build_across
from harness.reports.significance.across import independent
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
