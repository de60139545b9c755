"""The tables of a significance report, and the flat rows of its CSV and JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from harness.reports.document.model import Column, Table
from harness.reports.document.text import fixed, interval
from harness.reports.runs.subjects import Evidence
from harness.reports.significance.text import (
    decimals,
    family_rows,
    metric_name,
    outcome,
    p_text,
    short_advice,
)
from harness.reports.statistics.intervals import single_interval
from harness.reports.statistics.ranking import RankedMethod
from harness.reports.statistics.results import Comparison, PairRow
from harness.reports.statistics.runs import MethodRuns

# A table of more rows than this fills more than a page of a paper.
_LONGEST_PAPER_TABLE = 45
_LONGEST_OPEN_TABLE = 30


def flat_row(row: PairRow) -> dict[str, Any]:
    """One difference as flat, full-precision values: a row of the CSV."""
    values = {
        name: getattr(row, name)
        for name in (
            "metric", "a", "b", "difference", "se", "df", "low", "high", "simultaneous_low", "simultaneous_high", "p",
            "p_adjusted", "p_cluster_t", "significant", "wins", "ties", "losses", "detectable", "detectable_corrected",
            "target", "images_needed",
        )
    }  # fmt: skip
    equivalence = asdict(row.equivalence) if row.equivalence else {}
    return {
        **values,
        "family": row.family.name,
        "correction": row.family.correction,
        "m": row.family.m,
        "outcome": outcome(row),
        **{f"equivalence_{key}": equivalence.get(key) for key in ("delta", "p", "low", "high", "equivalent")},
        "variance_images": row.variance.images,
        "variance_seeds": sum(row.variance.seeds),
        "seed_share": row.variance.seed_share,
        "icc": row.diagnostics.icc,
        "design_effect": row.diagnostics.design_effect,
        "disagreement": row.diagnostics.disagreement,
    }


def pairs_table(comparison: Comparison) -> Table:
    """Difference, intervals, p and counts of every pair on the primary metric."""
    metric = comparison.primary
    rows = comparison.of_metric(metric)
    caption = f"Pairs on {metric_name(metric)}: A minus B in points, {_level(comparison)} intervals"
    return Table(
        frame=pd.DataFrame([_shown(row) for row in rows]),
        columns=_pair_columns(metric, comparison, margins=rows[0].equivalence is not None),
        caption=caption,
        key="pairs",
        for_paper=len(rows) <= _LONGEST_PAPER_TABLE,
    )


def other_metrics_table(comparison: Comparison) -> Table | None:
    """The same for all other metrics, by metric; None if there are none."""
    primary = comparison.primary
    others = [metric for metric in comparison.metrics if metric != primary]
    rows = [row for metric in others for row in comparison.of_metric(metric)]
    if not rows:
        return None
    frame = pd.DataFrame([{"metric_name": metric_name(row.metric), **_shown(row)} for row in rows])
    pairs = len(rows) // len(others)
    return Table(
        frame=frame,
        columns=[
            Column(key="metric_name", title="Metric"),
            *_pair_columns(others[0], comparison, margins=any(row.equivalence for row in rows)),
        ],
        caption=f"Pairs on the other metrics ({rows[0].family.name} family): A minus B in points",
        key="other-metrics",
        collapsed=len(rows) > _LONGEST_OPEN_TABLE,
        rule_by=("metric_name",) if pairs > 1 else (),
        for_paper=len(rows) <= _LONGEST_PAPER_TABLE,
    )


def scores_table(comparison: Comparison, methods: Sequence[MethodRuns], ranking: Sequence[RankedMethod]) -> Table:
    """Each method's score with its own interval and, after all pairs were compared, tier and rank interval."""
    metric = comparison.primary
    places = {place.name: place for place in ranking}
    frame = pd.DataFrame([_score(run, metric, comparison, places.get(run.name)) for run in methods])
    columns = [
        Column(key="method", title="Method", pinned=True),
        Column(key="score", title=metric_name(metric), kind="estimate", digits=decimals(metric)),
        Column(key="seeds", title="Seeds", kind="number", digits=0),
    ]
    if ranking:
        columns = [
            Column(key="tier", title="Tier", kind="number", digits=0),
            *columns,
            Column(key="rank", title="Rank", kind="number", digits=0, help="by the score alone"),
            Column(key="ranks", title="Rank interval", help="ranks that the tests leave open"),
        ]
    spread = "± SD over seeds, " if any(len(run.seeds) > 1 for run in methods) else ""
    caption = f"{metric_name(metric)} of each method, {spread}{_level(comparison)} interval in brackets"
    return Table(frame=frame, columns=columns, caption=caption, key="scores", rule_by=("tier",) if ranking else ())


def variance_table(comparison: Comparison) -> Table:
    """Where the uncertainty of each pair comes from."""
    metric = comparison.primary
    rows: list[dict[str, Any]] = [
        {
            "a": row.a,
            "b": row.b,
            "se": row.se,
            "df": row.df,
            "images": 100 * (1 - row.variance.seed_share),
            "seeds": 100 * row.variance.seed_share if row.variance.seeds else None,
            "icc": row.diagnostics.icc,
            "design_effect": row.diagnostics.design_effect,
            "disagreement": 100 * row.diagnostics.disagreement,
            "advice": short_advice(row),
        }
        for row in comparison.of_metric(metric)
    ]
    columns = [
        *_names(),
        Column(key="se", title="SE", kind="number", digits=2, help="standard error of the difference, points"),
        Column(key="df", title="df", kind="number", digits=0, help="degrees of freedom of its t"),
        Column(key="images", title="Images %", kind="number", digits=0, group="Variance", help="from the test images"),
        Column(key="seeds", title="Seeds %", kind="number", digits=0, group="Variance", help="from the training seeds"),
        Column(key="design_effect", title="Design effect", kind="number", digits=2, help="variance with images as units "
               "over that if queries were independent"),
        Column(key="disagreement", title="Disagreement %", kind="number", help="queries that exactly one method hits"),
    ]  # fmt: skip
    if any(not math.isnan(row["icc"]) for row in rows):
        title = Column(key="icc", title="ICC", kind="number", digits=2, help="likeness of an image's captions")
        columns.insert(-2, title)
    if comparison.claim == "method":
        columns.append(Column(key="advice", title="To know more", prose=True))
    return _paper(rows, columns, f"Uncertainty of the differences in {metric_name(metric)}", "variance")


def power_table(comparison: Comparison) -> Table:
    """What the set-up detects, and the images that a difference worth finding would need."""
    metric = comparison.primary
    digits = decimals(metric)
    rows = [
        {
            "a": row.a,
            "b": row.b,
            "detectable": row.detectable,
            "detectable_corrected": row.detectable_corrected,
            "target": row.target,
            "needed": "add seeds" if math.isinf(row.images_needed) else fixed(row.images_needed, 0),
        }
        for row in comparison.of_metric(metric)
    ]
    columns = [
        *_names(),
        Column(key="detectable", title="One test", kind="number", digits=digits, group="Detectable, points"),
        Column(key="detectable_corrected", title="Corrected", kind="number", digits=digits, group="Detectable, points"),
        Column(key="target", title="Worth finding", kind="number", digits=digits, help="points"),
        Column(key="needed", title="Images needed", help="to find it with 80 % power after correction"),
    ]
    caption = f"Power on {metric_name(metric)}: differences found with 80 % power with {comparison.images:,} images"
    return _paper(rows, columns, caption, "power")


def families_table(comparison: Comparison) -> Table:
    """The families of tests."""
    columns = [
        Column(key="family", title="Family"),
        Column(key="metrics", title="Metrics"),
        Column(key="m", title="m", kind="number", digits=0, help="tests in the family"),
        Column(key="correction", title="Correction"),
        Column(key="controls", title="Controls"),
        Column(key="how", title="How", prose=True),
    ]
    frame = pd.DataFrame(family_rows(comparison))
    return Table(
        frame=frame, columns=columns, caption="Families of tests, corrected apart", key="families", for_paper=False
    )


def evidence_table(evidence: Sequence[Evidence]) -> Table:
    """The files behind the numbers, with their hashes."""
    columns = [
        Column(key="method", title="Method"),
        Column(key="seed", title="Seed"),
        Column(key="source", title="Run"),
        Column(key="file", title="File"),
        Column(key="revision", title="Code"),
        Column(key="sha256", title="sha256 of the file"),
    ]
    frame = pd.DataFrame([asdict(item) for item in evidence])
    return Table(frame=frame, columns=columns, caption="Rank files", key="runs", for_paper=False)


def remaining_verdicts(sentences: Sequence[str]) -> Table:
    """Verdicts that are too many to be read first."""
    return Table(
        frame=pd.DataFrame({"verdict": list(sentences)}),
        columns=[Column(key="verdict", title="Verdict")],
        caption=f"The other {len(sentences)} verdicts",
        key="verdicts",
        collapsed=True,
        for_paper=False,
    )


def _paper(rows: Sequence[dict[str, Any]], columns: list[Column], caption: str, key: str) -> Table:
    short = len(rows) <= _LONGEST_PAPER_TABLE
    long = len(rows) > _LONGEST_OPEN_TABLE
    return Table(frame=pd.DataFrame(rows), columns=columns, caption=caption, key=key, collapsed=long, for_paper=short)


def _level(comparison: Comparison) -> str:
    return f"{100 * (1 - comparison.alpha):g} %"


def _names() -> list[Column]:
    return [Column(key="a", title="A"), Column(key="b", title="B")]


def _pair_columns(metric: str, comparison: Comparison, *, margins: bool) -> list[Column]:
    digits = decimals(metric)
    columns = [
        *_names(),
        Column(key="difference", title="Difference", kind="estimate", digits=digits, help="points, with its interval"),
        Column(key="simultaneous", title="Simultaneous", help="interval that holds for the whole family together"),
        Column(key="p_shown", title="p", help="raw"),
        Column(key="p_adjusted_shown", title="Corrected p"),
        Column(key="m", title="m", kind="number", digits=0, help="tests in the family"),
        Column(key="counts", title="Win / tie / loss", help="images on which A scores more, as much, less than B"),
        Column(key="outcome", title="Verdict"),
    ]
    if margins:
        columns.insert(
            -1, Column(key="equivalence_shown", title="Equivalence", help="margin and p of the two one-sided tests")
        )
    return columns


def _shown(row: PairRow) -> dict[str, Any]:
    """Flat values with their printed forms."""
    equivalence = f"±{row.equivalence.delta:g}: p {p_text(row.equivalence.p)}" if row.equivalence else ""
    return {
        **flat_row(row),
        "difference_low": row.low,
        "difference_high": row.high,
        "simultaneous": interval(row.simultaneous_low, row.simultaneous_high, decimals(row.metric)),
        "p_shown": p_text(row.p),
        "p_adjusted_shown": p_text(row.p_adjusted),
        "counts": f"{row.wins:,} / {row.ties:,} / {row.losses:,}",
        "equivalence_shown": equivalence,
    }


def _score(run: MethodRuns, metric: str, comparison: Comparison, place: RankedMethod | None) -> dict[str, Any]:
    own = single_interval(run, metric, alpha=comparison.alpha)
    row: dict[str, Any] = {
        "method": run.name,
        "score": own.mean,
        "score_sd": own.sd,
        "score_low": own.low,
        "score_high": own.high,
        "seeds": len(run.seeds),
    }
    if place is not None:
        ranks = str(place.rank_low) if place.rank_low == place.rank_high else f"{place.rank_low}–{place.rank_high}"
        row |= {
            "tier": place.tier,
            "rank": place.rank,
            "rank_low": place.rank_low,
            "rank_high": place.rank_high,
            "ranks": ranks,
        }
    return row
