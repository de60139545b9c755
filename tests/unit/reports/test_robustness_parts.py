"""What each part of a method buys: the differences are those of the family's own tests, variant less whole."""

from __future__ import annotations

import made_outcomes
import pytest

from harness.records.store import RunStore
from harness.reports.robustness.report import build

SKILLS = {"": 0.8, "no_prompting": 0.5, "no_uncertainty": 0.79}


@pytest.fixture(scope="module")
def variants(tmp_path_factory):
    """GRM and two of its variants, two seeds each."""
    store = RunStore(tmp_path_factory.mktemp("parts"))
    for variant, skill in SKILLS.items():
        for seed in range(2):
            cost = {"query_ms_p50": 3.0 + seed - len(variant) / 10}
            run = made_outcomes.record(store, "grm", seed, variant=variant, cost=cost)
            made_outcomes.fill(store, run.run_id, f"grm.{variant}", seed, skill)
    return store


def parts(store, **options):
    report = build(store, store.records(), title="x", **options)
    return report, next((one for one in report.sections if one.title.startswith("What each part of ")), None)


def test_variants_are_compared_with_the_whole_without_being_asked(variants):
    report, section = parts(variants)
    frame = section.tables[0].frame.set_index("method")
    assert sorted(frame.index) == ["grm.no_prompting", "grm.no_uncertainty"]
    scores = {(row["method"], row["key"]): row["value"] for row in report.data["scores"]}
    keys = [key for key in frame.columns if (("grm", key) in scores)]
    assert len(keys) >= 5
    for key in keys:
        for method in frame.index:
            assert frame.loc[method, key] == pytest.approx(scores[method, key] - scores["grm", key], abs=1e-6)
            assert frame.loc[method, f"{key}_low"] < frame.loc[method, key] < frame.loc[method, f"{key}_high"]
    assert frame.loc["grm.no_prompting", "query_ms"] == pytest.approx(3.5 - 1.2)
    assert "a query of grm takes 3.50 ms" in section.tables[0].caption


def test_sentences_name_what_is_told_apart_and_count_the_rest(variants):
    report, section = parts(variants)
    composed = next(said for said in section.sentences if "kinds" in said)
    tests = [row for row in report.data["pairs"] if row["key"].endswith("scenes/mean")]
    real = {row["a"] for row in tests if row["significant"]}
    assert len(tests) == 2
    assert "grm.no_prompting" in real
    assert {method for method in ("grm.no_prompting", "grm.no_uncertainty") if method in composed} == real
    assert ("1 more is not told apart" in composed) == (len(real) == 1)
    said = [sentence for sentence in section.sentences if "no variant is told apart from grm" in sentence]
    assert len(said) < len(section.sentences)


def test_methods_that_are_no_variants_have_no_such_section(tmp_path):
    store = RunStore(tmp_path)
    for scorer in ("scan", "chan"):
        run = made_outcomes.record(store, scorer, 0)
        made_outcomes.confuse(store, run.run_id, (scorer, 0), 0.5)
    assert parts(store)[1] is None
    assert parts(store, against="scan")[1] is None
