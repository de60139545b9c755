"""The pages of the reports that commands wrote, in the frame of the site."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from harness.reports.site.model import Page
from harness.reports.site.parts import figure_files, file_link
from harness.reports.site.results import Results, StoredPage
from harness.spec import sha256_json

#: What pages of a kind can do beyond their tables.
_SCRIPTS = {"profiles": ("profile.js",)}


def pages(results: Results) -> Iterator[Page]:
    """One page per report, the latest of each kind first."""
    for stored in results.reports:
        yield Page(
            path=stored.path,
            title=stored.report.title,
            kind=stored.kind,
            template="report.html.j2",
            context=partial(_context, results, stored),
            inputs=_inputs(results, stored),
            scripts=_SCRIPTS.get(stored.kind, ()),
            summary=next(iter(stored.report.sentences), ""),
            words=" ".join([stored.name, *(section.title for section in stored.report.sections)]),
        )


def _context(results: Results, stored: StoredPage) -> dict[str, Any]:
    return {
        "report": stored.report,
        "written": stored.written,
        "files": files(stored, results.site),
        "figure_files": figure_files(stored.file.parent, stored.report.stem, (results.site / stored.path).parent),
        "runs": results.runs_of(stored),
    }


def _inputs(results: Results, stored: StoredPage) -> str:
    """Hash of a report's files, by name, size and time, and of the titles of the runs that it names."""
    states = [(path, path.stat()) for path in sorted(stored.file.parent.rglob("*")) if path.is_file()]
    found = [
        [ascii(path.relative_to(stored.file.parent).as_posix()), state.st_size, state.st_mtime_ns]
        for path, state in states
    ]
    return sha256_json([found, [[record.run_id, record.title] for record in results.runs_of(stored)]])


def files(stored: StoredPage, site: Path) -> list[dict[str, Any]]:
    """The files of a report: name, and link from its page, which lies one folder below the site's."""
    folder = stored.file.parent
    found = sorted(path for path in folder.iterdir() if path.is_file() and path.name.startswith(stored.file.stem))
    start = (site / stored.path).parent
    return [{"name": path.name, "url": file_link(path, start)} for path in found]
