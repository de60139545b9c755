"""What stands behind each row of a leaderboard, and the marks at rows whose numbers need a word."""

from __future__ import annotations

import math

import pytest

from harness.reports.document import render
from harness.reports.leaderboard import report as leaderboard


def build(runs, **options):
    return leaderboard.build(runs.store, runs.ids, title="Leaderboard: test", **options)


def evidence(report):
    (table,) = [table for table in report.tables if table.key.startswith("evidence-")]
    return table.frame.set_index("label")


def test_rows_say_who_ranked_what_was_selected_on_and_how_settings_were_found(runs):
    training = {"spec": {"training": {"epochs": 3}, "evaluation": {"ties": "pessimistic"}}}
    runs.add_drawn(0.9, scorer="grm", **training, tuning={"trials": 4})
    runs.add_drawn(0.5, scorer="scan", **training, tuning={"trials": 0})
    runs.add_drawn(0.4, scorer="laps", origin="foreign", selected_on="test", tuning={})
    report = build(runs)
    found = evidence(report)
    assert found.index.tolist() == report.main["label"].tolist()
    columns = ["ranked", "selected_on", "tuning_kind"]
    assert found[columns].to_dict("index") == {
        "grm": {"ranked": "measured here", "selected_on": "validation", "tuning_kind": "tuned"},
        "scan": {"ranked": "measured here", "selected_on": "validation", "tuning_kind": "default"},
        "laps": {"ranked": "added", "selected_on": "test", "tuning_kind": "unknown"},
    }
    assert report.main[columns].equals(found[columns].reset_index(drop=True))
    assert report.tables[0].frame["shown_scorer"].tolist()[:3] == ["grm", "scan", "laps †"]
    reading = " ".join(report.sections[0].reading)
    assert "† Selected on test: the checkpoints of laps were chosen by their test scores" in reading
    assert "differ in what their checkpoints were selected on (validation: grm and scan; test: laps)" in reading
    assert "found in different ways (tuned: grm; default: scan; unknown: laps)" in reading
    assert r"laps \dag{}" in render.render(report, "tex")


def test_rows_on_equal_terms_have_no_marks_and_no_sentence(three_scorers):
    report = build(three_scorers)
    assert report.tables[0].frame["shown_scorer"].tolist()[:3] == ["chan", "scan", "clip"]
    assert "not on equal terms" not in " ".join(report.sections[0].reading)


def test_the_standard_error_is_split_into_images_and_seeds(three_scorers):
    """The half width of the interval over its t quantile, and the seeds' part by hand."""
    report = build(three_scorers)
    for _, row in report.main.iterrows():
        records = [r for r in three_scorers.store.records() if r.scorer == row["scorer"]]
        values = [r.metrics["full"]["rsum"] for r in records]
        mean = sum(values) / 3
        seeds = sum((v - mean) ** 2 for v in values) / 2 / 3
        assert row["rsum_seed_percent"] == pytest.approx(100 * seeds / row["rsum_se"] ** 2)
        assert 1.96 < (row["rsum_high"] - row["rsum"]) / row["rsum_se"] < 12.8 or row["rsum_high"] == 600
        assert math.sqrt(seeds) < row["rsum_se"]


def test_printed_rows_that_were_selected_on_test_have_the_mark_too(runs):
    runs.add_drawn(0.9, scorer="laps", dataset="flickr30k", images=1000)
    report = build(runs, published=["LAPS", "SCAN"])
    tables = [table for table in report.tables if table.key.startswith("published")]
    pairs = [pair for table in tables for pair in zip(table.frame["scorer"], table.frame["selected_on"], strict=True)]
    assert ("LAPS †", "test") in pairs
    assert {name for name, on in pairs if on != "test"} == {"SCAN"}
    assert {on for name, on in pairs if name == "SCAN"} <= {"validation", "unknown"}
    assert "† Selected on test: the checkpoints of LAPS (published)" in " ".join(report.sections[0].reading)
    assert set(report.main["scorer"]) == {"laps", "LAPS", "SCAN"}  # no marks in the CSV
