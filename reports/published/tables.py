"""The tables of measured beside printed figures, and how to read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from harness.reports.document.model import Column, Table
from harness.reports.document.recalls import recall_columns
from harness.reports.runs.groups import Gallery


def matching_table(gallery: Gallery, rows: Sequence[Mapping[str, Any]]) -> Table:
    """Measured minus printed of the rows that are comparable."""
    return Table(
        frame=pd.DataFrame(rows),
        columns=_columns("delta", "measured minus printed"),
        caption=f"{gallery.title}: measured minus printed, in points",
        key=f"matching-{gallery.slug}",
    )


def nearest_table(gallery: Gallery, rows: Sequence[Mapping[str, Any]]) -> Table:
    """The figures of the rows that come nearest to methods without a match, as printed."""
    return Table(
        frame=pd.DataFrame(rows),
        columns=_columns("printed", "as printed"),
        caption=f"{gallery.title}: nearest published rows of methods without a match, as printed",
        key=f"nearest-{gallery.slug}",
        muted=range(len(rows)),
    )


def extra_table(gallery: Gallery, rows: Sequence[Mapping[str, Any]]) -> Table:
    """Metrics other than recalls."""
    return Table(
        frame=pd.DataFrame(rows),
        columns=[
            Column("label", "Measured", pinned=True, link="run_ids"),
            Column("metric", "Metric"),
            *(Column(key, key.title(), "number") for key in ("measured", "printed", "delta")),
            Column("variant", "Printed variant"),
            Column("source", "Source", prose=True),
        ],
        caption=f"{gallery.title}: further published metrics of the same methods, any backbone, in percent",
        key=f"extra-{gallery.slug}",
    )


def _columns(prefix: str, help: str) -> list[Column]:
    verdict = [Column("verdict", "Verdict")] if prefix == "delta" else []
    return [
        Column("label", "Measured", pinned=True, link="run_ids"),
        Column("printed_method", "Printed"),
        Column("printed_variant", "Variant"),
        *recall_columns("number", prefix + "_{}", help),
        Column(f"{prefix}_rsum", "rSum", "number", help=help, pinned=True),
        *verdict,
        Column("printed_backbone", "Printed backbone"),
        Column("printed_selected_on", "Selected on", help="split on which the public code keeps its best epoch"),
        Column("causes", "Likely causes of a gap", prose=True),
        Column("marks", "Known of the printed row", prose=True),
        Column("source", "Source", prose=True),
    ]


def reading(matching: Sequence[Mapping[str, Any]], tolerance: float) -> list[str]:
    """How to read the comparison of one gallery."""
    if not matching:
        return ["No printed figure is comparable; the rows show what has been published."]
    notes = [
        f"A printed figure is met if every recall that it has is within {tolerance:g} points: two harnesses differ by "
        "that much on the same weights. It is one number of one model, without seeds, spread or per-query data, so "
        "neither a gap nor its absence is a test.",
        "Causes are known differences between the two. They are not shown to make the gap.",
    ]
    if any(row["marks"] for row in matching):
        notes.append("Printed rows that contradict themselves or another paper are shown as printed and marked.")
    spread = [row["seed_sd"] for row in matching if row["seed_sd"] is not None]
    if spread:
        notes.append(
            f"Measured numbers are means over seeds; a recall's standard deviation is at most {max(spread):.1f}."
        )
    return notes
