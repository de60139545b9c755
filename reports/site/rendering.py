"""From a page to its HTML: the frame, links from where the page lies, and data for its scripts."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

from harness.reports.document import escaping
from harness.reports.document.templating import TEMPLATES, embedded, environment
from harness.reports.site.model import KINDS, Page, kind_title, made
from harness.reports.site.parts import page_parts
from harness.spec import sha256_json

ASSETS = Path(__file__).parent / "assets"
_REPORTS = Path(__file__).parents[1]


class Renderer:
    """Renders the pages of one site.

    Args:
        name: of the results folder.
        pages: all pages, for the navigation.
        maker: by what, for the foot of each page.
    """

    def __init__(self, name: str, pages: Sequence[Page], maker: str):
        self._environment = environment(
            (Path(__file__).parent / "templates", TEMPLATES),
            escaping.html,
            {"embedded": embedded, "lines": escaping.html_lines},
        )
        self._shared: Mapping[str, Any] = {
            "site": name,
            "navigation": navigation(pages),
            "maker": maker,
            "kind_title": kind_title,
        }
        self._paths = {page.path for page in pages}
        self._run_pages = {posixpath.basename(page.path)[:-5]: page.path for page in pages if page.kind == "runs"}

    @cached_property
    def frame(self) -> str:
        """Hash of what all pages share: the code that makes them, and what stands in their navigation.

        A page that links to other runs or pages has those in its own inputs: one run more does not make all anew.
        """
        kinds = self._shared["navigation"].items()
        shown = [[kind, pages[0].path if len(pages) == 1 else "several"] for kind, pages in kinds]
        return sha256_json([self._shared["site"], self._shared["maker"], shown, code_sha256()])

    def render(self, page: Page) -> str:
        """The HTML of a page."""

        def url(path: str) -> str:
            return relative(path, page.path)

        def run_link(run_id: str) -> str:
            """The page of a run; empty if the site has none."""
            return url(self._run_pages[run_id]) if run_id in self._run_pages else ""

        def result_link(path: str) -> str:
            return result_file(path, page.path)

        def has_page(path: str) -> bool:
            return path.partition("#")[0] in self._paths

        links = {"url": url, "has_page": has_page, "run_link": run_link, "result_link": result_link}
        local = {**page_parts(), **links, "page": page, "data": made(page.data)}
        return self._environment.get_template(page.template).render({**self._shared, **local, **made(page.context)})


@cache
def code_sha256() -> str:
    """Hash of the code and templates of all reports: a page that another version made is made again."""
    digest = hashlib.sha256()
    for path in sorted(_REPORTS.rglob("*")):
        if path.suffix in (".py", ".j2"):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def navigation(pages: Sequence[Page]) -> dict[str, list[Page]]:
    """The listed pages by kind, the kinds in the order of `KINDS`, others after them as they come."""
    kinds: dict[str, list[Page]] = {kind: [] for kind in KINDS}
    for page in pages:
        if page.listed:
            kinds.setdefault(page.kind, []).append(page)
    return {kind: listed for kind, listed in kinds.items() if listed}


def relative(path: str, start: str) -> str:
    """A link from one page to another file of the site; a hash stays.

    >>> relative("runs/a b.html#cost", "leaderboards/quickstart.html")
    '../runs/a%20b.html#cost'
    """
    target, mark, part = path.partition("#")
    return quote(posixpath.relpath(target, posixpath.dirname(start) or ".")) + mark + part


def result_file(path: str, start: str) -> str:
    """A link from a page to a file of the results folder, which the site lies in; empty if the path leads out of it.

    >>> result_file("runs/0f3a/record.json", "runs/0f3a.html"), result_file("../secret", "runs/0f3a.html")
    ('../../runs/0f3a/record.json', '')
    """
    inside = posixpath.normpath(path)
    if inside.startswith(("../", "/")) or inside == "..":
        return ""
    return quote(posixpath.relpath(f"/results/{inside}", posixpath.dirname(f"/results/site/{start}")))
