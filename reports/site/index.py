"""The first page: what was measured on which data, who leads, and what the newest reports say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from harness.files.reading import Damaged
from harness.reports.document.best import CHANCE
from harness.reports.document.model import Column, Table
from harness.reports.document.stored import require_numbers
from harness.reports.runs.groups import Gallery, groups
from harness.reports.site.model import Page
from harness.reports.site.results import Results, StoredPage

#: Findings on the first page, the newest; the rest is one click away.
_FINDINGS = 8
#: Methods of a board on the first page, the best.
_METHODS = 8
_COLUMNS = (
    Column("tier", "Tier", "count", help="significantly worse than the tier above"),
    Column("label", "Method", pinned=True, link="run_ids"),
    Column("i2t_r1", "i2t R@1", "number", help="queries by image whose first caption is correct, percent"),
    Column("t2i_r1", "t2i R@1", "number", help="queries by caption whose first image is correct, percent"),
    Column(
        "rsum", "rSum", "estimate", help="sum of the six recalls, 0 to 600; mean over seeds, 95 % interval", pinned=True
    ),
    Column("seeds", "Seeds", "count"),
)


@dataclass(frozen=True, eq=False)
class Board:
    """A dataset and protocol on the first page."""

    gallery: Gallery
    methods: int
    runs: int
    experiments: Sequence[str]
    table: Table | None  # the best methods of the newest leaderboard that shows the most of its runs
    pages: Sequence[StoredPage]  # all that show its runs, the newest first
    more: int  # methods that the table leaves out


def pages(results: Results, others: Sequence[Page]) -> Iterator[Page]:
    """The overview of all other pages."""
    records = results.finished.values()
    yield Page(
        path="index.html",
        title=f"Results: {results.name}",
        kind="",
        template="index.html.j2",
        context={
            "findings": findings(results),
            "boards": boards(results),
            "machines": sorted({record.environment.computed_on for record in records}),
            "counts": {
                "finished": len(results.finished),
                "failed": len(results.records) - len(results.finished),
                "methods": len({(record.scorer, record.variant) for record in records}),
            },
            "last": max((record.finished for record in results.records.values()), default=""),
        },
        listed=False,
    )


def findings(results: Results) -> list[dict[str, Any]]:
    """What the newest reports found, in their own words, with the page that shows why."""
    return [
        {"path": page.path, "kind": page.kind, "title": page.report.title, "written": page.written, "sentences": said}
        for page in results.reports
        if (said := list(page.report.sentences[:3]))
    ][:_FINDINGS]


def boards(results: Results) -> list[Board]:
    """The datasets and protocols that methods were measured on, the one with the latest run first."""
    found = []
    for gallery, members in groups(list(results.finished.values())).items():
        runs = [record for group in members for record in group.records]
        run_ids = {record.run_id for record in runs}
        showing = [page for page in results.reports if run_ids & set(page.run_ids)]
        table, more = _best_methods(gallery, run_ids, showing)
        names = [page.name for page in showing if page.kind == "leaderboards"]
        found.append(
            (max(r.finished for r in runs), Board(gallery, len(members), len(runs), names, table, showing, more))
        )
    return [board for _, board in sorted(found, key=lambda pair: pair[0], reverse=True)]


def _is_board(table: Table) -> bool:
    """Whether a table, whose own columns may be others, holds what the first page shows of it."""
    try:
        require_numbers(table.frame, _COLUMNS, table.key)
    except Damaged:
        return False
    return {"label", "rsum"} <= set(table.frame)


def _best_methods(gallery: Gallery, run_ids: set[str], showing: Sequence[StoredPage]) -> tuple[Table | None, int]:
    """The best rows of a leaderboard on this gallery, and how many more it has."""
    key = f"accuracy-{gallery.slug}"
    of_gallery = [
        (len(run_ids & set(page.run_ids)), page.written, table)
        for page in showing
        for table in page.report.tables
        if table.key == key and _is_board(table)
    ]
    if not of_gallery:
        return None, 0
    every = max(of_gallery, key=lambda entry: entry[:2])[2].frame
    origins = every["origin"].tolist() if "origin" in every else [""] * len(every)
    methods = [row for row, origin in enumerate(origins) if origin != CHANCE]
    chance = [row for row, origin in enumerate(origins) if origin == CHANCE]
    best = methods[:_METHODS]
    columns = [column for column in _COLUMNS if column.key in every]
    caption = f"{gallery.title}: methods by rSum"
    rule_by = ("tier",) if "tier" in every else ()
    shown = every.iloc[best + chance].reset_index(drop=True)
    muted = range(len(best), len(shown))
    table = Table(shown, columns, caption, f"overview-{gallery.slug}", rule_by=rule_by, muted=muted)
    return table, len(methods) - len(best)
