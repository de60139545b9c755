"""The leaderboard: who is better, how sure that is, and what it costs, from finished runs alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from harness.record import RunRecord, RunStore
from reports import _board_terminal, render
from reports import published as printed
from reports._board import COSTS, Board, empty_row, make_board
from reports._board_figure import board_figure
from reports._board_text import headline, reading, subject
from reports.document import Column, Report, Section, Table, single_line
from reports.loading import finished_records, groups
from reports.statistics.hits import RECALLS

STEM = "leaderboard"
# A longer list of printed figures is folded away below the measured ones.
_LONGEST_OPEN_TABLE = 20
_DIRECTIONS = {"i2t": "Image to text", "t2i": "Text to image"}


def build(
    store: RunStore,
    run_ids: Sequence[str],
    *,
    title: str,
    failures: Sequence[RunRecord] = (),
    published: bool | Sequence[str] | None = None,
) -> Report:
    """Build the leaderboard of some finished runs: one part a dataset and protocol.

    Args:
        store: where the runs lie.
        run_ids: finished runs; those that differ only in their seed are one method.
        title: heading.
        failures: records of runs that failed, to be listed with their errors.
        published: True joins the published figures of the same dataset and protocol (but for other papers' ablations),
            names of methods join only theirs.

    Returns:
        The report; `main` is flat and numeric, `data` holds the run ids and every pair's test.

    Raises:
        InvalidRecord: a run is missing, unfinished, or its files are damaged or contradict each other.
        InvalidComparison: seeds of one method were asked different queries.
    """
    galleries = groups(finished_records(store, run_ids))
    boards = [make_board(store, gallery, members) for gallery, members in galleries.items()]
    joined = [_published(board, published) for board in boards]
    sections = [_section(board, *rows) for board, rows in zip(boards, joined, strict=True)]
    if failures:
        sections.append(_failures(failures))
    rows = [row for board, (more, _) in zip(boards, joined, strict=True) for row in (*board.rows, *more)]
    return Report(
        title=title,
        sentences=[*(headline(board) for board in boards), *_failure_count(failures)],
        sections=sections,
        main=_frame(rows),
        data={
            "run_ids": [record_id for board in boards for group in board.groups for record_id in group.run_ids],
            "boards": [_data(board) for board in boards],
            "published": [row for more, _ in joined for row in more],
            "failures": [_failure(record) for record in failures],
        },
    )


def write(report: Report, folder: Path | str) -> list[Path]:
    """Write `leaderboard.md`, `.html`, `.csv`, `.json`, `.tex` and the figures into a folder.

    Returns:
        The files.

    Raises:
        ResultsNotWritable: the folder cannot be written.
    """
    return render.write(report, folder, STEM)


def terminal_table(report: Report) -> _board_terminal.Tables:
    """The leaderboard for a terminal of 80 columns or more, to be printed by rich."""
    return _board_terminal.Tables(report.main)


def _frame(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Rows as a frame whose whole numbers stay whole where some are missing."""
    columns = list(rows[0]) if rows else []
    frame = pd.DataFrame(rows, columns=columns)
    for name in ("tier", "rank", "rank_low", "rank_high", "seeds", "images", "captions", "tuning_trials"):
        if name in frame:
            frame[name] = frame[name].astype("Int64")
    return frame


def _section(board: Board, published: Sequence[dict[str, Any]], remarks: Sequence[str]) -> Section:
    frame = _frame([{**row, **_shown(row)} for row in board.rows])
    slug = f"{board.gallery.dataset}-{board.gallery.protocol}"
    starts = [i for i in range(1, len(frame)) if not _same(frame["tier"].iloc[i], frame["tier"].iloc[i - 1])]
    tables = [
        Table(
            frame=frame,
            columns=_accuracy_columns(),
            caption=f"Accuracy on {board.gallery.title}: recalls in percent, best rSum first",
            key=f"accuracy-{slug}",
            rules=starts,
        )
    ]
    if any(row[key] is not None for row in board.rows for key, *_ in COSTS):
        caption = f"Cost on {board.gallery.title}, in the same order"
        tables.append(Table(frame=frame, columns=_cost_columns(), caption=caption, key=f"cost-{slug}"))
    tables += _published_tables(board, published)
    figure = board_figure(board)
    return Section(
        title=board.gallery.title,
        sentences=[subject(board)],
        tables=tables,
        figures=[figure] if figure else [],
        reading=[*reading(board), *remarks],
        footnotes=_footnotes(board),
    )


def _same(a: Any, b: Any) -> bool:
    return (pd.isna(a) and pd.isna(b)) or (not pd.isna(a) and not pd.isna(b) and a == b)


def _shown(row: dict[str, Any]) -> dict[str, str]:
    """The scorer with what tells it from its namesakes, and the ranks left open."""
    name = f"{row['scorer']}.{row['variant']}" if row["variant"] else row["scorer"]
    ranks = "" if row["rank"] is None else f"{row['rank_low']}–{row['rank_high']}"
    if row["rank"] is not None and row["rank_low"] == row["rank_high"]:
        ranks = str(row["rank"])
    return {"shown_scorer": f"{row['scorer']}{row['label'].removeprefix(name)}", "shown_rank": ranks}


def _naming_columns() -> list[Column]:
    return [Column(key="shown_scorer", title="Scorer", pinned=True), Column(key="variant", title="Variant")]


def _recall_columns() -> list[Column]:
    return [
        Column(
            key=recall,
            title=f"R@{recall.partition('_r')[2]}",
            kind="estimate",
            group=_DIRECTIONS[recall[:3]],
            help=f"{_DIRECTIONS[recall[:3]].lower()}: percent of queries with a correct item among the first "
            f"{recall.partition('_r')[2]}",
        )
        for recall in RECALLS
    ]


def _accuracy_columns() -> list[Column]:
    return [
        Column(key="tier", title="Tier", kind="number", digits=0, help="significantly worse than the tier above"),
        Column(key="shown_rank", title="Rank", help="ranks that the tests leave open"),
        *_naming_columns(),
        *_recall_columns(),
        Column(key="rsum", title="rSum", kind="estimate", help="sum of the six recalls"),
        Column(key="seeds", title="Seeds", kind="number", digits=0),
        Column(key="tuning_trials", title="Trials", kind="number", digits=0, help="tuning trials before these runs"),
        Column(key="backbone", title="Backbone"),
        Column(key="origin", title="Origin"),
    ]


def _cost_columns() -> list[Column]:
    costs = [Column(key=k, title=t, kind="significant", digits=digits, help=what) for k, t, digits, what in COSTS]
    return [*_naming_columns(), *costs, Column(key="backbone", title="Backbone"), Column(key="device", title="Device")]


def _footnotes(board: Board) -> list[str]:
    notes = [
        f"{group.label}: seed repeated in run{'s' if len(group.replaced) > 1 else ''} {', '.join(group.replaced)}; the "
        "latest run of each seed is shown."
        for group in board.groups
        if group.replaced
    ]
    citations = {group.label: group.first.citation for group in board.groups if group.first.citation}
    return notes + [f"{label}: {single_line(citation)}" for label, citation in citations.items()]


def _published(board: Board, wanted: bool | Sequence[str] | None) -> tuple[list[dict[str, Any]], list[str]]:
    """Flat rows of the printed figures for a board, and what to say of them."""
    if not wanted:
        return [], []
    found = printed.rows_for(board.gallery.dataset, board.gallery.protocol)
    if wanted is True:
        found = found[found["kind"] != "ablation"]
    else:
        names = [wanted] if isinstance(wanted, str) else wanted
        found = found[found["method"].map(printed.method_key).isin({printed.method_key(name) for name in names})]
    place = f"{board.gallery.dataset}, {board.gallery.protocol}"
    if found.empty:
        return [], [f"No published figures for {place} are known."]
    size = int(found["images"].iloc[0])
    if size and board.images != size:
        return [], [
            f"Published figures for {place} are about {size:,} images, this table about {board.images:,}: they are not "
            "joined."
        ]
    return [_published_row(board, row) for row in found.to_dict("records")], [
        f"{len(found)} published rows are shown as printed, in tables of their own. There is no per-query data behind "
        "them: they cannot be tested, so they have no interval and no tier; their training, backbones and tie rule are "
        "their own."
    ]


def _published_row(board: Board, row: dict[Any, Any]) -> dict[str, Any]:
    values = {key: None if pd.isna(row[key]) else float(row[key]) for key in (*RECALLS, "rsum")}
    return empty_row(board.gallery) | {
        "label": row["method"],
        "scorer": row["method"],
        "variant": row["variant"],
        "backbone": " + ".join(filter(None, (row["visual_backbone"], row["text_encoder"]))),
        "origin": "published",
        "kind": row["kind"],
        "images": row["images"] or None,
        **values,
        "note": row["note"]
        if row["rsum_printed"]
        else "; ".join(filter(None, (row["note"], "rSum not printed: summed"))),
        "source": row["source"],
    }


def _published_tables(board: Board, rows: Sequence[dict[str, Any]]) -> list[Table]:
    """The figures of the methods that are on the board, then those of all others."""
    ours = {printed.method_key(group.first.scorer) for group in board.groups}
    same = [row for row in rows if printed.method_key(row["scorer"]) in ours]
    others = [row for row in rows if printed.method_key(row["scorer"]) not in ours]
    tables = []
    for key, what, part in (("same", "of the methods above", same), ("other", "of other methods", others)):
        if part:
            tables.append(
                Table(
                    frame=_frame(part),
                    columns=[
                        Column(key="scorer", title="Method", pinned=True),
                        *_recall_columns(),
                        Column(key="rsum", title="rSum", kind="number"),
                        Column(key="backbone", title="Backbone"),
                        Column(key="origin", title="Origin"),
                        Column(key="note", title="Note"),
                        Column(key="source", title="Source"),
                    ],
                    caption=f"Published figures {what} on {board.gallery.title}, as printed ({len(part)} rows)",
                    key=f"published-{key}-{board.gallery.dataset}-{board.gallery.protocol}",
                    muted=range(len(part)),
                    collapsed=key == "other" and len(part) > _LONGEST_OPEN_TABLE,
                )
            )
    return tables


def _failure_count(failures: Sequence[RunRecord]) -> list[str]:
    if not failures:
        return []
    runs = "1 run" if len(failures) == 1 else f"{len(failures)} runs"
    return [f"{runs} failed and {'is' if len(failures) == 1 else 'are'} not in the tables; see the end."]


def _failure(record: RunRecord) -> dict[str, Any]:
    return {
        "method": record.label,
        "backbone": record.backbone,
        "dataset": record.dataset,
        "seed": record.seed,
        "error": single_line(record.error),
        "run_id": record.run_id,
    }


def _failures(records: Sequence[RunRecord]) -> Section:
    frame = pd.DataFrame([_failure(record) for record in records])
    columns = [
        Column(key="method", title="Method"),
        Column(key="backbone", title="Backbone"),
        Column(key="dataset", title="Dataset"),
        Column(key="seed", title="Seed", kind="number", digits=0),
        Column(key="error", title="Error"),
        Column(key="run_id", title="Run"),
    ]
    caption = "Runs that failed; the same command tries them again"
    table = Table(frame=frame, columns=columns, caption=caption, key="failures", for_paper=False)
    return Section(title="Failures", tables=[table])


def _data(board: Board) -> dict[str, Any]:
    """A board for the JSON: full numbers, run ids a method, and every pair's test."""
    return {
        "dataset": board.gallery.dataset,
        "split": board.gallery.split,
        "protocol": board.gallery.protocol,
        "data_sha256": board.gallery.data_sha256,
        "images": board.images,
        "captions": board.captions,
        "methods": [
            {**row, "run_ids": list(group.run_ids), "seeds": list(group.seeds), "identity": group.identity}
            for row, group in zip(board.rows, board.groups, strict=True)
        ],
        "tests": _tests(board),
    }


def _tests(board: Board) -> dict[str, Any] | None:
    comparison = board.comparison
    if comparison is None:
        return None
    return {
        "metric": "rsum",
        "claim": comparison.claim,
        "correction": comparison.families[0].correction,
        "alpha": comparison.alpha,
        "resamples": comparison.resamples,
        "pairs": [
            {
                name: getattr(row, name)
                for name in (
                    "a", "b", "difference", "se", "df", "low", "high", "simultaneous_low", "simultaneous_high", "p",
                    "p_adjusted", "significant",
                )
            }
            for row in comparison.rows
        ],
        "notices": [notice.message for notice in comparison.notices],
    }  # fmt: skip
