"""The report of a sweep, from a summary alone: what it says, what it counts, and that hostile texts stay texts."""

from __future__ import annotations

import json

import numpy as np
import pytest

from harness.errors import InvalidRecord
from harness.files import strict_yaml
from harness.records.study import StudySummary, TrialSummary, read_summary, write_summary
from harness.reports.document import render
from harness.reports.sweep import report as sweep
from harness.reports.sweep import rows
from harness.reports.sweep.expected_performance import expected_performance
from harness.spec import load_experiment

HOSTILE = '<script>alert("1")</script> $x_{ | **b**'
SPACE = {
    "training.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
    "training.batch_size": {"choices": [32, 64]},
    "config.pooling": {"choices": ["lse", None]},
    "config.temperature": {"low": 0.1, "high": 1.0, "when": {"config.pooling": ["lse"]}},
}


def trial(number, rsum, state="complete", **more) -> TrialSummary:
    params = {"training.learning_rate": 10**-3 * (number + 1), "training.batch_size": 32, "config.pooling": None}
    values = {"rsum": rsum, "params_millions": 1.0 + number} if state == "complete" else {}
    return TrialSummary(
        number=number, state=state, params=params, values=values, rsum=rsum, curves=[[rsum]] if rsum else [], steps=10,
        seconds=2.0, **more,
    )  # fmt: skip


def study(key="chan", directions=None, trials=None, **more) -> StudySummary:
    trials = trials or [
        trial(0, 300.0, source="default"),
        trial(1, 310.0),
        trial(2, 250.0, "pruned", reason="MedianPruner after 1 epochs"),
        trial(3, None, "failed", reason=HOSTILE),
        trial(4, 305.0),
    ]
    best = {"name": "chan", "key": key, "training": {"learning_rate": 2e-3}, "tuning": {"trials": 5}}
    values = {
        "study": f"e.{key}", "experiment": "e", "key": key, "scorer": "chan", "dataset": "scenes", "storage": "sqlite:///x",
        "directions": directions or {"rsum": "maximize"}, "sampler": {"name": "TPESampler"},
        "pruner": {"name": "MedianPruner"}, "sampler_seed": 0, "seeds": (0,), "space": SPACE, "entry": {"data_sha256": "a"},
        "trials": trials, "best_trial": 1, "best_entry": best, "pareto": [0, 1],
        "importance": {"PED-ANOVA": {"training.learning_rate": 0.75, "training.batch_size": 0.25}},
    }  # fmt: skip
    return StudySummary(**{**values, **more})


def test_the_budget_counts_every_trial_that_ended():
    assert study().tuning == {
        "trials": 5,
        "budget": {"trials": 5, "steps": 50, "seconds": 10.0},
        "study": "e.chan",
        "seeds_per_trial": 1,
    }


def test_it_is_read_as_it_was_written_and_refuses_damage(tmp_path):
    path = write_summary(study(), tmp_path)
    assert read_summary(tmp_path) == study()
    assert read_summary(tmp_path / "nothing") is None
    values = json.loads(path.read_text())
    for damaged in ("{", json.dumps({**values, "schema_version": 99}), json.dumps({**values, "more": 1}), "[]"):
        path.write_text(damaged)
        with pytest.raises(InvalidRecord):
            read_summary(tmp_path)


def test_the_report_names_the_best_what_it_cost_and_what_failed(tmp_path):
    summary = study()
    built = sweep.build(summary)
    assert "The best is trial 1 with a validation rSum of 310.0" in built.sentences[0]
    assert "own settings (trial 0) reached 300.0" in built.sentences[0]
    assert "5 trials (3 complete, 1 pruned, 1 failed), 50 training steps, 10 s" in built.sentences[1]
    assert "no other trial surpassed" in sweep.build(study(best_trial=0)).sentences[0]
    files = {path.name for path in render.write(built, tmp_path)}
    assert {
        "sweep.md",
        "sweep.html",
        "best.yaml",
        "sweep-history.png",
        "sweep-slices.svg",
        "sweep-expected.svg",
    } <= files
    page = (tmp_path / "sweep.html").read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page
    values = {"name": "e", "dataset": "scenes", **strict_yaml.parse((tmp_path / "best.yaml").read_text(), "text")}
    assert load_experiment(values).scorers[0].training == {"learning_rate": 2e-3}


def test_several_objectives_get_their_front():
    built = sweep.build(study(directions={"rsum": "maximize", "params_millions": "minimize"}))
    (table,) = [table for table in built.tables if table.key == "pareto"]
    assert table.frame["trial"].tolist() == [1, 0]
    assert any(figure.key == "pareto-params_millions" for figure in built.figures)


def test_the_curve_leaves_the_default_out_and_counts_what_was_pruned_or_failed():
    (curve,) = rows.curves([study()]).values()
    np.testing.assert_allclose(curve.expected, expected_performance([310.0, 250.0, 0.0, 305.0]).expected)


def test_studies_of_other_data_are_not_drawn_beside_it():
    stranger = study("scan", entry={"data_sha256": "b"})
    assert "chan from" not in json.dumps(sweep.build(study(), [stranger]).sections[-1].sentences)
    other = sweep.build(study(), [study("scan")]).sections[-1]
    assert other.sentences[0].startswith("Ahead in expectation: chan")


def test_without_a_best_trial_the_report_says_so():
    failed = [trial(0, None, "failed", reason="broken")]
    built = sweep.build(
        study(trials=failed, best_trial=None, best_entry={}, pareto=[], importance={}, importance_note="few")
    )
    assert "No trial can be recommended." in built.sentences
    assert any("broken" in note for section in built.sections for note in section.footnotes)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"choices": ["a", None, 0.5]}, "a, none, 0.500"),
        ({"low": 1e-5, "high": 0.01, "log": True}, "1e-05 to 0.0100 (log)"),
        ({"low": 1.0, "high": 2.0, "when": {"config.p": ["x", "y"]}}, "1.00 to 2.00 where config.p is x or y"),
        ({"tied": "image.width"}, "as image.width"),
    ],
)
def test_a_space_in_words(entry, words):
    assert rows.searched(entry) == words
