"""Every report names the runs that it used, and the rows of its tables lead to them; a page of a run leads back."""

from __future__ import annotations

import json

import pytest

from harness.reports.ablation import report as ablation
from harness.reports.ablation.rows import Ablated
from harness.reports.document.render import write
from harness.reports.published import compare
from harness.reports.runs.sources import read_sources
from harness.reports.significance import report as significance
from harness.reports.significance.examine import Request, examine
from harness.reports.site.build import write_site
from harness.reports.site.results import Results


def significance_page(runs):
    (subject,) = read_sources([str(runs.store.results)], runs.store.results)
    return significance.build(examine(subject, Request(resamples=999)))


def ablation_page(runs):
    models = [Ablated("scan", (), tuple(runs.ids[:3])), Ablated("chan", ("no_x",), tuple(runs.ids[3:6]))]
    return ablation.build(runs.store, models, "scan", title="Ablation")


def published_page(runs):
    return compare.build(runs.store, runs.ids)


#: Kind of page -> what builds it, and how many of the nine runs it shows.
KINDS = {
    "significance": (significance_page, 9),
    "ablations": (ablation_page, 6),
    "compare-published": (published_page, 9),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_report_names_its_runs_and_its_rows_lead_to_them(three_scorers, kind):
    build, count = KINDS[kind]
    page = build(three_scorers)
    assert sorted(page.data["run_ids"]) == sorted(three_scorers.ids[:count])
    linked = {
        cell.main: set(cell.runs)
        for table in page.tables
        for row in table.rows()
        for cell in row
        if len(cell.runs) == 3
    }
    scorers = ("scan", "chan", "clip")[: count // 3]
    if linked or kind != "compare-published":  # none of these is printed for the test's dataset
        for number, scorer in enumerate(scorers):
            assert linked[scorer] == set(three_scorers.ids[3 * number : 3 * number + 3])


@pytest.mark.parametrize("kind", KINDS)
def test_pages_and_runs_lead_to_each_other(three_scorers, kind):
    build, count = KINDS[kind]
    results = three_scorers.store.results
    write(build(three_scorers), results / kind / "made", ["html", "json"])
    site = write_site(three_scorers.store).parent
    text = (site / kind / "made.html").read_text()
    for number, run_id in enumerate(three_scorers.ids):
        assert (f'href="../runs/{run_id}.html"' in text) == (number < count)
        back = (site / "runs" / f"{run_id}.html").read_text()
        assert (f'href="../{kind}/made.html"' in back.partition("Pages that show this run")[2]) == (number < count)


@pytest.mark.parametrize("kind", ["significance", "ablations"])
def test_reports_of_earlier_versions_name_their_runs_elsewhere(three_scorers, kind):
    build, count = KINDS[kind]
    folder = three_scorers.store.results / kind / "made"
    write(build(three_scorers), folder, ["html", "json"])
    (file,) = folder.glob("*.json")
    values = json.loads(file.read_text())
    del values["data"]["run_ids"]
    file.write_text(json.dumps(values))
    (page,) = Results(three_scorers.store).reports
    assert sorted(page.run_ids) == sorted(three_scorers.ids[:count])


def test_a_sweep_leads_to_the_runs_that_have_the_settings_it_found(runs):
    for study in ("quick.scan", "other", None):
        tuning = {"trials": 3, **({"study": study} if study else {})}
        runs.add_drawn(0.5, scorer="scan", seeds=1, tuning=tuning)
    folder = runs.store.results / "sweeps" / "quick.scan"
    folder.mkdir(parents=True)
    data = {"study": {"study": "quick.scan"}}
    (folder / "sweep.json").write_text(
        json.dumps({"schema_version": 1, "title": "Sweep", "sections": [], "data": data})
    )
    (folder / "sweep.html").write_text("")
    results = Results(runs.store)
    (page,) = results.reports
    assert [record.run_id for record in results.runs_of(page)] == runs.ids[:1]
    assert [bool(results.appearances(run_id)) for run_id in runs.ids] == [True, False, False]


@pytest.mark.parametrize(
    "data", [{"run_ids": 3}, {"models": "x"}, {"models": [3]}, {"points": [{"run_ids": {"a": 1}}]}, {"study": []}]
)
def test_what_is_no_list_of_runs_names_none(runs, data):
    folder = runs.store.results / "profiles" / "made"
    folder.mkdir(parents=True)
    (folder / "profile.json").write_text(json.dumps({"schema_version": 1, "title": "P", "sections": [], "data": data}))
    (folder / "profile.html").write_text("")
    (page,) = Results(runs.store).reports
    assert (page.run_ids, page.study) == ((), "")
