"""The leaderboard: who is better, how sure that is, and what it costs, from finished runs alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from harness.records import noise
from harness.records.run import RunRecord, RunStore
from harness.reports.document.model import Column, Report, Section, Table
from harness.reports.document.text import single_line
from harness.reports.leaderboard.board import COSTS, Board, board_frame, make_board, noise_key, recall_columns
from harness.reports.leaderboard.figures import board_figure
from harness.reports.leaderboard.printed import published_rows, published_tables
from harness.reports.leaderboard.text import headline, reading, subject
from harness.reports.runs.loading import finished_records, groups

#: What the settings cost to find; shown where any method was tuned.
_TUNING_COLUMNS = (
    Column(
        key="tuning_steps", title="Tuning steps", kind="number", digits=0, help="training steps of all tuning trials"
    ),
    Column(key="tuning_seconds", title="Tuning (s)", kind="number", digits=0, help="wall time of all tuning trials"),
)
_BRIEF_COLUMNS = (
    Column(key="tier", title="Tier", kind="number", digits=0),
    Column(key="label", title="Method"),
    Column(key="seeds", title="Seeds", kind="number", digits=0, wide=True),
    Column(key="i2t_r1", title="i2t R@1", kind="number"),
    Column(key="t2i_r1", title="t2i R@1", kind="number"),
    Column(key="rsum", title="rSum ± SD [95 % CI]", kind="estimate"),
    *(
        Column(key=key, title=title, kind="significant", digits=3, wide=wide, noise=noise_key(key))
        for key, title, wide in (("encode_image_ms_p50", "Image ms", True), ("pairs_per_second", "Pairs/s", False))
    ),
)


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
    joined = [published_rows(board, published) for board in boards]
    sections = [_section(board, *rows) for board, rows in zip(boards, joined, strict=True)]
    if failures:
        sections.append(_failures(failures))
    rows = [row for board, (more, _) in zip(boards, joined, strict=True) for row in (*board.rows, *more)]
    return Report(
        title=title,
        stem="leaderboard",
        sentences=[*(headline(board) for board in boards), *_failure_count(failures)],
        sections=sections,
        brief=[
            *(part for board, (more, _) in zip(boards, joined, strict=True) for part in _brief(board, more)),
            *(
                [noise.LEGEND]
                if any(row[column.noise] for row in rows for column in _BRIEF_COLUMNS if column.noise)
                else []
            ),
            *([] if boards else ["no finished run"]),
        ],
        main=board_frame(rows),
        data={
            "run_ids": [record_id for board in boards for group in board.groups for record_id in group.run_ids],
            "boards": [_data(board) for board in boards],
            "published": [row for more, _ in joined for row in more],
            "failures": [_failure(record) for record in failures],
        },
    )


def _brief(board: Board, published: Sequence[dict[str, Any]]) -> list[Table | str]:
    """The few columns that a terminal has room for; published rows are counted, not listed."""
    frame = board_frame([row for row in board.rows if row["origin"] != "published"])
    parts: list[Table | str] = []
    if len(frame):
        parts.append(
            Table(frame=frame, columns=_BRIEF_COLUMNS, caption=board.gallery.title, key="brief", rule_by=("tier",))
        )
    if count := len(board.rows) - len(frame) + len(published):
        parts.append(f"and {count} published rows (see the files; they have no interval and no tier)")
    return parts


def _section(board: Board, published: Sequence[dict[str, Any]], remarks: Sequence[str]) -> Section:
    frame = board_frame([{**row, **_shown(row)} for row in board.rows])
    slug = board.gallery.slug
    tables = [
        Table(
            frame=frame,
            columns=_accuracy_columns(),
            caption=f"Accuracy on {board.gallery.title}: recalls in percent, best rSum first",
            key=f"accuracy-{slug}",
            rule_by=("tier",),
        )
    ]
    if any(row[key] is not None for row in board.rows for key, *_ in COSTS):
        caption = f"Cost on {board.gallery.title}, in the same order"
        tables.append(Table(frame=frame, columns=_cost_columns(board), caption=caption, key=f"cost-{slug}"))
    tables += published_tables(board, published)
    figure = board_figure(board)
    return Section(
        title=board.gallery.title,
        sentences=[subject(board)],
        tables=tables,
        figures=[figure] if figure else [],
        reading=[*reading(board), *remarks],
        footnotes=_footnotes(board),
    )


def _shown(row: dict[str, Any]) -> dict[str, str]:
    """The scorer with what tells it from its namesakes, and the ranks left open."""
    name = f"{row['scorer']}.{row['variant']}" if row["variant"] else row["scorer"]
    ranks = "" if row["rank"] is None else f"{row['rank_low']}–{row['rank_high']}"
    if row["rank"] is not None and row["rank_low"] == row["rank_high"]:
        ranks = str(row["rank"])
    return {"shown_scorer": f"{row['scorer']}{row['label'].removeprefix(name)}", "shown_rank": ranks}


def _naming_columns() -> list[Column]:
    return [Column(key="shown_scorer", title="Scorer", pinned=True), Column(key="variant", title="Variant")]


def _accuracy_columns() -> list[Column]:
    return [
        Column(key="tier", title="Tier", kind="number", digits=0, help="significantly worse than the tier above"),
        Column(key="shown_rank", title="Rank", help="ranks that the tests leave open"),
        *_naming_columns(),
        *recall_columns(),
        Column(key="rsum", title="rSum", kind="estimate", help="sum of the six recalls"),
        Column(key="seeds", title="Seeds", kind="number", digits=0),
        Column(key="tuning_trials", title="Trials", kind="number", digits=0, help="tuning trials before these runs"),
        Column(key="backbone", title="Backbone"),
        Column(key="origin", title="Origin"),
    ]


def _cost_columns(board: Board) -> list[Column]:
    costs = [
        Column(key=k, title=t, kind="significant", digits=digits, help=what, noise=noise_key(k))
        for k, t, digits, what in COSTS
    ]
    return [
        *_naming_columns(),
        *costs,
        *(_TUNING_COLUMNS if any(row["tuning_steps"] for row in board.rows) else ()),
        Column(key="backbone", title="Backbone"),
        Column(key="device", title="Device", prose=True),
    ]


def _footnotes(board: Board) -> list[str]:
    notes = [
        f"{group.label}: seed repeated in run{'s' if len(group.replaced) > 1 else ''} {', '.join(group.replaced)}; the "
        "latest run of each seed is shown."
        for group in board.groups
        if group.replaced
    ]
    citations = {group.label: group.first.citation for group in board.groups if group.first.citation}
    return notes + [f"{label}: {single_line(citation)}" for label, citation in citations.items()]


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
