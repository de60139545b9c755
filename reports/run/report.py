"""The page of one run, made from its record and ranks: what it reached, how it was trained, how to make it again."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from harness.errors import InvalidRecord
from harness.files.reading import Damaged, read_json, require_file
from harness.records.ranks import RankTable
from harness.records.run import RunRecord
from harness.records.store import DEATHS, RunStore
from harness.reports.document.model import Column, Listing, Notice, Report, Section, Table
from harness.reports.document.text import single_line
from harness.reports.leaderboard import levels
from harness.reports.run import again, costs, figures, places, tables, text
from harness.reports.run.mirror import Mirrored, server_command
from harness.reports.run.peers import Peers, settings_of, shown
from harness.reports.runs.groups import groups
from harness.reports.statistics.errors import InvalidComparison
from harness.spec import sha256_json

_TRACEBACK, _LONGEST_TRACEBACK = "traceback.txt", 2**18
_SEEDS = (
    Column("seed", "Seed", "count", link="run_id", pinned=True),
    Column("rsum", "rSum", "number"),
    Column("epoch", "Epoch kept", "count"),
    Column("status", "Status"),
    Column("started", "Started"),
    Column("run_id", "Run"),
)


def build(
    store: RunStore,
    record: RunRecord,
    peers: Peers | None = None,
    *,
    settings: Path | None = None,
    mirrored: Sequence[Mirrored] = (),
) -> Report:
    """Build the page of a run. Ranks that are damaged or missing cost their part of the page, with a notice.

    Args:
        store: where the run lies.
        record: of the run, finished or failed.
        peers: the other runs; none = it is shown alone.
        settings: file with the run's settings that the command names; by default the `config.yaml` in its folder.
        mirrored: the run in MLflow, see `harness.reports.run.mirror.mirrored_runs`.

    Returns:
        The report; its attachment `<run id>.yaml` holds the settings that make the run again.
    """
    peers = peers or Peers([record])
    ranks, damage = sound_ranks(store, record)
    made, command = again.settings_file(record), again.command(store, record, settings)
    failed = record.status == "failed"
    sections = [
        *([_failure(store, record)] if failed else [_metrics(record, ranks, damage)]),
        _again(record, made, command),
        *([] if failed else [_training(record), *_inside(store, record, bool(ranks))]),
        *_settings(record, peers),
        *([] if failed else _cost(record)),
        *_made(record),
        *_seeds(record, peers),
        *_files(store, record, mirrored),
    ]
    return Report(
        title=text.title(record),
        stem=record.run_id,
        sentences=text.headline(record),
        sections=sections,
        brief=[*text.headline(record), *([Listing(command)] if command else [])],
        main=tables.numbers_table(record).frame,
        data={"run_ids": [record.run_id], "command": command},
        attachments={f"{record.run_id}.yaml": made} if made else {},
    )


def inputs(store: RunStore, record: RunRecord, peers: Peers, mirrored: Sequence[Mirrored] = ()) -> str:
    """Hash of all that the page of a run is made from; takes about a millisecond, as nothing large is read."""
    folder = store.folder(record.run_id)
    with os.scandir(folder) as found:
        files = sorted((ascii(e.name), e.stat().st_size, e.stat().st_mtime_ns) for e in found if e.is_file())
    others = [[key, dict(peers.others(record, key, value))] for key, value in settings_of(record).items()]
    seeds = [[other.run_id, other.seed, other.status, other.finished] for other in peers.seeds(record)]
    return sha256_json([files, others, seeds, [vars(one) for one in mirrored], store.results.as_posix()])


def sound_ranks(store: RunStore, record: RunRecord) -> tuple[dict[str, RankTable], str]:
    """The ranks by protocol, and what is wrong with them."""
    if record.status != "finished" or not record.has_ranks:
        return {}, ""
    try:
        found = store.ranks_of(record)
    except InvalidRecord as error:
        return {}, single_line(str(error))
    return {protocol: found[protocol] for protocol in record.metrics if protocol in found}, ""


def _failure(store: RunStore, record: RunRecord) -> Section:
    folder = store.folder(record.run_id)
    notices = [Notice("error", record.error or "the record does not say why")]
    notices += [Notice("warning", f"a worker died of it: {cause}") for cause in _deaths(folder)]
    trace = _traceback(folder / _TRACEBACK)
    listings = [Listing(trace, "Where it failed", collapsed=True)] if trace else []
    return Section(title="Failure", notices=notices, listings=listings)


def _traceback(path: Path) -> str:
    try:
        whole = require_file(path).st_size <= _LONGEST_TRACEBACK
        return path.read_text(encoding="utf-8", errors="replace") if whole else ""
    except (Damaged, OSError):
        return ""


def _deaths(folder: Path) -> list[str]:
    try:
        found = read_json(folder / DEATHS)
    except Damaged:
        return []
    return [str(cause) for cause in found] if isinstance(found, list) else []


def _metrics(record: RunRecord, ranks: dict[str, RankTable], damage: str) -> Section:
    if not record.metrics:
        return Section(title="Metrics", sentences=["The record holds no metrics."])
    shown_tables = [tables.numbers_table(record)]
    curves = []
    if ranks and not (record.source and record.source.depths):  # ranks beyond cut lists are not known
        shown_tables.append(tables.ranks_table(ranks))
        protocol = next(iter(ranks))
        place = f"{record.dataset} {record.split}, {protocol}"
        curves = [figures.recall_figure(ranks[protocol], record.ties, place)]
    return Section(
        title="Metrics",
        notices=[Notice("error", f"the ranks are not shown: {damage}")] if damage else [],
        tables=shown_tables,
        figures=curves,
        reading=list(text.reading(record)),
        footnotes=[single_line(record.citation)] if record.citation else [],
    )


def _again(record: RunRecord, made: str, command: str) -> Section:
    listings = [Listing(command)] if command else []
    listings += [Listing(made, "The settings as a file", collapsed=True)] if made else []
    title = "Run it again" if record.status == "failed" else "Make this run again"
    return Section(title=title, listings=listings, footnotes=list(again.remarks(record)))


def _training(record: RunRecord) -> Section:
    selected = text.selected_epoch(record)
    figure = figures.course_figure(record.training.history, selected)
    if figure is None:
        return Section(title="Training", sentences=[text.no_course(record)])
    return Section(title="Training", figures=[figure], tables=[tables.epochs_table(record, selected)])


def _inside(store: RunStore, record: RunRecord, sound: bool) -> Iterator[Section]:
    """What the levels of its score rank alone, and what its gates and regions do, where it has any."""
    found: dict[str, Table] = {}
    members = []
    for gallery, (group,) in groups([record]).items() if sound else ():
        members.append(group)
        try:
            for table in levels.tables_of_group(store, gallery, group):
                kind = table.key.partition("-")[0]
                found.setdefault(table.key if kind == "levels" else kind, table)  # readings are of no protocol
        except (InvalidRecord, InvalidComparison) as error:
            yield Section(title="Gates and levels", notices=[Notice("error", single_line(str(error)))])
            return
    if found:
        has_levels, has_readings = record.diagnostics.levels, record.diagnostics.readings
        yield Section(
            title="Gates and levels",
            sentences=[levels.ABOUT] if has_levels else [],
            tables=list(found.values()),
            reading=[*([levels.READ] if has_readings else []), *levels.word_sentences(members[:1])],
        )


def _settings(record: RunRecord, peers: Peers) -> Iterator[Section]:
    found = tables.settings_tables(record, peers)
    if found:
        unknown = "The record does not say which settings are the scorer's own; it is of an earlier version."
        yield Section(title="Settings", tables=found, footnotes=[unknown] if record.overridden is None else [])


def _cost(record: RunRecord) -> Iterator[Section]:
    table = costs.cost_table(record)
    if table is not None:
        yield Section(title="Cost", tables=[table], reading=list(costs.cost_sentences(record)))


def _made(record: RunRecord) -> Iterator[Section]:
    found = [*places.environment_tables(record), tables.features_table(record)]
    if any(found):
        yield Section(title="Environment, code and data", tables=[table for table in found if table is not None])


def _seeds(record: RunRecord, peers: Peers) -> Iterator[Section]:
    rows: list[dict[str, Any]] = [
        {
            "seed": other.seed,
            "rsum": next((values["rsum"] for values in other.metrics.values() if "rsum" in values), None),
            "epoch": text.selected_epoch(other),
            "status": other.status,
            "started": other.started[:16].replace("T", " "),
            "run_id": other.run_id,
        }
        for other in peers.seeds(record)
    ]
    if rows:
        table = Table(pd.DataFrame(rows), _SEEDS, f"Other seeds of {record.label}", "seeds", for_paper=False)
        yield Section(title="Other seeds", tables=[table])


def _files(store: RunStore, record: RunRecord, mirrored: Sequence[Mirrored]) -> Iterator[Section]:
    table = tables.files_table(store.folder(record.run_id))
    sentences, listings = [], []
    if mirrored:
        named = [f"{one.mlflow_id} of experiment {one.experiment or one.experiment_id}" for one in mirrored]
        address = f"http://127.0.0.1:5000/{mirrored[-1].place}"
        sentences = [
            f"MLflow mirrors it as run {'; '.join(map(shown, named))}.",
            f"This command shows it at {address}",
        ]
        listings = [Listing(server_command(store.results))]
    if table is not None or mirrored:
        yield Section(
            title="Files", sentences=sentences, listings=listings, tables=[table] if table is not None else []
        )
