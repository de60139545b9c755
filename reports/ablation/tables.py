"""The tables of an ablation: effects on rSum, and on each recall."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from harness.reports.ablation.rows import COSTS, Effects
from harness.reports.document.model import Column, Table
from harness.reports.document.recalls import recall_columns
from harness.reports.statistics.hits import METRICS

_MODEL = Column("model", "Model", link="run_ids")
_RSUM = Column("rsum", "rSum", "number", better="higher")
_DIFFERENCE = Column("rsum_difference", "Difference", "estimate", help="model minus reference, 95 % interval")
_CORRECTED = Column("p_adjusted", "Corrected p", "p")


def effects_table(effects: Effects, source: str) -> Table:
    """Every model against the reference on rSum and cost; the reference, first, is muted.

    Args:
        effects: on one gallery.
        source: of the published differences; without one they are left out.
    """
    claim = "retrained models" if effects.comparison.claim == "method" else "these trained models only"
    return Table(
        frame=_frame(effects),
        columns=[
            _MODEL,
            Column("seeds", "Seeds", "count"),
            _RSUM,
            _DIFFERENCE,
            Column("p", "p", "p", help="raw"),
            _CORRECTED,
            Column("wins", "Better", "count", help="images on which it scores more"),
            Column("losses", "Worse", "count", help="images on which it scores less"),
            *([_published(source)] if source else []),
            *COSTS,
        ],
        caption=f"Effect on rSum against {effects.reference}, a claim about {claim}.",
        key=f"effects-{effects.gallery.protocol}",
        muted=[0],
    )


def recalls_table(effects: Effects) -> Table:
    """Every other model against the reference on each recall."""
    return Table(
        frame=_frame(effects).iloc[1:].reset_index(drop=True),
        columns=[_MODEL, *recall_columns("estimate", "{}_difference")],
        caption=f"Difference of each recall to {effects.reference}, points, with 95 % intervals.",
        key=f"recalls-{effects.gallery.protocol}",
        collapsed=True,
    )


def brief(effects: Effects, source: str) -> Table:
    """The effects with the columns that a terminal has room for."""
    columns = [_MODEL, _RSUM, _DIFFERENCE, _CORRECTED, *([_published(source)] if source else [])]
    return replace(
        effects_table(effects, source), columns=columns, caption=f"{effects.gallery.title} ({effects.size.text})"
    )


def _published(source: str) -> Column:
    return Column("published_difference", "Published", "number", help=source)


def _frame(effects: Effects) -> pd.DataFrame:
    """The rows by loss; an interval is named after the difference that it belongs to."""
    renamed = {f"{metric}_{part}": f"{metric}_difference_{part}" for metric in METRICS for part in ("low", "high")}
    return pd.DataFrame(effects.by_loss).rename(columns=renamed)
