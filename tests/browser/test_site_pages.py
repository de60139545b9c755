"""The site as a whole: every link from the first page leads somewhere, and every page can be read on every medium."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import sights
from crawling import path_of
from small_results import SCRIPT

#: A page of each kind, found by its folder; empty = the first page.
KINDS = (
    "",
    "leaderboards",
    "significance",
    "profiles",
    "ablations",
    "sweeps",
    "describe",
    "galleries",
    "alignments",
    "runs",
)

#: The rows of each table, and the blocks that a reader does not see though nothing has to be opened for them.
_ROWS = "return Array.from(document.querySelectorAll('main table'), table => table.tBodies[0].rows.length);"
_UNSEEN = """
return Array.from(document.querySelectorAll('main :is(table, figure, h1, h2, p)'))
  .filter(e => !e.closest('details') && !e.checkVisibility()).map(e => e.outerHTML.slice(0, 80));
"""


def page_of(site: Path, kind: str) -> Path:
    """A page of a kind."""
    return next(iter(sorted((site / kind).glob("*.html"))))


def test_every_page_is_reached_from_the_first(visits, site):
    written = {path.relative_to(site).as_posix() for path in site.rglob("*.html")}
    assert set(visits) == written
    assert {path.split("/")[0] for path in written if "/" in path} >= set(KINDS[1:])


def test_no_link_is_broken(visits, site):
    broken = []
    for name, visit in visits.items():
        for link in visit.links:
            target, fragment = path_of(link), unquote(urlsplit(link).fragment)
            page = target.relative_to(site).as_posix() if target.is_relative_to(site) else ""
            place = (
                "" if page.startswith(("galleries/", "alignments/")) and "=" in fragment else fragment
            )  # else it says what to show there
            if not target.exists() or (page in visits and place and place not in visits[page].ids):
                broken.append(f"{name}: {link}")
    assert broken == []


def test_every_page_has_a_title_of_its_own_and_leads_back(visits, site):
    titles = [visit.title for visit in visits.values()]
    assert all(titles)
    assert len(set(titles)) == len(titles)
    assert [name for name, visit in visits.items() if site / "index.html" not in map(path_of, visit.links)] == []


@pytest.mark.parametrize("which", ["visits", "hostile_visits"])
@pytest.mark.parametrize(
    ("seen", "nothing"),
    [("complaints", []), ("alive", []), ("faint", []), ("overflow", 0), ("too_wide", [])],
    ids=["console", "data that acts", "contrast in light and dark", "phone", "phone, cut"],
)
def test_no_page_has_anything_wrong(request, which, seen, nothing):
    pages = request.getfixturevalue(which)
    assert len(pages) > len(KINDS) // 2
    assert {name: found for name, visit in pages.items() if (found := getattr(visit, seen)) != nothing} == {}


@pytest.mark.parametrize("which", ["visits", "hostile_visits"])
def test_pages_ask_for_nothing_but_their_own_files(request, which, results, hostile_results):
    folder = results if which == "visits" else hostile_results
    asked = {url for visit in request.getfixturevalue(which).values() for url in visit.requests}
    assert asked
    assert {url for url in asked if urlsplit(url).scheme != "file" or not path_of(url).is_relative_to(folder)} == set()
    assert {url for url in asked if not path_of(url).is_file()} == set()


def test_hostile_names_are_there_to_be_read(browser, hostile_results):
    browser.open(hostile_results / "site" / "index.html")
    assert SCRIPT in browser.find("body").text


@pytest.mark.parametrize("kind", KINDS)
def test_pages_of_a_web_server_are_the_same(browser, serve, results, site, kind):
    address = serve(results)
    page = page_of(site, kind).relative_to(results).as_posix()
    browser.open(f"{address}/{page}")
    assert browser.find("h1").text
    tables = "Array.from(document.querySelectorAll('table.grid')).filter(table => table.checkVisibility())"
    browser.ask(
        f"{tables}[0]?.scrollIntoView();"
    )  # one far below is prepared when it is near, a folded one when it opens
    browser.wait(f"return !{tables}.length || document.querySelector('.tools')")
    own = [url for url in browser.requests() if not url.endswith("/favicon.ico")]
    assert {urlsplit(url).netloc for url in own} == {urlsplit(address).netloc}
    assert [line for line in browser.complaints() if "favicon" not in line] == []


@pytest.mark.parametrize("kind", KINDS)
def test_paper_shows_every_column(browser, site, kind):
    browser.open(page_of(site, kind))
    assert sights.cut_on_paper(browser) == []


@pytest.mark.parametrize("kind", KINDS)
def test_pages_are_whole_without_scripts(browser, site, kind):
    page = page_of(site, kind)
    browser.open(page)
    browser.wait("return document.readyState === 'complete'")
    with_scripts = browser.ask(_ROWS)
    browser.scripts(False)
    browser.open(page)
    assert not browser.all(".tools")
    assert browser.ask(_ROWS) == with_scripts
    assert browser.ask(_UNSEEN) == []


@pytest.mark.parametrize("kind", ["leaderboards", "significance", "profiles", "ablations"])
def test_figures_follow_the_dark(browser, site, kind):
    for dark in (False, True):
        browser.show(dark=dark)
        browser.open(page_of(site, kind))
        figure = browser.find("figure.plot svg")
        browser.ask("arguments[0].scrollIntoView({block: 'center'});", figure)
        shine = sights.brightness(figure)
        assert shine < 0.3 if dark else shine > 0.85
