"""What a page of the site is, before it is rendered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: Values by name, or what makes them when they are needed.
Values = Mapping[str, Any] | Callable[[], Mapping[str, Any]]


@dataclass(frozen=True, eq=False, kw_only=True)
class Page:
    """A page: its template fills the frame of all pages with the context.

    Every text in `context`, `data` and the other fields may come from anybody: the environment of the templates escapes
    it, nobody else has to.
    """

    path: str  #: below the site's folder, with forward slashes: "runs/0123456789abcdef.html"
    title: str
    kind: str  #: heading in the navigation and the search, of `KINDS`
    template: str  #: file of `templates/`
    context: Values = field(default_factory=dict)  #: what the template shows
    data: Values = field(default_factory=dict)  #: what its scripts read: one JSON block of the id "data"
    inputs: str = ""  #: hash of all that it is made from: a page is not made again while it stays; empty = always
    files: Mapping[str, Callable[[], str]] = field(default_factory=dict)  #: texts to download, by path below the site
    scripts: Sequence[str] = ()  #: files of `assets/`
    summary: str = ""  #: one line for the overview and the search
    words: str = ""  #: what else it is found by
    listed: bool = True  #: in the navigation; the search finds every page


@dataclass(frozen=True, eq=False, kw_only=True)
class Shared:
    """Data that several pages read, as a script that calls `window.itmReceive(path, data)`.

    A page opened from a file may read no other kind of file, and what several pages show is stored once.
    """

    path: str  #: below the site's folder: "galleries/flickr8k-test-bfb0ee17/split.js"
    data: Values
    inputs: str = ""  #: as those of a page


def made(values: Values) -> Mapping[str, Any]:
    """The values, made now if they are not yet."""
    return values() if callable(values) else values


#: Kinds of pages in the order of the navigation, with their titles. Reports of other commands come after them.
KINDS = {
    "leaderboards": "Leaderboards",
    "significance": "Significance",
    "power": "Power",
    "ablations": "Ablations",
    "sweeps": "Sweeps",
    "profiles": "Profiles",
    "robustness": "Robustness",
    "galleries": "Galleries",
    "alignments": "Alignments",
    "runs": "Runs",
    "describe": "Datasets",
    "compare-published": "Published figures",
}


def kind_title(kind: str) -> str:
    """The title of a kind, also of one that this version does not know.

    >>> kind_title("runs"), kind_title("case-studies")
    ('Runs', 'Case studies')
    """
    return KINDS.get(kind, kind.replace("-", " ").capitalize())
