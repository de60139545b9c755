"""The site of a results folder: what is linked from where, what is written anew, and what nobody can make it do."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, unquote_to_bytes

import pytest

from harness.errors import ResultsNotWritable
from harness.reports.document.render import write
from harness.reports.leaderboard import report
from harness.reports.site import rendering
from harness.reports.site.build import write_site
from harness.reports.site.rendering import embedded, relative

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"


class Links(HTMLParser):
    """The links, ids and tags of a page, and its text."""

    def __init__(self, text: str):
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.tags: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.tags.append((tag, values))
        self.links += [values[key] for key in ("href", "src") if values.get(key)]
        self.ids |= {values["id"]} if values.get("id") else set()

    def handle_data(self, data):
        self.text += data


def page(path: Path) -> Links:
    return Links(path.read_text())


def board(runs, name="quick", title="Leaderboard: quick", **options):
    built = report.build(runs.store, runs.ids, title=title, **options)
    write(built, runs.store.results / "leaderboards" / name)


@pytest.fixture
def site(three_scorers):
    board(three_scorers)
    return write_site(three_scorers.store).parent


def test_the_overview_says_what_was_measured_and_what_the_reports_found(site):
    text = " ".join(page(site / "index.html").text.split())
    assert "3 methods in 9 finished runs" in text
    assert "scenes test, full" in text
    assert "On scenes test, full, chan leads with rSum" in text


def test_every_link_leads_to_a_file_and_every_page_is_linked(site):
    pages = sorted(site.rglob("*.html"))
    reached = set()
    for path in pages:
        for link in page(path).links:
            target, _, part = link.partition("#")
            found = (path.parent / unquote(target)).resolve() if target else path
            assert found.is_file(), f"{path.name} links to {link}"
            state = "=" in part  # what a page of queries shows, not a place in it
            assert not part or state or part in page(found).ids, f"{path.name} links to {link}"
            reached.add(found)
    assert {path.resolve() for path in pages} <= reached


def test_no_page_asks_a_server_for_anything(site):
    for path in site.rglob("*.html"):
        for link in page(path).links:
            assert not re.match(r"[a-z]+:|//", link), f"{path.name}: {link}"
        assert "connect-src 'none'" in path.read_text()


def test_only_files_that_change_are_written_again(site, three_scorers):
    before = {path: path.stat().st_mtime_ns for path in site.rglob("*") if path.is_file()}
    write_site(three_scorers.store)
    after = {path: path.stat().st_mtime_ns for path in site.rglob("*") if path.is_file()}
    assert {path.name for path in before if before[path] != after[path]} <= {"manifest.json"}
    assert before.keys() == after.keys()


def test_one_more_run_makes_only_its_own_pages_and_those_that_show_it(site, three_scorers, table):
    before = {path: path.read_bytes() for path in site.rglob("*.html")}
    stamps = {path: path.stat().st_mtime_ns for path in before}
    run_id = three_scorers.add(table([0, 1], [0, 0], [0, 1]), scorer="laps", data_sha256="b" * 64)
    write_site(three_scorers.store)
    changed = {path.name for path in before if path.stat().st_mtime_ns != stamps[path]}
    assert changed == {"index.html"}  # the overview, and that of the runs
    assert (site / "runs" / f"{run_id}.html").exists()


def test_pages_of_other_code_are_made_again(site, three_scorers, monkeypatch):
    page = site / "leaderboards" / "quick.html"
    whole = page.read_bytes()
    page.write_text("by another version")
    write_site(three_scorers.store)
    assert page.read_text() == "by another version"  # nothing that it is made of has changed
    monkeypatch.setattr(rendering, "code_sha256", lambda: "other")
    write_site(three_scorers.store)
    assert page.read_bytes() == whole


def test_a_page_whose_report_is_gone_goes_too_and_files_of_others_stay(site, three_scorers):
    board(three_scorers, "second")
    write_site(three_scorers.store)
    (site / "notes.txt").write_text("mine")
    (site / "leaderboards" / "mine.html").write_text("mine")
    for file in (three_scorers.store.results / "leaderboards" / "second").iterdir():
        file.unlink()
    write_site(three_scorers.store)
    assert not (site / "leaderboards" / "second.html").exists()
    assert (site / "notes.txt").read_text() == (site / "leaderboards" / "mine.html").read_text() == "mine"


def test_a_manifest_cannot_make_it_remove_files_elsewhere(site, three_scorers):
    mine = three_scorers.store.results / "mine.txt"
    mine.write_text("mine")
    (site / "manifest.json").write_text(json.dumps({"files": {"../mine.txt": "", str(mine): "", "index.html": 3}}))
    write_site(three_scorers.store)
    assert mine.exists()


def test_a_link_out_of_the_results_is_not_written_through(three_scorers, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    three_scorers.store.results.joinpath("site").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ResultsNotWritable, match="link"):
        write_site(three_scorers.store)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_damaged_report_is_left_out_in_one_line(three_scorers, caplog):
    board(three_scorers)
    board(three_scorers, "broken")
    (three_scorers.store.results / "leaderboards" / "broken" / "leaderboard.json").write_text("{")
    site = write_site(three_scorers.store).parent
    assert "a page is left out of the site" in caplog.text
    assert not (site / "leaderboards" / "broken.html").exists()
    assert (site / "leaderboards" / "quick.html").exists()


def test_several_reports_in_one_folder_have_pages_of_their_own(three_scorers):
    board(three_scorers)
    folder = three_scorers.store.results / "leaderboards"
    write(replace(report.build(three_scorers.store, three_scorers.ids, title="Other"), stem="second"), folder / "quick")
    write(replace(report.build(three_scorers.store, three_scorers.ids, title="Other"), stem="quick"), folder)
    site = write_site(three_scorers.store).parent
    names = {path.name for path in (site / "leaderboards").glob("*.html")}
    assert names == {"quick.html", "quick-second.html", "quick-quick.html"}


def test_a_board_without_numbers_is_not_on_the_first_page_and_stops_nothing(three_scorers):
    board(three_scorers)
    file = three_scorers.store.results / "leaderboards/quick/leaderboard.json"
    values = json.loads(file.read_text())
    for section in values["sections"]:
        for table in section["tables"]:
            del table["columns"]  # as earlier versions wrote them: all values are texts
            for row in table["rows"]:
                row["rsum"] = "much"
    file.write_text(json.dumps(values))
    index = write_site(three_scorers.store)
    assert 'data-key="overview-' not in index.read_text()
    assert "much" in (index.parent / "leaderboards/quick.html").read_text()


def test_names_of_files_that_are_no_text_stop_nothing(three_scorers):
    board(three_scorers)
    results = three_scorers.store.results
    for folder in (results / "leaderboards/quick", three_scorers.store.folder(three_scorers.ids[0])):
        (folder / os.fsdecode(b"leaderboard-\xff.txt")).write_text("x")
    site = write_site(three_scorers.store).parent
    (link,) = [link for link in page(site / "leaderboards/quick.html").links if "%FF" in link]
    assert os.path.lexists(os.fsencode(site / "leaderboards") + b"/" + unquote_to_bytes(link))
    assert "leaderboard-" not in page(site / f"runs/{three_scorers.ids[0]}.html").text


def test_an_empty_folder_has_a_site_too(runs):
    runs.store.prepare()
    assert "0 methods in 0 finished runs" in " ".join(page(write_site(runs.store)).text.split())


def test_hostile_names_stay_texts_on_every_page(runs):
    runs.add_drawn(0.7, scorer="scan", seeds=1, dataset=HOSTILE, citation=HOSTILE)
    board(runs, title=HOSTILE)
    site = write_site(runs.store).parent
    clean = {tag for path in (site / "index.html",) for tag, _ in page(path).tags}
    assert "img" not in clean
    for path in site.rglob("*.html"):
        for tag, attributes in page(path).tags:
            assert not any(name.startswith("on") for name in attributes)
            assert tag != "script" or attributes.get("src") or attributes.get("type") == "application/json"
    assert HOSTILE in page(site / "index.html").text
    assert "<" not in (site / "assets" / "index.js").read_text()


def test_data_for_scripts_cannot_end_their_element():
    text = embedded({"caption": HOSTILE, "line": "\u2028", "n": float("nan")})
    assert "<" not in text
    assert json.loads(text) == {"caption": HOSTILE, "line": "\u2028", "n": None}


@pytest.mark.parametrize(
    ("path", "start", "link"),
    [
        ("index.html", "index.html", "index.html"),
        ("index.html", "runs/a.html", "../index.html"),
        ("runs/b.html", "runs/a.html", "b.html"),
        ("runs/b.html#files", "index.html", "runs/b.html#files"),
        ("a b/c&d.html", "runs/a.html", "../a%20b/c%26d.html"),
    ],
)
def test_links_are_relative_so_that_the_folder_can_be_moved(path, start, link):
    assert relative(path, start) == link
