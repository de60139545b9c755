"""Building the site: every maker gives its pages, and what changed of them is written."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from harness import __version__
from harness.files.reading import Damaged, read_json
from harness.files.writing import atomic_path, require_inside
from harness.records.store import RunStore
from harness.reports.site import index
from harness.reports.site.model import Page
from harness.reports.site.rendering import ASSETS, Renderer, embedded
from harness.reports.site.results import Results

#: In the order in which their pages stand in the navigation. The overview comes last: it knows all others.
MAKERS: Sequence[Callable[[Results], Iterator[Page]]] = ()
#: Files of the site, so that those of pages that are gone can be removed.
_MANIFEST = "manifest.json"


def write_site(store: RunStore) -> Path:
    """Write the site of a results folder, from what lies in it; files that would not change are left as they are.

    Args:
        store: the runs and reports.

    Returns:
        The site's first page.

    Raises:
        ResultsNotWritable: the folder cannot be written, or a link leads out of it.
    """
    results = Results(store)
    require_inside(results.site, store.results)
    pages = [page for maker in MAKERS for page in maker(results)]
    pages = [*index.pages(results, pages), *pages]
    renderer = Renderer(results.name, pages, f"itm-harness {__version__}")
    contents = {page.path: renderer.render(page).encode() for page in pages}
    contents["assets/index.js"] = _search_index(pages)
    for asset in sorted(ASSETS.rglob("*")):
        if asset.is_file():
            contents[f"assets/{asset.relative_to(ASSETS).as_posix()}"] = asset.read_bytes()
    _replace(results.site, contents)
    return results.site / "index.html"


def _search_index(pages: Sequence[Page]) -> bytes:
    """A script, as a page opened from a file may not read any other kind of file."""
    entries = [
        {"path": page.path, "kind": page.kind, "title": page.title, "summary": page.summary, "words": page.words}
        for page in pages
    ]
    return f"window.itmPages = {embedded(entries)};\n".encode()


def _replace(folder: Path, contents: dict[str, bytes]) -> None:
    """Write the files that differ, then remove those of the site before that are no part of this one."""
    try:
        before = read_json(folder / _MANIFEST)["files"]
    except (Damaged, KeyError, TypeError):
        before = []
    for name, content in contents.items():
        path = folder / name
        if not (path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content):
            require_inside(path, folder)
            with atomic_path(path) as temporary:
                temporary.write_bytes(content)
    for name in before if isinstance(before, list) else ():
        path = folder / str(name)
        if name not in contents and path.is_file() and path.resolve().is_relative_to(folder.resolve()):
            path.unlink()
    with atomic_path(folder / _MANIFEST) as temporary:
        temporary.write_text(json.dumps({"files": sorted(contents)}, indent=0))
