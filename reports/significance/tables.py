"""The tables of a significance report, and the flat rows of its CSV and JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from harness.reports.document.model import Column, Table
from harness.reports.document.text import fixed, interval, p_value
from harness.reports.runs.subjects import Evidence
from harness.reports.significance.text import level, short_advice
from harness.reports.statistics.corrections import LABELS
from harness.reports.statistics.hits import decimals, metric_name
from harness.reports.statistics.intervals import single_interval
from harness.reports.statistics.ranking import RankedMethod
from harness.reports.statistics.results import Comparison, PairRow
from harness.reports.statistics.runs import MethodRuns

# A table of more rows than this fills more than a page of a paper.
_LONGEST_PAPER_TABLE = 45
_LONGEST_OPEN_TABLE = 30
_PLAIN = (
    "metric", "a", "b", "difference", "se", "df", "low", "high", "simultaneous_low", "simultaneous_high", "p",
    "p_adjusted", "p_cluster_t", "significant", "wins", "ties", "losses", "detectable", "detectable_corrected", "target",
    "images_needed",
)  # fmt: skip
NAMES = (Column("a", "A"), Column("b", "B"))
_CONTROLS = {"holm": "family-wise error", "maxt": "family-wise error", "bh": "false discovery rate"}
_HOW = {
    "holm": "Holm's step-down correction of the raw p-values",
    "maxt": "step-down maxT: every pair against the joint distribution of the largest statistic",
    "bh": "Benjamini-Hochberg; exploratory, not evidence on its own",
}


def flat_row(row: PairRow) -> dict[str, Any]:
    """One difference as flat, full-precision values: a row of the CSV."""
    equivalence = asdict(row.equivalence) if row.equivalence else {}
    return {
        **{name: getattr(row, name) for name in _PLAIN},
        "family": row.family.name,
        "correction": row.family.correction,
        "m": row.family.m,
        "outcome": row.outcome,
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
    rows = comparison.of_metric(comparison.primary)
    name = metric_name(comparison.primary)
    caption = f"Pairs on {name}: A minus B in points, {level(comparison)} intervals"
    return _table([_shown(row) for row in rows], _pair_columns(rows), caption, "pairs", collapsed=False)


def brief_table(comparison: Comparison, most: int) -> Table:
    """The first pairs on the primary metric with the few columns that a terminal has room for."""
    shown = pairs_table(comparison)
    columns = [column for column in shown.columns if column.key in ("a", "b", "difference", "p_adjusted", "outcome")]
    caption = f"{metric_name(comparison.primary)}, A minus B, {level(comparison)} interval"
    return Table(frame=shown.frame[:most], columns=columns, caption=caption, key="brief")


def other_metrics_table(comparison: Comparison) -> Table | None:
    """The same for all other metrics, by metric; None if there are none."""
    rows = [row for row in comparison.rows if row.metric != comparison.primary]
    if not rows:
        return None
    frame = [{"metric_name": metric_name(row.metric), **_shown(row)} for row in rows]
    columns = [Column("metric_name", "Metric"), *_pair_columns(rows)]
    caption = f"Pairs on the other metrics ({rows[0].family.name} family): A minus B in points"
    several = len({(row.a, row.b) for row in rows}) > 1
    return _table(frame, columns, caption, "other-metrics", rule_by=["metric"] if several else [])


def scores_table(comparison: Comparison, methods: Sequence[MethodRuns], ranking: Sequence[RankedMethod]) -> Table:
    """Each method's score with its own interval and, after all pairs were compared, tier and rank interval."""
    metric = comparison.primary
    places = {place.name: place for place in ranking}
    frame = pd.DataFrame([_score(run, metric, comparison, places.get(run.name)) for run in methods])
    columns = [
        Column("method", "Method", pinned=True),
        Column("score", metric_name(metric), "estimate", decimals(metric)),
        Column("seeds", "Seeds", "count"),
    ]
    if ranking:
        columns = [
            Column("tier", "Tier", "count"),
            *columns,
            Column("rank", "Rank", "count", help="by the score alone"),
            Column("ranks", "Rank interval", help="ranks that the tests leave open"),
        ]
    spread = "± SD over seeds, " if any(len(run.seeds) > 1 for run in methods) else ""
    caption = f"{metric_name(metric)} of each method, {spread}{level(comparison)} interval in brackets"
    return Table(frame=frame, columns=columns, caption=caption, key="scores", rule_by=["tier"] if ranking else [])


def variance_table(comparison: Comparison) -> Table:
    """Where the uncertainty of each pair comes from."""
    rows = [
        {
            **{key: getattr(row, key) for key in ("a", "b", "se", "df")},
            "images": 100 * (1 - row.variance.seed_share),
            "seeds": 100 * row.variance.seed_share if row.variance.seeds else None,
            "icc": row.diagnostics.icc,
            "design_effect": row.diagnostics.design_effect,
            "disagreement": 100 * row.diagnostics.disagreement,
            "advice": short_advice(row),
        }
        for row in comparison.of_metric(comparison.primary)
    ]
    columns = [
        *NAMES,
        Column("se", "SE", "number", 2, help="standard error of the difference, points"),
        Column("df", "df", "count", help="degrees of freedom of its t"),
        Column("images", "Images %", "count", group="Variance", help="from the test images"),
        Column("seeds", "Seeds %", "count", group="Variance", help="from the training seeds"),
        Column("icc", "ICC", "number", 2, help="intra-class correlation: likeness of an image's captions"),
        Column("design_effect", "Design effect", "number", 2, help="variance with images as units over that if queries "
               "were independent"),
        Column("disagreement", "Disagreement %", "number", help="queries that exactly one method hits"),
        Column("advice", "To know more", prose=True),
    ]  # fmt: skip
    empty = {"icc"} if all(math.isnan(row["icc"]) for row in rows) else set()
    empty |= {"advice"} if comparison.claim != "method" else set()
    caption = f"Uncertainty of the differences in {metric_name(comparison.primary)}"
    return _table(rows, [column for column in columns if column.key not in empty], caption, "variance")


def power_table(comparison: Comparison) -> Table:
    """What the set-up detects, and the images that a difference worth finding would need."""
    digits = decimals(comparison.primary)
    rows = [
        {
            **{key: getattr(row, key) for key in ("a", "b", "detectable", "detectable_corrected", "target")},
            "needed": "add seeds" if math.isinf(row.images_needed) else fixed(row.images_needed, 0),
        }
        for row in comparison.of_metric(comparison.primary)
    ]
    columns = [
        *NAMES,
        Column("detectable", "One test", "number", digits, group="Detectable, points"),
        Column("detectable_corrected", "Corrected", "number", digits, group="Detectable, points"),
        Column("target", "Worth finding", "number", digits, help="points"),
        Column("needed", "Images needed", help="to find it with 80 % power after correction"),
    ]
    name = metric_name(comparison.primary)
    caption = f"Power on {name}: differences found with 80 % power with {comparison.images:,} images"
    return _table(rows, columns, caption, "power")


def families_table(comparison: Comparison) -> Table:
    """The families of tests, declared before the data were looked at."""
    rows = [
        {
            "family": family.name,
            "metrics": ", ".join(map(metric_name, family.metrics)),
            "m": family.m,
            "correction": LABELS[family.correction],
            "controls": f"{_CONTROLS[family.correction]} ≤ {comparison.alpha:g}",
            "how": _HOW[family.correction],
        }
        for family in comparison.families
    ]
    columns = [
        Column("family", "Family"),
        Column("metrics", "Metrics"),
        Column("m", "m", "count", help="tests in the family"),
        Column("correction", "Correction"),
        Column("controls", "Controls"),
        Column("how", "How", prose=True),
    ]
    return _table(rows, columns, "Families of tests, corrected apart", "families", for_paper=False)


def evidence_table(evidence: Sequence[Evidence]) -> Table:
    """The files behind the numbers, with their hashes."""
    titles = {
        "method": "Method", "seed": "Seed", "source": "Run", "file": "File", "revision": "Code",
        "sha256": "sha256 of the file",
    }  # fmt: skip
    columns = [Column(key, title, link="source" if key == "source" else "") for key, title in titles.items()]
    return _table([asdict(item) for item in evidence], columns, "Rank files", "runs", collapsed=False, for_paper=False)


def remaining_verdicts(sentences: Sequence[str]) -> Table:
    """Verdicts that are too many to be read first."""
    rows = [{"verdict": sentence} for sentence in sentences]
    caption = f"The other {len(sentences)} verdicts"
    return _table(rows, [Column("verdict", "Verdict")], caption, "verdicts", collapsed=True, for_paper=False)


def _table(rows: Sequence[dict[str, Any]], columns: list[Column], caption: str, key: str, **settings: Any) -> Table:
    """A table that is folded where it is long, and left out of a paper where it fills more than a page."""
    shown = {"collapsed": len(rows) > _LONGEST_OPEN_TABLE, "for_paper": len(rows) <= _LONGEST_PAPER_TABLE} | settings
    return Table(frame=pd.DataFrame(rows), columns=columns, caption=caption, key=key, **shown)


def _pair_columns(rows: Sequence[PairRow]) -> list[Column]:
    margins = [Column("equivalence", "Equivalence", help="margin and p of the two one-sided tests")]
    return [
        *NAMES,
        Column("difference", "Difference", "estimate", decimals(rows[0].metric), help="points, with its interval"),
        Column("simultaneous", "Simultaneous", help="interval that holds for the whole family together"),
        Column("p", "p", "p", help="raw"),
        Column("p_adjusted", "Corrected p", "p"),
        Column("m", "m", "count", help="tests in the family"),
        Column("counts", "Win / tie / loss", help="images on which A scores more, as much, less than B"),
        *(margins if any(row.equivalence for row in rows) else []),
        Column("outcome", "Verdict"),
    ]


def _shown(row: PairRow) -> dict[str, Any]:
    """Flat values with their printed forms."""
    tested = row.equivalence
    return {
        **flat_row(row),
        "difference_low": row.low,
        "difference_high": row.high,
        "simultaneous": interval(row.simultaneous_low, row.simultaneous_high, decimals(row.metric)),
        "counts": f"{row.wins:,} / {row.ties:,} / {row.losses:,}",
        "equivalence": f"±{tested.delta:g}: p {p_value(tested.p)}" if tested else "",
    }


def _score(run: MethodRuns, metric: str, comparison: Comparison, place: RankedMethod | None) -> dict[str, Any]:
    own = single_interval(run, metric, alpha=comparison.alpha)
    row = {"method": run.name, **own.columns("score"), "seeds": len(run.seeds)}
    if place is not None:
        row |= {key: getattr(place, key) for key in ("tier", "rank", "rank_low", "rank_high")}
        row["ranks"] = place.open_ranks
    return row
