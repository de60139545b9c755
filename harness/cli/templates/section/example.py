"""Section `example`: how far down the answers lie that the recalls of a leaderboard do not tell apart."""

from __future__ import annotations

import numpy as np
import pandas as pd

from harness.reports.document import figures
from harness.reports.document.model import Column, Figure, Section, Table
from harness.sections.base import ReportSection, Runs

COLUMNS = (
    Column("method", "Method", pinned=True),
    Column("protocol", "Protocol"),
    Column("beyond", "Beyond 10 (%)", "number", better="lower", help="captions whose image is not among the first ten"),
    Column(
        "rank", "Rank of nine in ten", "significant", better="lower", help="rank, from 1, that 90 % of captions reach"
    ),
)


class Example(ReportSection):
    """A row per method and protocol, and a bar per row."""

    description = "captions whose image is not among the first ten"

    def build(self, runs: Runs) -> Section | None:
        """None where no run keeps its ranks: then nothing is known beyond its averages."""
        found: dict[tuple[str, str], list[np.ndarray]] = {}
        for record in runs.records:
            for protocol, table in runs.ranks(record.run_id).items():
                found.setdefault((runs.labels[record.run_id], protocol), []).append(table.t2i_rank)
        if not found:
            return None
        rows = [(*names, *_figures(np.concatenate(seeds))) for names, seeds in found.items()]
        frame = pd.DataFrame(rows, columns=[column.key for column in COLUMNS])
        return Section(
            title="Beyond the first ten",
            sentences=[_said(frame)],
            tables=[Table(frame, COLUMNS, "Captions whose image is not among the first ten, all seeds", "beyond")],
            figures=[_drawn(frame)],
        )


def _figures(ranks: np.ndarray) -> tuple[float, float]:
    """Percent beyond ten and the 90th percentile, from 1, of 0-based ranks (Q,)."""
    return 100.0 * float(np.mean(ranks >= 10)), 1.0 + float(np.quantile(ranks, 0.9, method="inverted_cdf"))


def _said(frame: pd.DataFrame) -> str:
    worst = frame.sort_values("beyond").iloc[-1]
    if not worst["beyond"]:
        return "Every caption has its image among the first ten."
    return f"{worst['method']} misses the first ten most often, for {worst['beyond']:.1f} % of captions."


def _drawn(frame: pd.DataFrame) -> Figure:
    names = [f"{row.method}, {row.protocol}" for row in frame.itertuples()]
    with figures.canvas(6.0, 1.0 + 0.35 * len(frame)) as drawing:
        axes = drawing.subplots()
        axes.barh(range(len(frame)), frame["beyond"], color=figures.COLOURS[0])
        figures.rows_down(axes, [figures.label(name, 36) for name in names])
        axes.set_xlabel("captions beyond the first ten, percent")
    return Figure(
        drawing, "beyond", "Captions whose image is not among the first ten.", f"A bar for each of {len(names)} rows."
    )
