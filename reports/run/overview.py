"""What a terminal shows of one run: its numbers with intervals, and the tables of its page that fit there."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

import pandas as pd

from harness.records.ranks import RankTable
from harness.records.run import RunRecord
from harness.records.store import RunStore
from harness.records.ties import RECALLS, WAYS
from harness.reports.document.model import Column, Listing, Report, Table
from harness.reports.run.peers import Peers
from harness.reports.run.report import build, sound_ranks
from harness.reports.run.tables import pairs_table
from harness.reports.runs.intervals import intervals_of
from harness.reports.statistics.hits import metric_name

#: Tables of the page, by the beginning of their keys, that say again what stands in the overview, or that a command of
#: its own shows.
_LEFT_OUT = ("metrics", "ranks", "code", "levels", "readings")
_NUMBERS = (
    Column("protocol", "Protocol", pinned=True),
    Column("name", "Metric", pinned=True),
    Column("value", "Value", "estimate", pinned=True),
)


def overview(store: RunStore, record: RunRecord, peers: Peers | None = None) -> Report:
    """A run for a terminal.

    Args:
        store: where it lies.
        record: of the run, finished or failed.
        peers: the other runs, for its other seeds and the settings in which they differ.

    Returns:
        The page of the run, whose brief form has its numbers with 95 % intervals for new images, the files of a foreign
        run, and those tables of the page that are not folded away; its `data` has all of it for programs.
    """
    page = build(store, record, peers)
    ranks, damage = sound_ranks(store, record)
    numbers = number_rows(record, ranks)
    parts: list[Any] = list(page.sentences)
    if damage:
        parts.append(f"The ranks are not shown: {damage}")
    if numbers:
        caption = "Recalls in percent, rSum of 600"
        caption += ", with 95 % intervals for new images" if record.has_ranks else ", averages without intervals"
        parts.append(Table(pd.DataFrame(numbers), _NUMBERS, caption, "numbers", rule_by=("protocol",)))
    parts += [table for table in (_source(record),) if table is not None]
    for section in page.sections:
        parts += section.notices
        parts += [table for table in section.tables if not table.collapsed and not table.key.startswith(_LEFT_OUT)]
    parts += [Listing(line) for line in _next(store, record, bool(ranks))]
    data = {**page.data, "record": record.model_dump(mode="json"), "numbers": numbers}
    return Report(title=page.title, stem=page.stem, brief=parts, data=data)


def number_rows(record: RunRecord, ranks: Mapping[str, RankTable]) -> list[dict[str, Any]]:
    """The recalls and rSum of a run by protocol, each with the ends of its interval where its ranks are known."""
    depths = record.source.depths if record.source else None
    rows = []
    for protocol, metrics in record.metrics.items():
        found = intervals_of(ranks[protocol], metrics, record.ties, depths) if protocol in ranks else {}
        further = {f"{way}_{name}": f"{way} {name}" for name in record.evaluation.metrics for way in WAYS}
        for metric in ("rsum", *RECALLS, *further):
            if metric in metrics:
                title = further.get(metric) or metric_name(metric)
                named = {"protocol": protocol, "metric": metric, "name": title, "value": metrics[metric]}
                rows.append(named | (found[metric].columns("value") if metric in found else {}))
    return rows


def _source(record: RunRecord) -> Table | None:
    if record.source is None:
        return None
    pairs: list[tuple[str, Any]] = [(file.name, file.sha256) for file in record.source.files]
    return pairs_table(pairs, "Files that it was added from, with their SHA-256", "source")


def _next(store: RunStore, record: RunRecord, ranked: bool) -> list[str]:
    """The commands that go on from a run."""
    place, short = store.results.as_posix(), record.run_id[:8]
    options = [*([] if place == "results" else ["--results", place]), *record.plugin_words]
    if record.status != "finished":
        return []
    lines = [shlex.join(["itm", "significance", place, "--dataset", record.dataset])] if ranked else []
    if (store.folder(record.run_id) / "model.safetensors").is_file():
        lines += [shlex.join(["itm", name, short, *options]) for name in ("diagnose", "explain", "robustness")]
    return lines
