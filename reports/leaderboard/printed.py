"""Printed figures beside a leaderboard: joined on request, marked, and never given an interval or a tier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from harness.reports.leaderboard.rows import Board, Row, flat_row
from harness.reports.published.rows import method_key, published_rows_for, towers
from harness.reports.statistics.hits import METRICS


def printed_rows(board: Board, wanted: bool | Sequence[str] | None) -> tuple[list[Row], list[str]]:
    """Flat rows of the printed figures for a board, and what to say of them."""
    if not wanted:
        return [], []
    found = published_rows_for(board.gallery.dataset, board.gallery.protocol)
    if wanted is True:
        found = found[found["kind"] != "ablation"]
    else:
        names = [wanted] if isinstance(wanted, str) else wanted
        found = found[found["method"].map(method_key).isin({method_key(name) for name in names})]
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
        f"{len(found)} published rows are shown as printed, in tables of their own. Without per-query data they cannot be "
        "tested, so they have no interval and no tier; their training, backbones and tie rule are their own."
    ]


def _row(board: Board, row: Mapping[Any, Any]) -> Row:
    values = {key: None if pd.isna(row[key]) else float(row[key]) for key in METRICS}
    summed = "" if row["rsum_printed"] else "rSum not printed: summed"
    return flat_row(
        board.gallery,
        label=row["method"],
        scorer=row["method"],
        variant=row["variant"],
        backbone=towers(row),
        origin="published",
        kind=row["kind"],
        images=row["images"] or None,
        note="; ".join(filter(None, (row["note"], summed))),
        source=row["source"],
        selected_on={"dev": "validation"}.get(row["selected_on"], row["selected_on"] or "unknown"),
        selected_on_source=row["selected_on_source"],
        ranked="published",
        tuning_kind={"ensemble": "ensembled"}.get(row["kind"], "unknown"),
        **values,
    )
