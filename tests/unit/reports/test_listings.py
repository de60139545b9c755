"""Texts that are shown as they are: their lines and indents stay in every medium, and nothing in them comes to life."""

from __future__ import annotations

import html
import io
import re

import pytest
from rich.console import Console

from harness.reports.document.model import Listing, Report, Section
from harness.reports.document.render import render
from harness.reports.document.terminal import Page

TEXT = 'a: 1\n  - "<b>x</b>"   &amp;\n```\n\x1b[31mred\u202e\n\ttab'
SHOWN = 'a: 1\n  - "<b>x</b>"   &amp;\n```\n[31mred\n    tab'


def report(**settings):
    listing = Listing(TEXT, **settings)
    return Report(title="t", sections=[Section(title="s", listings=[listing])], brief=[listing])


@pytest.mark.parametrize("collapsed", [False, True])
def test_html_keeps_every_character_and_none_is_markup(collapsed):
    page = render(report(title="<i>", collapsed=collapsed), "html")
    (inside,) = re.findall(r"<pre[^>]*>(.*?)</pre>", page, re.S)
    assert "<" not in inside
    assert html.unescape(inside) == SHOWN
    assert ('<details class="listing"><summary>&lt;i&gt;' in page) == collapsed


def test_markdown_fences_it_with_more_ticks_than_it_holds():
    assert f"````\n{SHOWN}\n````\n" in render(report(), "md")


def test_a_terminal_cuts_no_command():
    command = "itm leaderboard " + "x" * 100
    file = io.StringIO()
    Console(file=file, width=40).print(Page(Report(title="t", brief=[Listing(command)])))
    assert re.sub(r"\s", "", file.getvalue()) == command.replace(" ", "")
