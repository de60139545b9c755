"""Stored figures inside a page: what a report draws is kept, and nothing else of a file gets in."""

import re
from xml.etree import ElementTree

import pytest
from markupsafe import Markup

from harness.errors import InvalidFigure
from harness.reports.document import figures
from harness.reports.document.inline import MOST_BYTES, MOST_DEPTH, inline_svg

LINK = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'


def inlined(inside: str, attributes: str = "", before: str = "") -> str:
    return inline_svg(f"{before}<svg {LINK} {attributes}>{inside}</svg>".encode(), "f1", "A chart")


def elements(markup: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(markup).iter())


def drawn() -> bytes:
    with figures.canvas(4, 3) as drawing:
        axes = drawing.subplots()
        axes.plot([1, 2], [3, 4], "o-", label="a <b> & c")
        axes.bar([1], [2], hatch="//")
        axes.set_xlabel(figures.label("</title><script>x</script>"))
        axes.legend()
    return figures.svg(drawing)


def test_a_figure_of_ours_keeps_every_mark_and_copies_no_style():
    stored = drawn()
    markup = inline_svg(stored, "f1", "what <it> shows")
    assert isinstance(markup, Markup)
    source, made = ElementTree.fromstring(stored), ElementTree.fromstring(markup)

    def count(root, tag):
        return sum(element.tag.split("}")[-1] == tag for element in root.iter())

    for tag in ("path", "use", "clipPath", "rect", "g", "pattern"):
        assert count(made, tag) == count(source, tag) > 0, tag
    assert made.get("aria-label") == "what <it> shows"
    assert (made.get("role"), made.get("class"), made.get("viewBox")) == ("img", "chart", "0 0 288 216")
    assert (made.get("width"), made.get("height")) == ("384", "288")  # CSS pixels: 4 x 3 inches
    assert "style" not in markup
    assert "http" not in markup


def test_ids_of_two_figures_on_a_page_differ_and_every_reference_finds_its_own():
    one, two = (inline_svg(drawn(), prefix, "") for prefix in ("f1", "f2"))
    for markup, prefix in ((one, "f1"), (two, "f2")):
        ids = re.findall(r'\bid="([^"]+)"', markup)
        referred = set(re.findall(r'href="#([^"]+)"', markup)) | set(re.findall(r"url\(#([^)]+)\)", markup))
        assert referred <= set(ids)
        assert referred
        assert all(name.startswith(f"{prefix}-") for name in ids)


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        "<g><script xlink:href='http://evil.example/x.js'/></g>",
        "<foreignObject><body xmlns='http://www.w3.org/1999/xhtml'><img src='x' onerror='alert(1)'/></body></foreignObject>",
        "<a xlink:href='javascript:alert(1)'><path d='M 0 0'/></a>",
        "<image xlink:href='http://evil.example/x.png'/>",
        "<image href='data:image/svg+xml;base64,AAAA'/>",
        "<use xlink:href='http://evil.example/x.svg#a'/>",
        "<use href='data:image/svg+xml,x#a'/>",
        "<use href='#nowhere'/>",
        "<style>@import 'http://evil.example/x.css';</style>",
        "<path style=\"fill: url('http://evil.example/#a')\"/>",
        "<path fill='url(http://evil.example/#a)'/>",
        "<path fill='url(javascript:alert(1))' clip-path='url(//evil.example#a)'/>",
        "<g onclick='alert(1)' onload='alert(1)' onmouseover='alert(1)'/>",
        "<animate attributeName='href' to='javascript:alert(1)'/>",
        "<set attributeName='onclick' to='alert(1)'/>",
        "<path><animateTransform onbegin='alert(1)'/></path>",
        "<g filter='url(#evil)' mask='url(http://evil.example)' class='page-menu' tabindex='0'/>",
        "<path id='a b' style='position: fixed; z-index: 9; background: url(//evil.example)'/>",
        "<iframe src='http://evil.example' xmlns='http://www.w3.org/1999/xhtml'/>",
        "<html:script xmlns:html='http://www.w3.org/1999/xhtml'>alert(1)</html:script>",
        "<script xmlns=''>alert(1)</script>",
        "<g xml:base='http://evil.example/' xmlns:evil='http://evil.example' evil:x='1' srcdoc='evil'/>",
        "<!-- evil --><?evil alert(1)?><![CDATA[<script>alert(1)</script>]]>evil &lt;script&gt;",
        "<text onclick='alert(1)' href='//evil.example'>words<script>alert(1)</script><a href='//evil.example'>evil</a></text>",
        # Copies of copies, and patterns of patterns, grow without bound.
        "<g id='evil1'><path/></g><use href='#evil1'/>",
        "<defs><pattern id='p'><g><path/></g><rect fill='url(#evil)'/></pattern></defs>",
    ],
)
def test_nothing_hostile_gets_in(hostile):
    markup = inlined(hostile)
    assert not re.search(
        r"evil|alert|script|javascript|http|data:|\bon\w+=|href|<(?!/?(svg|g|defs|pattern|path|rect|text))", markup
    )


def test_texts_keep_their_place_and_nothing_else():
    markup = inlined(
        "<text x='3' y='4' text-anchor='end' font-size='12' fill='#000000' style='position:fixed'>a &lt;b&gt;</text>"
    )
    (text,) = (element for element in elements(markup) if element.tag.endswith("text"))
    assert text.attrib == {"x": "3", "y": "4", "text-anchor": "end", "font-size": "12", "fill": "#000000"}
    assert text.text == "a <b>"


def test_names_stay_text():
    name = '</title><script>alert("1")</script>&amp;\u202e'
    escaped = name.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    markup = inlined(f"<g data-label='{escaped}' data-x='2'><title>{escaped}</title></g>")
    assert "<script" not in markup
    group = elements(markup)[1]
    assert group.attrib == {"data-label": name[:-1], "data-x": "2"}  # what turns the direction of text is dropped
    assert group[0].text == name[:-1]


def test_what_is_left_out_is_said(caplog):
    inlined("<metadata><x/></metadata><script/><image/><image/>")
    (line,) = caplog.messages
    assert line == "figure 'A chart': left out what no figure of a report holds: 2 <image>, 1 <script>"


def test_the_doctype_that_earlier_versions_wrote_is_accepted():
    doctype = '<?xml version="1.0"?><!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/x.dtd">'
    assert "<path" in inlined("<path d='M 0 0'/>", before=doctype)
    assert "DOCTYPE" not in inlined("<path d='M 0 0'/>", before=doctype)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no SVG file: no element found"),
        (b"\x89PNG\r\n", "no SVG file: 'utf-8' codec"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><g></svg>", "no SVG file: mismatched tag"),
        (b"<html><body/></html>", "no SVG file: its root is <html>"),
        (b"<svg><g/></svg>", "no SVG file: its root is <svg>"),
        (b"<!DOCTYPE s [<!ENTITY a 'b'>]><svg xmlns='http://www.w3.org/2000/svg'>&a;</svg>", "declares entities"),
        ("<!DOCTYPE s [<!ENTITY a 'b'>]><svg/>".encode("utf-16"), "no SVG file"),
        (b"<?xml version='1.0' encoding='utf-7'?>+ADwAIQ-ENTITY", "no SVG file"),
        (f"<svg {LINK}>{'<g>' * MOST_DEPTH}{'</g>' * MOST_DEPTH}</svg>".encode(), "nested more than"),
        (f"<svg {LINK}>{'<g>' * 100_000}{'</g>' * 100_000}</svg>".encode(), "nested more than"),
        (b" " * (MOST_BYTES + 1), "bytes; at most"),
    ],
)  # fmt: skip
def test_files_that_are_no_figure_are_refused_in_one_line(content, said):
    with pytest.raises(InvalidFigure, match=said) as caught:
        inline_svg(content, "f1", "")
    assert "\n" not in str(caught.value)


def test_a_prefix_must_be_able_to_begin_an_id():
    with pytest.raises(ValueError, match="cannot begin an id"):
        inline_svg(drawn(), "1 'x'", "")
