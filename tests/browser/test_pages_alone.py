"""The page that each command writes, opened from its file: readable on every medium, and nothing in it acts."""

from __future__ import annotations

from pathlib import Path

import chromium
import pytest
import sights

KINDS = ("leaderboard", "significance", "ablation", "sweep", "profile", "describe")
HOSTILE_KINDS = ("leaderboard", "significance", "describe")


def page_of(results: Path, kind: str) -> Path:
    return next(path for path in sorted(results.rglob(f"{kind}.html")) if "site" not in path.relative_to(results).parts)


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_loads_whole_and_asks_for_nothing(browser, results, kind):
    page = page_of(results, kind)
    browser.open(page)
    assert browser.find("h1").text
    assert browser.all("table, figure")
    assert browser.requests() == [page.as_uri()]
    assert browser.complaints() == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_text_can_be_read(browser, results, kind, dark):
    browser.show(dark=dark)
    browser.open(page_of(results, kind))
    assert sights.faint_texts(browser) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_phone_scrolls_tables_and_never_the_page(browser, results, kind):
    browser.show(chromium.PHONE)
    browser.open(page_of(results, kind))
    assert sights.overflow(browser) == 0
    assert sights.too_wide(browser) == []


@pytest.mark.parametrize("kind", HOSTILE_KINDS)
def test_hostile_data_stay_text(browser, hostile_results, kind):
    page = page_of(hostile_results, kind)
    browser.open(page)
    assert sights.alive(browser) == []
    assert "window.pwned=1" in browser.find("body").text  # it is there, to be read
    assert browser.requests() == [page.as_uri()]
    assert browser.complaints() == []
