"""The first page: experiments, datasets, machines, and what the newest reports say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from harness.reports.runs.groups import groups
from harness.reports.site.model import Page
from harness.reports.site.results import Results

#: Verdicts on the first page, the newest; the rest is one click away.
_VERDICTS = 8


def pages(results: Results, others: Sequence[Page]) -> Iterator[Page]:
    """The overview of all other pages."""
    yield Page(
        path="index.html",
        title=f"Results: {results.name}",
        kind="",
        template="index.html.j2",
        context={
            "verdicts": verdicts(results),
            "galleries": galleries(results),
            "machines": sorted({record.environment.computed_on for record in results.finished.values()}),
            "counts": {
                "finished": len(results.finished),
                "failed": len(results.records) - len(results.finished),
                "methods": len({(record.scorer, record.variant) for record in results.finished.values()}),
            },
            "last": max((record.finished for record in results.records.values()), default=""),
        },
        listed=False,
    )


def verdicts(results: Results) -> list[dict[str, Any]]:
    """What the newest reports found, in their own words, with the page that shows why."""
    return [
        {"path": page.path, "kind": page.kind, "title": page.report.title, "written": page.written, "sentences": said}
        for page in results.reports
        if (said := list(page.report.sentences[:3]))
    ][:_VERDICTS]


def galleries(results: Results) -> list[dict[str, Any]]:
    """The datasets and protocols that methods were measured on: how many methods and seeds, and which leads."""
    rows = []
    for gallery, members in groups(list(results.finished.values())).items():
        best = max(members, key=lambda group: group.metric("rsum") or 0.0)
        runs = {run_id for group in members for run_id in group.run_ids}
        boards = [page for page in results.reports if page.kind == "leaderboards" and runs & set(page.run_ids)]
        rows.append(
            {
                "title": gallery.title,
                "methods": len(members),
                "runs": len(runs),
                "best": best.label,
                "rsum": best.metric("rsum"),
                "boards": [{"path": page.path, "name": page.name} for page in boards],
            }
        )
    return rows
