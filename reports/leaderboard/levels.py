"""The levels of a score on a leaderboard: what each ranks alone, and what the gates and regions behind it do.

A method that has neither, and a run of an earlier version, has no row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from harness.records.parts import Distribution, WordMean
from harness.records.store import RunStore
from harness.reports.document.model import Column, Section, Table
from harness.reports.document.recalls import recall_columns
from harness.reports.document.text import fixed, listed
from harness.reports.leaderboard.rows import Board, Row
from harness.reports.runs.groups import Gallery, Group
from harness.reports.runs.loading import method_runs, runs_of_table
from harness.reports.runs.queries import all_seeds
from harness.reports.statistics.errors import InvalidComparison, TooFewImages
from harness.reports.statistics.hits import METRICS
from harness.reports.statistics.intervals import single_interval
from harness.reports.statistics.runs import MethodRuns

#: The row of the score that ranks.
WHOLE = "all, weighted"
_MOST_WORDS = 8
LEVELS = (
    Column("label", "Method", pinned=True),
    Column("level", "Level"),
    Column("weight", "Weight", "significant", help="in the score that ranks; 0 = trained, left out of the ranking"),
    *recall_columns("estimate"),
    Column("rsum", "rSum", "estimate", help="sum of the six recalls", better="higher", pinned=True),
)
_READINGS = (
    Column("label", "Method", pinned=True),
    Column("title", "Reading"),
    Column("count", "Values", "count", help="per seed"),
    Column("mean", "Mean", "significant"),
    Column("sd", "SD", "significant", help="over the values"),
    Column("decile_1", "10 %", "significant", help="a tenth of the values lie below"),
    Column("decile_5", "Median", "significant"),
    Column("decile_9", "90 %", "significant", help="a tenth of the values lie above"),
    Column("by_region", "Mean of each region", prose=True),
)
#: By table, what a terminal has room for.
_BRIEF = {
    "levels": [
        *LEVELS[1:3],
        Column("i2t_r1", "i2t R@1", "number"),
        Column("t2i_r1", "t2i R@1", "number"),
        Column("rsum", "rSum ± SD [95 % CI]", "estimate"),
    ],
    "readings": _READINGS[1:-1],
}
ABOUT = (
    "A level is one of the similarities that a score adds up. Here the test split is ranked by each of them alone, with "
    "the weights of the whole model: nothing is trained again, and the levels were trained together."
)
READ = (
    "Readings are taken at evaluation, without noise, over all items of the test split; a row shows the mean over seeds of "
    "each figure."
)


def level_rows(store: RunStore, groups: Sequence[Group], whole: Mapping[str, Row]) -> list[Row]:
    """One row per method and level, the whole score first, with intervals where the ranks are kept.

    Args:
        store: where the runs lie.
        groups: methods on one gallery.
        whole: by label, the recalls of the whole score with their intervals.

    Raises:
        InvalidRecord: a damaged file of ranks.
    """
    rows = []
    for group in groups:
        names = _common_levels(group)
        if names:
            rows.append({**whole[group.label], "label": group.label, "level": WHOLE, "weight": None})
        rows += [_level_row(store, group, name) for name in names]
    return rows


def reading_rows(groups: Sequence[Group]) -> list[Row]:
    """One row per method and reading: means over the seeds."""
    rows = []
    for group in groups:
        for name, first in group.first.diagnostics.readings.items():
            seeds = [r.diagnostics.readings[name] for r in group.records if name in r.diagnostics.readings]
            rows.append({"label": group.label, "reading": name, "title": first.title or name, **_mean_figures(seeds)})
    return rows


def level_tables(rows: Sequence[Row], readings: Sequence[Row], gallery: Gallery) -> list[Table]:
    """The tables of `level_rows` and `reading_rows`; those without a row are left out."""
    caption = f"What each level ranks alone on {gallery.title}"
    found = []
    if rows:
        found.append(Table(pd.DataFrame(rows), LEVELS, caption, f"levels-{gallery.slug}", rule_by=("label",)))
    if readings:
        caption = f"Gates and regions on {gallery.title}"
        frame = pd.DataFrame(readings)
        found.append(Table(frame, _READINGS, caption, f"readings-{gallery.slug}", rule_by=("label",), for_paper=False))
    return found


def levels_section(store: RunStore, board: Board) -> tuple[list[Section], dict[str, Any]]:
    """The section of a board, if any method has levels or readings, and its rows for the JSON.

    Raises:
        InvalidRecord: a damaged file of ranks.
    """
    measured = [group for group in board.groups if group.first.origin == "measured"]
    rows = level_rows(store, measured, {row["label"]: row for row in board.rows})
    readings = reading_rows(measured)
    if not (rows or readings):
        return [], {}
    section = Section(
        title=f"What each level ranks alone: {board.gallery.title}",
        sentences=[ABOUT] if rows else [],
        tables=level_tables(rows, readings, board.gallery),
        reading=[*([READ] if readings else []), *word_sentences(measured)],
    )
    keys = ("label", "level", "weight", *(f"{m}{part}" for m in METRICS for part in ("", "_sd", "_low", "_high")))
    return [section], {"levels": [{key: row.get(key) for key in keys} for row in rows], "readings": readings}


def tables_of_group(store: RunStore, gallery: Gallery, group: Group) -> list[Table]:
    """The tables of one method, as on its leaderboard.

    Raises:
        InvalidRecord: a damaged file of ranks.
    """
    if not (group.first.diagnostics.levels or group.first.diagnostics.readings):
        return []
    runs = method_runs(store, group)
    rows = level_rows(store, [group], {group.label: _intervals(runs)})
    return level_tables(rows, reading_rows([group]), gallery)


def inside_of_group(store: RunStore, gallery: Gallery, group: Group) -> list[Table | str]:
    """The tables and sentences of one method, in few columns, for a terminal.

    Raises:
        InvalidRecord: a damaged file of ranks.
    """
    tables = tables_of_group(store, gallery, group)
    return [
        *(replace(table, columns=_BRIEF[table.key.partition("-")[0]]) for table in tables),
        *word_sentences([group]),
    ]


def word_sentences(groups: Sequence[Group]) -> Iterator[str]:
    """Which words a reading is lowest and highest for, in the run of the lowest seed."""
    for group in groups:
        for reading in group.first.diagnostics.readings.values():
            if reading.lowest_words:
                yield (
                    f"{group.label} seed {group.first.seed}, {reading.title}: lowest on average for "
                    f"{_words(reading.lowest_words)}; highest for {_words(reading.highest_words)}."
                )


def _words(found: Sequence[WordMean]) -> str:
    return listed([f"'{one.word}' {fixed(one.mean, 2)}" for one in found[:_MOST_WORDS]])


def _common_levels(group: Group) -> list[str]:
    """The levels that every seed has on this gallery's protocol."""
    protocol = group.gallery.protocol
    seeds = [record.diagnostics.levels for record in group.records]
    return [n for n in seeds[0] if all(n in one and "rsum" in one[n].metrics.get(protocol, {}) for one in seeds)]


def _level_row(store: RunStore, group: Group, level: str) -> Row:
    seeds = [record.diagnostics.levels[level] for record in group.records]
    metrics = [one.metrics[group.gallery.protocol] for one in seeds]
    row: Row = {"label": group.label, "level": level, "weight": seeds[0].weight}
    row |= {metric: float(np.mean([one[metric] for one in metrics])) for metric in METRICS if metric in metrics[0]}
    runs = _level_runs(store, group, level)
    try:
        return row if runs is None else row | _intervals(runs)
    except TooFewImages:
        return row


def _intervals(runs: MethodRuns) -> Row:
    return {key: value for metric in METRICS for key, value in single_interval(runs, metric).columns(metric).items()}


def _level_runs(store: RunStore, group: Group, level: str) -> MethodRuns | None:
    """The ranks of all seeds by one level; None where a seed has none, or not those of this record's numbers."""
    runs = []
    for record in group.records:
        table = store.level_ranks(record.run_id).get(f"{level}/{group.gallery.protocol}")
        if table is None:
            return None
        name = f"{group.label} {level} seed {record.seed}"
        runs.append(runs_of_table(table, name=name, seed=record.seed, gallery=group.gallery, ties=record.ties))
    try:
        return all_seeds(f"{group.label} {level}", runs)
    except InvalidComparison:
        return None


def _mean_figures(seeds: Sequence[Distribution]) -> Row:
    deciles = np.mean([one.deciles for one in seeds], axis=0).tolist()
    regions = {len(one.by_region) for one in seeds}
    means = np.mean([one.by_region for one in seeds], axis=0).tolist() if len(regions) == 1 else []
    return {
        "count": seeds[0].count,
        "mean": float(np.mean([one.mean for one in seeds])),
        "sd": float(np.mean([one.sd for one in seeds])),
        **{f"decile_{number}": value for number, value in enumerate(deciles)},
        "by_region": ", ".join(fixed(value, 2) for value in means),
    }
