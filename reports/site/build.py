"""Building the site: every maker gives its pages, and what changed of them is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from harness import __version__
from harness.files.reading import Damaged, read_json
from harness.files.writing import atomic_path, require_inside
from harness.records.documents import write_json
from harness.records.store import RunStore
from harness.reports.document.palette import dark_rules
from harness.reports.document.templating import TEMPLATES, embedded
from harness.reports.site import alignments, galleries, index, reports, runs
from harness.reports.site.model import Page, Shared, kind_title, made
from harness.reports.site.rendering import ASSETS, Renderer, code_sha256
from harness.reports.site.results import Results
from harness.spec import sha256_json

#: In the order in which their pages stand in the navigation. The overview comes last: it knows all others.
MAKERS: Sequence[Callable[[Results], Iterator[Page | Shared]]] = (
    reports.pages,
    galleries.pages,
    alignments.pages,
    runs.pages,
)
#: Files of the site: those of pages that are gone are removed, those whose inputs did not change are kept.
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
    parts = [part for maker in MAKERS for part in maker(results)]
    pages = [part for part in parts if isinstance(part, Page)]
    shared = [part for part in parts if isinstance(part, Shared)]
    pages = [*index.pages(results, pages), *pages]
    renderer = Renderer(results.name, pages, f"itm-harness {__version__}")
    before = _manifest(results.site)
    keys = {page.path: sha256_json([renderer.frame, page.inputs]) if page.inputs else "" for page in pages}
    keys |= {part.path: sha256_json([code_sha256(), part.inputs]) for part in shared}
    kept = {path for path, key in keys.items() if key and before.get(path) == key and (results.site / path).is_file()}
    anew = [page for page in pages if page.path not in kept]
    kept |= {file for page in pages if page.path in kept for file in page.files}
    contents = {page.path: _utf8(renderer.render(page)) for page in anew}
    contents |= {file: _utf8(make()) for page in anew for file, make in page.files.items()}
    contents |= {part.path: _received(part) for part in shared if part.path not in kept}
    contents["assets/index.js"] = _search_index(pages)
    contents["assets/parts.css"] = (TEMPLATES / "parts.css").read_bytes() + dark_rules(".chart").encode()
    for asset in sorted(ASSETS.rglob("*")):
        if asset.is_file():
            contents[f"assets/{asset.relative_to(ASSETS).as_posix()}"] = asset.read_bytes()
    for name, content in contents.items():
        _write(results.site, name, content)
    files = {name: keys.get(name, "") for name in sorted({*contents, *kept})}
    _remove(results.site, before.keys() - files)
    write_json(results.site / _MANIFEST, {"files": files})
    return results.site / "index.html"


def _utf8(text: str) -> bytes:
    """A text as bytes; what no encoding knows, such as parts of the names of files, becomes a question mark."""
    return text.encode(errors="replace")


def _received(part: Shared) -> bytes:
    """The script that hands data over."""
    return _utf8(f"window.itmReceive({embedded(part.path)},{embedded(made(part.data))});\n")


def _search_index(pages: Sequence[Page]) -> bytes:
    """A script, as a page opened from a file may not read any other kind of file."""
    entries = [
        {
            "path": page.path,
            "kind": kind_title(page.kind),
            "title": page.title,
            "summary": page.summary,
            "words": page.words,
        }
        for page in pages
    ]
    return _utf8(f"window.itmPages = {embedded(entries)};\n")


def _manifest(folder: Path) -> dict[str, str]:
    """The files of the site before by name, with the hash of what each page was made from."""
    try:
        files = read_json(folder / _MANIFEST)["files"]
        return {str(name): str(key) for name, key in files.items()}
    except (Damaged, KeyError, TypeError, AttributeError):
        return {}


def _write(folder: Path, name: str, content: bytes) -> None:
    """Write a file unless it holds this content already."""
    path = folder / name
    if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content:
        return
    require_inside(path, folder)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def _remove(folder: Path, names: Iterable[str]) -> None:
    """Remove files of the site that are no part of it any more, and nothing outside it."""
    for name in names:
        path = folder / name
        if path.is_file() and path.resolve().is_relative_to(folder.resolve()):
            path.unlink()
