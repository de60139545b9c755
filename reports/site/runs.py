"""The pages of the runs, and their overview."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from harness.records.run import RunRecord
from harness.reports.document.model import Column, Report, Section, Table
from harness.reports.run import report, text
from harness.reports.run.mirror import Mirrored, experiments, mirrored_runs
from harness.reports.run.peers import Peers
from harness.reports.runs.groups import groups
from harness.reports.site.model import Page
from harness.reports.site.results import SITE, Results
from harness.settings.again import is_run
from harness.spec import sha256_json

KIND, OVERVIEW = "runs", "runs/index.html"
_COLUMNS = (
    Column("method", "Method", link="run_id", pinned=True),
    Column("dataset", "Dataset"),
    Column("protocol", "Protocol"),
    Column("seed", "Seed", "count"),
    Column("rsum", "rSum", "number", help="sum of the six recalls, at most 600"),
    Column("epochs", "Epochs", "count", help="0 = evaluated without training"),
    Column("minutes", "Training (min)", "significant"),
    Column("status", "Status"),
    Column("started", "Started (UTC)"),
    Column("machine", "Machine"),
    Column("experiments", "Experiments", help="that asked for it, as far as MLflow's mirror knows"),
    Column("run_id", "Run"),
)


def pages(results: Results) -> Iterator[Page]:
    """The overview of all runs, then one page per run, the newest first."""
    if not results.records:
        return
    peers, mirrored = Peers(results.records.values()), mirrored_runs(results.store.results)
    yield _overview(results, mirrored)
    for record in reversed(results.records.values()):
        yield _page(results, record, peers, mirrored)


def _page(results: Results, record: RunRecord, peers: Peers, mirrored: Mapping[str, list[Mirrored]]) -> Page:
    path, file = results.page_of_run(record.run_id), f"{KIND}/{record.run_id}.yaml"
    appearances = [
        {"path": page.path, "kind": page.kind, "title": page.report.title}
        for page in results.appearances(record.run_id)
    ]
    known = mirrored.get(record.run_id, [])
    looks = [look for look in _looks(results, record) if look["path"]]

    @functools.cache
    def built() -> Report:
        settings = results.store.results / SITE / file
        return report.build(results.store, record, peers, settings=settings, mirrored=known)

    def context() -> dict[str, Any]:
        return {"report": built(), "record": record, "appearances": appearances, "looks": looks, "files": list(files)}

    files = {file: lambda: built().attachments[f"{record.run_id}.yaml"]} if is_run(record.spec) else {}

    return Page(
        path=path,
        title=text.title(record),
        kind=KIND,
        template="run.html.j2",
        context=context,
        files=files,
        inputs=sha256_json([report.inputs(results.store, record, peers, known), appearances, looks]),
        summary=text.headline(record)[0],
        words=" ".join([record.run_id, record.backbone, record.status, *experiments(mirrored, record.run_id)]),
        listed=False,
    )


def _looks(results: Results, record: RunRecord) -> list[dict[str, str]]:
    """Where pictures show what the run does; the template leaves out pages that the site does not have."""
    return [
        {
            "title": "Retrieval gallery: every query with its first results",
            "path": results.page_of_gallery(record.run_id),
        },
        {"title": "Alignment cards: words on the picture", "path": results.page_of_alignments(record.run_id)},
    ]


def _overview(results: Results, mirrored: Mapping[str, list[Mirrored]]) -> Page:
    labels = {
        run_id: group.label
        for members in groups(list(results.finished.values())).values()
        for group in members
        for run_id in (*group.run_ids, *group.replaced)
    }
    rows = [_row(record, labels, experiments(mirrored, run_id)) for run_id, record in reversed(results.records.items())]
    failed = len(results.records) - len(results.finished)
    said = f"{len(results.finished):,} finished and {failed:,} failed, the newest first."
    frame = pd.DataFrame(rows)
    hidden = {"experiments"} if not frame["experiments"].any() else set()
    columns = [column for column in _COLUMNS if column.key not in hidden]
    muted = [number for number, row in enumerate(rows) if row["status"] == "failed"]
    table = Table(frame, columns, "All runs", "runs", muted=muted, for_paper=False)
    made = Report(title="Runs", stem="runs", sentences=[said], sections=[Section(title="Every run", tables=[table])])
    return Page(
        path=OVERVIEW,
        title="Runs",
        kind=KIND,
        template="runs.html.j2",
        context={"report": made},
        summary=said,
        words="overview of all runs",
    )


def _row(record: RunRecord, labels: Mapping[str, str], asked: list[str]) -> dict[str, Any]:
    protocol = next((name for name, values in record.metrics.items() if "rsum" in values), "")
    seconds = record.training.seconds
    return {
        "method": labels.get(record.run_id, record.label),
        "dataset": record.dataset,
        "protocol": protocol or ", ".join(record.protocols),
        "seed": record.seed,
        "rsum": record.metrics.get(protocol, {}).get("rsum"),
        "epochs": record.training.epochs if record.status == "finished" else None,
        "minutes": seconds / 60 if seconds else None,
        "status": record.status,
        "started": record.started[:16].replace("T", " "),
        "machine": record.environment.computed_on if record.status == "finished" else "",
        "experiments": ", ".join(asked),
        "run_id": record.run_id,
    }
