"""The eyes of these tests see what is wrong: each check is shown a page that it must not pass."""

from __future__ import annotations

import pytest
import sights
from small_results import PICTURE

HEAD = "<!DOCTYPE html><html><head><meta charset=utf-8><meta name=viewport content='width=device-width'></head><body>"
GREY = "<p style='color: #999; background: #fff'>grey</p>"
INHERITED = "<div style='background: #222'><div><p style='color: rgba(0, 0, 0, .9)'>dark on dark</p></div></div>"
WIDE = "<div style='width: 900px'>wide</div>"
SCROLLED = f"<div style='overflow-x: auto'>{WIDE}</div>"


@pytest.fixture
def look(browser, tmp_path):
    def looked(body: str) -> None:
        page = tmp_path / "page.html"
        page.write_text(HEAD + body, "utf-8")
        browser.open(page)

    return looked


@pytest.mark.parametrize(("body", "count"), [(GREY, 1), (INHERITED, 1), ("<p>black on white</p>", 0)])
def test_faint_texts(browser, look, body, count):
    look(body)
    assert len(sights.faint_texts(browser)) == count


def test_what_is_wider_than_a_phone(browser, look):
    browser.show(390)
    look(WIDE)
    assert sights.overflow(browser) > 0
    assert len(sights.too_wide(browser)) == 1
    look(SCROLLED)
    assert (sights.overflow(browser), sights.too_wide(browser)) == (0, [])


@pytest.mark.parametrize(
    "body", [PICTURE, "<script>window.pwned=1</script>", "<a href='javascript:pwned'>x</a>", "<iframe></iframe>"]
)
def test_data_that_came_to_life(browser, look, body):
    look(body)
    assert sights.alive(browser)


def test_a_console_and_a_network_that_have_something_to_say(browser, look, tmp_path):
    look("<img src='https://example.com/a.png'><script>nothing()</script>")
    assert browser.requests() == [(tmp_path / "page.html").as_uri(), "https://example.com/a.png"]
    assert len(browser.complaints()) == 2


def test_pages_of_a_server_and_without_scripts(browser, serve, tmp_path):
    (tmp_path / "a.html").write_text(
        f"{HEAD}<p>still</p><script>document.querySelector('p').textContent = 'run'</script>"
    )
    address = f"{serve(tmp_path)}/a.html"
    for run, text in ((True, "run"), (False, "still")):
        browser.scripts(run)
        browser.open(address)
        assert browser.find("p").text == text
    assert set(browser.requests()) - {address.replace("a.html", "favicon.ico")} == {address}


def test_dark_colours_and_print(browser, look):
    body = "<style>:root { color-scheme: light dark } @media print { p { display: none } }</style><p>on screen</p>"
    browser.show(dark=True)
    look(body)
    assert sights.brightness(browser.find("html")) < 0.2
    assert "on screen" not in sights.words_on_paper(browser.pdf())
    browser.show()
    assert sights.brightness(browser.find("html")) > 0.9


@pytest.mark.parametrize(
    ("body", "cut"),
    [
        ("<table><tr><td><div style='width: 4000px'>near</div></td><td>far</td></tr></table><p>here</p>", ["far"]),
        ("<div style='width: 9em; overflow: hidden'><p style='width: 40em'>near</p></div>", []),
        (
            "<div style='width: 60px; overflow: hidden'><table style='width: 600px'><tr>"
            "<td style='width: 300px'>near</td><td>far</td></tr></table></div>",
            ["far"],
        ),
    ],
    ids=["beyond the paper", "whole", "in a box that cannot be scrolled"],
)
def test_paper_cuts_what_does_not_shrink(browser, look, body, cut):
    look(body)
    assert sights.cut_on_paper(browser) == cut
