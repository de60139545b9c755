"""Sections of plug-ins at the end of a leaderboard: what stands there, and what a failing one costs."""

from __future__ import annotations

import hashlib
import json
import sys

import pytest

from harness import plugins
from harness.reports.document.render import write
from harness.reports.document.stored import read_report
from harness.reports.leaderboard.report import build
from harness.sections.placing import placed

GOOD = """
import pandas as pd
from harness.reports.document import figures
from harness.reports.document.model import Column, Figure, Section, Table
from harness.sections.base import ReportSection


class Good(ReportSection):
    description = "sums"

    def build(self, runs):
        frame = runs.frame.groupby("label", as_index=False)["full.rsum"].mean()
        frame["ranks"] = [sum(len(runs.ranks(r.run_id)["full"].t2i_rank) for r in runs.records
                              if runs.labels[r.run_id] == label) for label in frame["label"]]
        columns = (Column("label", "<b>Method</b>"), Column("full.rsum", "rSum", "number"), Column("ranks", "N", "count"))
        with figures.canvas(3, 2) as drawing:
            drawing.subplots().plot([0, 1])
        figure = Figure(drawing, "a/b", "A line", "a line")
        return Section(title="Sums & more", tables=[Table(frame, columns, "Sums", "sums")], figures=[figure])
"""
FAILING = """
from harness.reports.document.model import Section
from harness.sections.base import ReportSection


class Failing(ReportSection):
    description = "fails"

    def build(self, runs):
        {line}
"""


@pytest.fixture
def add(tmp_path, monkeypatch):
    """Writes and registers a plug-in file."""
    monkeypatch.setattr("harness.plugins.registered.registered", {})
    monkeypatch.chdir(tmp_path)

    def add(name, text):
        path = tmp_path / f"{name}.py"
        path.write_text(text)
        plugins.add(path)

    yield add
    for name in [name for name in sys.modules if name.startswith("itm_plugin_")]:
        del sys.modules[name]


def test_a_section_stands_at_the_end_in_every_file_with_its_source(runs, add, tmp_path):
    for scorer in ("scan", "chan"):
        runs.add_drawn(0.5, scorer=scorer, seeds=2)
    runs.add_drawn(0.9, scorer="chan", seeds=1, started="2025-01-01T00:00:00+00:00")  # an earlier run of seed 0
    add("sums", GOOD)
    report, failures = placed(build(runs.store, runs.ids, title="x"), runs.store, ["sums"])
    assert failures == []
    assert report.sections[-1].tables[0].frame["ranks"].tolist() == [240, 240]  # 2 seeds of 60 images with 2 captions
    write(report, tmp_path / "page")
    page = (tmp_path / "page/leaderboard.html").read_text()
    assert page.index("How to read this") < page.index("Sums &amp; more") < page.index("&lt;b&gt;Method")
    assert "Made by the plug-in sums.py (SHA-256 " in page
    for ending in ("md", "tex"):
        assert "Sums" in (tmp_path / f"page/leaderboard.{ending}").read_text()
    told = json.loads((tmp_path / "page/leaderboard.json").read_text())["data"]["sections"]
    inner = hashlib.sha256(GOOD.encode()).hexdigest()
    assert told == [
        {"name": "sums", "plugin": "sums.py", "sha256": hashlib.sha256(f"sums {inner}\n".encode()).hexdigest()}
    ]
    again = read_report(tmp_path / "page/leaderboard.json")  # as the site shows it
    assert again.sections[-1].title == "Sums & more"
    assert len(again.sections[-1].figures) == 1


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("return runs.labels['nobody']", "plug-in failing.py, line 10: KeyError: 'nobody'"),
        ("raise SystemExit(3)", "plug-in failing.py, line 10: SystemExit: 3"),
        ("return '<p>text</p>'", "plug-in failing.py: build must return a Section or None, got str"),
        ("return Section(title='x', sentences='one text')", "sentences of its Section must be a list"),
        ("return runs.ranks('nobody')", "plug-in failing.py, line 10: unknown run of the leaderboard 'nobody'"),
        ("runs.ranks(runs.records[0].run_id)['full'].t2i_rank[:] = 0", "line 10: ValueError: assignment destination"),
    ],
)
def test_a_section_that_fails_costs_itself_alone(runs, add, line, told):
    runs.add_drawn(0.5, scorer="scan", seeds=1)
    add("sums", GOOD)
    add("failing", FAILING.format(line=line))
    before = build(runs.store, runs.ids, title="x")
    report, (failure,) = placed(before, runs.store, ["failing", "sums"])
    assert failure.startswith("section 'failing' failed: ")
    assert told in failure
    assert [section.title for section in report.sections[len(before.sections) :]] == ["Section failing", "Sums & more"]
    assert report.sections[-2].notices[0].text == failure
    assert report.data["sections"][0]["error"] == failure


def test_a_section_changes_no_run_of_the_next_one(runs, add):
    runs.add_drawn(0.5, scorer="scan", seeds=1)
    add("failing", FAILING.format(line="runs.records[0].metrics['full']['rsum'] = -1.0"))
    add("sums", GOOD)
    report, failures = placed(build(runs.store, runs.ids, title="x"), runs.store, ["failing", "sums"])
    assert failures == []  # it returned None: nothing to say
    (record,) = runs.store.records()
    assert report.sections[-1].tables[0].frame["full.rsum"].tolist() == [record.metrics["full"]["rsum"]]
