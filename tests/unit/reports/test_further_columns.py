"""Further metrics on a leaderboard: which rows have a number, which value is the best, and how the others get one."""

from __future__ import annotations

import json

import numpy as np
import pytest

from harness.records.parts import FurtherMetric
from harness.reports.document.best import best_rows
from harness.reports.document.render import render
from harness.reports.leaderboard.report import build

NOTE = {"better": "lower", "description": "place of the best, from 1", "plugin": "parts/place.py", "sha256": "1"}


@pytest.fixture
def measured(runs):
    """Three methods of two seeds; a function gives one of them a metric with the note of each seed."""
    for skill, scorer in ((0.8, "scan"), (0.5, "chan"), (0.3, "clip")):
        runs.add_drawn(skill, scorer=scorer, seeds=2)

    def give(scorer, values, notes):
        records = [record for record in runs.store.records() if record.scorer == scorer]
        for record, value, note in zip(records, values, notes, strict=True):
            numbers = {**record.metrics["full"], "i2t_place": value, "t2i_place": value + 1}
            notes_of = {"place": FurtherMetric(**note)} if note else {}
            evaluation = record.evaluation.model_copy(update={"metrics": notes_of})
            runs.store.write(record.model_copy(update={"metrics": {"full": numbers}, "evaluation": evaluation}))

    return give


def accuracy(report):
    table = next(table for table in report.tables if table.key.startswith("accuracy"))
    return table, {column.key: column for column in table.columns}, table.frame.set_index("label")


def test_rows_have_means_over_seeds_or_a_dash_and_lower_is_better(runs, measured):
    measured("scan", [3.0, 4.0], [NOTE, NOTE])
    measured("chan", [1.0, 2.0], [NOTE, NOTE])
    report = build(runs.store, runs.ids, title="x")
    table, columns, frame = accuracy(report)
    assert frame.loc["scan", "i2t_place"] == 3.5
    assert frame.loc["scan", "i2t_place_sd"] == pytest.approx(np.std([3, 4], ddof=1))
    assert np.isnan(frame.loc["clip", "t2i_place"])
    best = best_rows(columns["t2i_place"], table.frame.to_dict("records"))
    assert [table.frame["label"][row] for row in best] == ["chan"]
    command = f"`itm rescore --metric place --results {runs.store.results.as_posix()} --plugin parts/place.py`"
    assert f"clip has no place: {command} computes it." in report.sentences
    pages = {ending: render(report, ending) for ending in ("html", "csv", "json", "tex")}
    assert "place of the best, from 1 (lower is better)" in pages["html"]
    assert "i2t_place,i2t_place_sd" in pages["csv"].splitlines()[0]
    assert json.loads(pages["json"])["data"]["boards"][0]["methods"][0]["t2i_place"] == 4.5
    assert r"\textbf{1.500}" in pages["tex"]


@pytest.mark.parametrize("other", [{**NOTE, "sha256": "2"}, None])
def test_numbers_of_several_sources_are_never_averaged_nor_compared(runs, measured, other):
    measured("scan", [3.0, 4.0], [NOTE, other])
    measured("chan", [1.0, 2.0], [NOTE, NOTE])
    report = build(runs.store, runs.ids, title="x")
    _, columns, frame = accuracy(report)
    assert np.isnan(frame.loc["scan", "i2t_place"])
    assert columns["i2t_place"].better == ""
    assert any("place was computed by 2 versions of its source" in line for line in report.sentences)


def test_a_metric_makes_no_other_method(runs):
    """Runs of one method with and without a further metric are seeds of one row."""
    for skill, extra in ((0.8, {}), (0.7, {"metrics": ["place"]})):
        seed = len(runs.ids)
        spec = {"scorer": "scan", "seed": seed, "evaluation": {"ties": "pessimistic", **extra}}
        spec |= {"plugins_sha256": {"metric.place": "1"}} if extra else {}
        runs.add_drawn(skill, scorer="scan", seeds=1, spec=spec)
    records = [record.model_copy(update={"seed": number}) for number, record in enumerate(runs.store.records())]
    for record in records:
        runs.store.write(record)
    report = build(runs.store, runs.ids, title="x")
    assert report.main["seeds"].tolist() == [2]
