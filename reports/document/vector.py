"""matplotlib's SVG made fit for a page: dark mode, hover texts, small, and nothing that a reader could not trust.

matplotlib writes texts into comments and colours into styles. Here comments are dropped, styles become attributes (which
a page may forbid, and which a style sheet outranks), and untrusted names pass an XML serialiser.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from xml.etree import ElementTree

from harness.reports.document import palette
from harness.reports.document.inline import NAMESPACE, XLINK_HREF, paint_uses, style_attributes

_LONG_DECIMALS = re.compile(r"(\.\d{3})\d+")  # 0.001 pt is far below what a screen shows
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_UNUSED = {f"{NAMESPACE}{name}" for name in ("metadata", "style")}


@dataclass(frozen=True)
class Description:
    """What a mark is: a hover text, and values for a page's script."""

    title: str
    data: Mapping[str, str] = field(default_factory=dict)  # by attribute, without `data-`


def finished(svg: bytes, descriptions: Mapping[str, Sequence[Description]]) -> bytes:
    """A page's SVG from matplotlib's.

    Args:
        svg: what matplotlib wrote.
        descriptions: by the gid of an artist; one describes the artist, several its markers one by one.
    """
    root = ElementTree.fromstring(svg)  # without comments and the document type
    _strip(root)
    for group in list(root.iter("g")):
        if found := descriptions.get(group.get("id", "")):
            _describe(group, found)
    _forget_ids(root)
    paint_uses(root, "xlink:href")
    style = ElementTree.Element("style")
    style.text = palette.dark_rules()
    root.insert(0, style)
    root.attrib |= {
        "xmlns": NAMESPACE.strip("{}"),
        "xmlns:xlink": XLINK_HREF[1:].partition("}")[0],
        "stroke-linejoin": "round",
    }
    return b'<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="utf-8") + b"\n"


def _strip(element: ElementTree.Element) -> None:
    """Plain tags, attributes for styles, short numbers, no white space between elements."""
    element.tag = element.tag.removeprefix(NAMESPACE)
    attributes = {**element.attrib, **style_attributes(element.attrib.pop("style", ""))}
    attributes.pop("style", None)
    if XLINK_HREF in attributes:
        attributes["xlink:href"] = attributes.pop(XLINK_HREF)
    for name in attributes.keys() & {"d", "x", "y"}:
        attributes[name] = _LONG_DECIMALS.sub(r"\1", attributes[name])
    element.attrib.clear()
    element.attrib |= attributes
    element.text = element.tail = None
    for child in list(element):
        if child.tag in _UNUSED:
            element.remove(child)
        else:
            _strip(child)
    for child in list(element):
        if child.tag == "defs" and not len(child):
            element.remove(child)


def _describe(group: ElementTree.Element, found: Sequence[Description]) -> None:
    marks = [group] if len(found) == 1 else list(_markers(group))
    if len(marks) != len(found):
        return  # one that is not drawn has no marker: which is which cannot be told
    for mark, description in zip(marks, found, strict=True):
        title = ElementTree.Element("title")
        title.text = description.title
        mark.insert(0, title)
        mark.attrib |= {f"data-{key}": value for key, value in description.data.items()}


def _markers(group: ElementTree.Element) -> Iterator[ElementTree.Element]:
    return (element for element in group.iter("use"))


def _forget_ids(root: ElementTree.Element) -> None:
    """Keep the ids that something refers to."""
    referred = set()
    for element in root.iter():
        for name, value in element.attrib.items():
            if name == "xlink:href":
                referred.add(value[1:])
            elif matched := _REFERENCE.fullmatch(value):
                referred.add(matched[1])
    for element in root.iter():
        if element.get("id") not in referred:
            element.attrib.pop("id", None)
