"""Pages of runs in the site: each run has one, linked with the reports that show it, and with the settings to download."""

from __future__ import annotations

import re

import pytest

from harness.files import strict_yaml
from harness.reports.document.render import write
from harness.reports.leaderboard import report
from harness.reports.site import rendering
from harness.reports.site.build import write_site

SPEC = {"scorer": "scan", "data_sha256": "a" * 64, "seed": 0, "protocols": ["full"], "dataset": {"name": "scenes"}}


@pytest.fixture
def site(three_scorers):
    store = three_scorers.store
    three_scorers.add_drawn(0.2, scorer="laps", seeds=1, spec={**SPEC, "scorer": "laps"})
    three_scorers.add_drawn(0.2, scorer="broken", seeds=1, status="failed", error="no luck", metrics={})
    built = report.build(store, three_scorers.ids[:9], title="Leaderboard: quick")
    write(built, store.results / "leaderboards" / "quick")
    return write_site(store).parent


def test_the_overview_lists_every_run_and_leads_to_its_page(site, three_scorers):
    text = (site / "runs" / "index.html").read_text()
    for run_id in three_scorers.ids:
        assert f'href="{run_id}.html"' in text
    assert "10 finished and 1 failed" in text


def test_a_run_and_the_reports_that_show_it_link_to_each_other(site, three_scorers):
    shown, alone = three_scorers.ids[0], three_scorers.ids[9]
    assert 'href="../leaderboards/quick.html"' in (site / "runs" / f"{shown}.html").read_text()
    assert "leaderboards/quick.html" not in (site / "runs" / f"{alone}.html").read_text().partition("<h1>")[2]
    assert f'href="../runs/{shown}.html"' in (site / "leaderboards" / "quick.html").read_text()


def test_a_failed_run_has_a_page(site, three_scorers):
    assert "no luck" in (site / "runs" / f"{three_scorers.ids[10]}.html").read_text()


def test_the_settings_to_download_are_those_that_the_command_names(site, three_scorers):
    run_id = three_scorers.ids[9]
    text = (site / "runs" / f"{run_id}.html").read_text()
    file = site / "runs" / f"{run_id}.yaml"
    assert strict_yaml.read_file(file) == {**SPEC, "scorer": "laps"}
    assert f"itm leaderboard {file.as_posix()} --results again" in text
    assert re.search(rf'<a href="{run_id}.yaml" download>', text)


def test_pages_of_runs_that_did_not_change_are_not_made_again(site, three_scorers, monkeypatch):
    made = []
    real = rendering.Renderer.render

    def render(self, page):
        made.append(page.path)
        return real(self, page)

    monkeypatch.setattr(rendering.Renderer, "render", render)
    store, run_id = three_scorers.store, three_scorers.ids[4]
    write_site(store)
    assert not [path for path in made if path != "runs/index.html" and path.startswith("runs/")]
    record = store.read(run_id)
    store.write(record.model_copy(update={"citation": "a paper"}))
    made.clear()
    write_site(store)
    assert f"runs/{run_id}.html" in made
    assert f"runs/{three_scorers.ids[0]}.html" not in made
    assert (site / "runs" / f"{three_scorers.ids[9]}.yaml").is_file()  # of a page that was kept


@pytest.mark.parametrize(
    ("path", "link"),
    [
        ("runs/a/ranks.npz", "../../runs/a/ranks.npz"),
        ("runs/a b/../c", "../../runs/c"),
        ("../elsewhere", ""),
        ("/etc/passwd", ""),
        ("runs/../../x", ""),
        ("javascript:alert(1)", "../../javascript%3Aalert%281%29"),
    ],
)
def test_links_to_results_stay_in_the_results(path, link):
    assert rendering.result_file(path, "runs/a.html") == link
