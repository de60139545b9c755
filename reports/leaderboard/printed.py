"""Printed figures beside a leaderboard: joined on request, marked, and never given an interval or a tier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from harness.reports.document.model import Column, Table
from harness.reports.leaderboard.board import Board, board_frame, empty_row, recall_columns
from harness.reports.published import rows as printed
from harness.reports.statistics.hits import RECALLS

# A longer list of other methods' figures is folded away; one that fills more than a page is no table for a paper.
_LONGEST_OPEN_TABLE = 20
_LONGEST_PAPER_TABLE = 60


def published_rows(board: Board, wanted: bool | Sequence[str] | None) -> tuple[list[dict[str, Any]], list[str]]:
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
    return [_row(board, row) for row in found.to_dict("records")], [
        f"{len(found)} published rows are shown as printed, in tables of their own. There is no per-query data behind "
        "them: they cannot be tested, so they have no interval and no tier; their training, backbones and tie rule are "
        "their own."
    ]


def _row(board: Board, row: dict[Any, Any]) -> dict[str, Any]:
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


def published_tables(board: Board, rows: Sequence[dict[str, Any]]) -> list[Table]:
    """The figures of the methods that are on the board, then those of all others."""
    ours = {printed.method_key(group.first.scorer) for group in board.groups}
    same = [row for row in rows if printed.method_key(row["scorer"]) in ours]
    others = [row for row in rows if printed.method_key(row["scorer"]) not in ours]
    tables = []
    for key, what, part in (("same", "of the methods above", same), ("other", "of other methods", others)):
        if part:
            tables.append(
                Table(
                    frame=board_frame(part),
                    columns=[
                        Column(key="scorer", title="Method", pinned=True),
                        *recall_columns("number"),
                        Column(key="rsum", title="rSum", kind="number"),
                        Column(key="backbone", title="Backbone"),
                        Column(key="origin", title="Origin"),
                        Column(key="note", title="Note", prose=True),
                        Column(key="source", title="Source", prose=True),
                    ],
                    caption=f"Published figures {what} on {board.gallery.title}, as printed ({len(part)} rows)",
                    key=f"published-{key}-{board.gallery.slug}",
                    muted=range(len(part)),
                    for_paper=len(part) <= _LONGEST_PAPER_TABLE,
                    collapsed=key == "other" and len(part) > _LONGEST_OPEN_TABLE,
                )
            )
    return tables
