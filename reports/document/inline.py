"""A stored SVG file, which may come from anywhere, as markup that is safe inside a page.

Nothing of the file is copied: elements and attributes of a short list, with values of a known form, are written anew.
What our figures do not contain (scripts, links, styles, pictures) has no place in the list.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from typing import Any
from xml.etree import ElementTree

from markupsafe import Markup

from harness.errors import InvalidFigure
from harness.reports.document.text import single_line

logger = logging.getLogger(__name__)

#: A figure of ours has at most a few hundred kilobytes.
MOST_BYTES = 8 * 2**20
#: Ours are nested 9 deep. Trees that are too deep for the interpreter's stack are refused before it is entered.
MOST_DEPTH = 32
NAMESPACE = "{http://www.w3.org/2000/svg}"
XLINK_HREF = "{http://www.w3.org/1999/xlink}href"

_PAINT = re.compile(r"none|#[0-9a-fA-F]{3,8}|[a-zA-Z]{3,20}")
_NUMBERS = re.compile(r"[\w\s.,%+-]*")
_TRANSFORM = re.compile(r"[\w\s.,()+-]*")
_ID = re.compile(r"[A-Za-z_][\w.-]*")
_LINK = re.compile(r"url\(#([A-Za-z_][\w.-]*)\)")
_DATA = re.compile(r"data-[a-z][a-z0-9-]{0,30}")
_PREFIX = re.compile(r"[A-Za-z][\w-]*")

#: Properties that a style may set and that an attribute of the same name sets as well.
PRESENTATION = {
    "fill": _PAINT,
    "stroke": _PAINT,
    **dict.fromkeys(
        (
            "clip-rule", "fill-opacity", "fill-rule", "opacity", "stroke-dasharray", "stroke-dashoffset",
            "stroke-linecap", "stroke-linejoin", "stroke-miterlimit", "stroke-opacity", "stroke-width",
            "font-family", "font-size", "text-anchor",
        ),
        _NUMBERS,
    ),
}  # fmt: skip
_GEOMETRY = {
    **dict.fromkeys(
        (
            "clipPathUnits", "cx", "cy", "d", "height", "patternContentUnits", "patternUnits", "r", "rx", "ry",
            "viewBox", "width", "x", "x1", "x2", "y", "y1", "y2",
        ),
        _NUMBERS,
    ),
    "transform": _TRANSFORM,
    "patternTransform": _TRANSFORM,
}  # fmt: skip
_PLAIN = _GEOMETRY | PRESENTATION
_SHAPES = ("path", "rect", "circle", "line")
#: Which elements may stand in which. What is copied by reference (`use`, `clipPath`, `pattern`) holds shapes only:
#: copies of copies would let a small file grow without bound.
_CHILDREN = {
    "svg": ("g", "defs", "use", "title", "text", *_SHAPES),
    "g": ("g", "defs", "use", "title", "text", *_SHAPES),
    "defs": ("clipPath", "pattern", *_SHAPES),
    "clipPath": _SHAPES,
    "pattern": _SHAPES,
    "use": ("title",),
    **dict.fromkeys(_SHAPES, ("title",)),
    "title": (),
    "text": (),
}
_REFERRED = ("clipPath", "pattern", *_SHAPES)  # only what is referred to needs an id
_SHARED = ("defs", "clipPath", "pattern")
#: Parts of what matplotlib writes that a page has no use for.
_EXPECTED = {"metadata", "style"}


def inline_svg(svg: bytes, prefix: str, label: str) -> Markup:
    """Safe markup of a figure, to stand inside a page.

    Args:
        svg: content of the file, untrusted.
        prefix: what the ids of this figure begin with, different for each figure of a page.
        label: untrusted text, what the figure shows for those who cannot see it.

    Returns:
        One `<svg class="chart" role="img">` element without styles: `palette.dark_rules(".chart")` belongs into the
        page's style sheet.

    Raises:
        InvalidFigure: it is no SVG file, declares entities, is too large or nested too deeply.
    """
    if not _PREFIX.fullmatch(prefix):
        raise ValueError(f"prefix '{prefix}' cannot begin an id")
    root = _parsed(svg)
    copy = _Copy(root, prefix)
    kept = copy.element(root, "svg")
    if copy.dropped:
        parts = ", ".join(f"{count} <{single_line(tag)[:40]}>" for tag, count in sorted(copy.dropped.items()))
        logger.warning("figure '%s': left out what no figure of a report holds: %s", single_line(label)[:80], parts)
    paint_uses(kept, "href")
    width, height = (_pixels(root.get(side, "")) for side in ("width", "height"))
    if width and height:
        kept.attrib |= {"width": width, "height": height}
    kept.attrib.setdefault("stroke-linejoin", "round")  # which matplotlib says in a style
    kept.attrib |= {"class": "chart", "role": "img", "aria-label": single_line(label), "focusable": "false"}
    return Markup(ElementTree.tostring(kept, encoding="unicode"))


def paint_uses(root: ElementTree.Element, href: str) -> None:
    """Leave the paint of shapes to what uses them.

    A page's style sheet reaches a `use`, but not the copy of the shape inside it: a marker's own colour would stay light.

    Args:
        root: changed in place, with plain tags.
        href: attribute of `use` that names the shape.
    """
    shapes = {element.get("id"): element for element in root.iter() if element.get("id")}
    for use in root.iter("use"):
        shape = shapes.get(use.get(href, "")[1:])
        for paint in ("fill", "stroke"):
            if shape is not None and paint in use.attrib:
                shape.attrib.pop(paint, None)


def style_attributes(style: str) -> dict[str, str]:
    """The declarations of a `style` attribute, by name.

    >>> style_attributes("fill: #FFFFFF; stroke-width: 0.8")
    {'fill': '#FFFFFF', 'stroke-width': '0.8'}
    """
    pairs = (part.split(":", 1) for part in style.split(";") if ":" in part)
    return {name.strip(): value.strip() for name, value in pairs}


def _parsed(svg: bytes) -> ElementTree.Element:
    if len(svg) > MOST_BYTES:
        raise InvalidFigure(f"the figure has {len(svg):,} bytes; at most {MOST_BYTES:,} are shown")
    try:
        # From text, so that a declared encoding cannot hide anything from the next line.
        text = svg.decode()
        if "<!ENTITY" in text:
            raise InvalidFigure("the figure declares entities, which no figure of a report does")
        parser: Any = ElementTree.XMLPullParser(("start", "end"))
        parser.feed(text)
        parser.close()
    except (UnicodeDecodeError, ElementTree.ParseError) as error:
        raise InvalidFigure(f"the figure is no SVG file: {error}") from None
    events = list(parser.read_events())
    depth = 0
    for event, _ in events:
        depth += 1 if event == "start" else -1
        if depth > MOST_DEPTH:
            raise InvalidFigure(f"the figure is nested more than {MOST_DEPTH} deep")
    root: ElementTree.Element = events[0][1]
    if root.tag != f"{NAMESPACE}svg":
        raise InvalidFigure(f"the figure is no SVG file: its root is <{single_line(root.tag)[:60]}>")
    return root


class _Copy:
    """Writes the allowed parts of one file anew."""

    def __init__(self, root: ElementTree.Element, prefix: str):
        self.prefix = prefix
        shapes = {f"{NAMESPACE}{shape}" for shape in _SHAPES}
        self.shapes = {element.get("id") for element in root.iter() if element.tag in shapes}
        self.dropped: Counter[str] = Counter()

    def element(self, source: ElementTree.Element, name: str, shared: bool = False) -> ElementTree.Element:
        """One element with what may stand in it; `shared` says that others refer to it."""
        made = ElementTree.Element(name)
        if name in ("title", "text"):
            made.text = single_line(source.text or "")
        if name == "title":
            return made
        for key, value in self.attributes(source, name, shared).items():
            made.set(key, value)
        for child in source:
            tag = child.tag.removeprefix(NAMESPACE)
            if tag in _CHILDREN[name] and self.may_stand(child, tag):
                made.append(self.element(child, tag, shared=shared or name in _SHARED))
            elif tag not in _EXPECTED:
                self.dropped[tag] += 1
        return made

    def may_stand(self, child: ElementTree.Element, tag: str) -> bool:
        if tag != "use":
            return True
        href = child.get("href", child.get(XLINK_HREF, ""))
        return href.startswith("#") and href[1:] in self.shapes

    def attributes(self, source: ElementTree.Element, name: str, shared: bool) -> dict[str, str]:
        declared = {**source.attrib, **style_attributes(source.get("style", ""))}
        kept = {}
        for key, value in declared.items():
            if key == "id" and name in _REFERRED and _ID.fullmatch(value):
                kept[key] = f"{self.prefix}-{value}"
            elif key in ("fill", "stroke", "clip-path") and not shared and (link := _LINK.fullmatch(value)):
                kept[key] = f"url(#{self.prefix}-{link[1]})"
            elif name == "use" and key in ("href", XLINK_HREF):
                kept["href"] = f"#{self.prefix}-{value[1:]}"
            elif key in _PLAIN and _PLAIN[key].fullmatch(value):
                kept[key] = value.lower() if key in ("fill", "stroke") else value
            elif _DATA.fullmatch(key):
                kept[key] = single_line(value)
        return kept


def _pixels(length: str) -> str:
    """A length in CSS pixels: matplotlib writes points.

    >>> _pixels("648pt"), _pixels("100%")
    ('864', '')
    """
    matched = re.fullmatch(r"(\d{1,5}(?:\.\d+)?)(pt|px|)", length)
    return f"{float(matched[1]) * (4 / 3 if matched[2] == 'pt' else 1):g}" if matched else ""
