"""The significance report: which differences between methods are real, for which claim, and what would tell more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from harness.files.names import safe_name
from harness.reports.document.model import Report, Section
from harness.reports.runs.sources import output_root, read_sources
from harness.reports.runs.subjects import Subject
from harness.reports.significance import tables, text
from harness.reports.significance.across import build as build_across
from harness.reports.significance.examine import Request, Result, examine, parse_pairs
from harness.reports.significance.figures import forest, groups_diagram, matrix
from harness.reports.significance.terminal import page as terminal_page
from harness.reports.statistics.verdicts import tier_sentences

__all__ = [
    "Request",
    "Result",
    "Subject",
    "build",
    "build_across",
    "examine",
    "output_root",
    "parse_pairs",
    "read_sources",
    "safe_name",
    "terminal_page",
]

STEM = "significance"


def build(result: Result) -> Report:
    """The report of one gallery: verdicts first, then the evidence, then what it rests on.

    Returns:
        The report; `main` holds one flat row a pair and metric, `data` everything else that is needed to redo it.
    """
    comparison, subject = result.comparison, result.subject
    first, others = text.verdict_sentences(comparison)
    metric = text.metric_name(comparison.primary)
    return Report(
        title=f"Significance: {subject.title}",
        stem=STEM,
        sentences=[
            *first,
            text.headline(comparison),
            text.claim_sentence(comparison, by_default=result.claim_by_default),
        ],
        sections=[
            _pairs_section(result, others),
            _ranking_section(result),
            Section(
                title="Images against seeds",
                sentences=text.variance_sentences(comparison),
                tables=[tables.variance_table(comparison)],
            ),
            Section(title="Power", sentences=text.power_sentences(comparison), tables=[tables.power_table(comparison)]),
            Section(title="Warnings", sentences=text.warning_sentences(comparison, subject.remarks, subject.published)),
            Section(
                title="Method",
                sentences=[_subject_sentence(result)],
                tables=[tables.families_table(comparison)],
                reading=text.method_sentences(comparison),
            ),
            _provenance(result),
        ],
        main=pd.DataFrame(
            [
                {
                    "dataset": subject.dataset,
                    "protocol": subject.protocol,
                    "claim": comparison.claim,
                    **tables.flat_row(row),
                }
                for row in comparison.rows
            ]
        ),
        data=_data(result, metric),
    )


def _pairs_section(result: Result, others: Sequence[str]) -> Section:
    comparison = result.comparison
    evidence = [tables.pairs_table(comparison), tables.other_metrics_table(comparison)]
    more = [tables.remaining_verdicts(others)] if others else []
    shown = [forest(comparison), matrix(comparison)]
    return Section(
        title="Pairs",
        tables=[*more, *(table for table in evidence if table)],
        figures=[figure for figure in shown if figure],
    )


def _ranking_section(result: Result) -> Section:
    comparison, ranking = result.comparison, result.ranking
    table = tables.scores_table(comparison, result.methods, ranking)
    if not ranking:
        why = (
            "No tiers and no ranks: they need all pairs, corrected for the family-wise error (--pairs all, --correction "
            "holm or maxt)."
        )
        return Section(title="Scores", tables=[table], sentences=[why] if len(comparison.methods) > 2 else [])
    diagram = groups_diagram(comparison, ranking)
    return Section(
        title="Ranking",
        sentences=tier_sentences(ranking),
        tables=[table],
        figures=[diagram] if diagram else [],
        reading=text.ranking_reading(comparison),
    )


def _subject_sentence(result: Result) -> str:
    comparison = result.comparison
    queries = f"{comparison.images:,} images and {comparison.captions:,} captions"
    return f"{len(comparison.methods)} methods answered the same queries: {queries} of {result.subject.title}."


def _provenance(result: Result) -> Section:
    compared = set(result.comparison.methods)
    evidence = [item for item in result.subject.evidence if item.method in compared]
    versions = ", ".join(f"{name} {number}" for name, number in text.versions().items())
    return Section(
        title="Runs and versions",
        sentences=[f"Made with {versions}."],
        tables=[tables.evidence_table(evidence)],
    )


def _data(result: Result, metric: str) -> dict[str, Any]:
    comparison = result.comparison
    return {
        "dataset": result.subject.dataset,
        "protocol": result.subject.protocol,
        "settings": {
            "claim": comparison.claim,
            "claim_by_default": result.claim_by_default,
            "alpha": comparison.alpha,
            "resamples": comparison.resamples,
            "seed": comparison.seed,
            "metrics": list(comparison.metrics),
            "primary": metric,
        },
        "images": comparison.images,
        "captions": comparison.captions,
        "methods": [
            {"name": name, "seeds": seeds, "scores": dict(zip(comparison.metrics, scores, strict=True))}
            for name, seeds, scores in zip(
                comparison.methods, comparison.seeds, comparison.scores.tolist(), strict=True
            )
        ],
        "families": [asdict(family) for family in comparison.families],
        "pairs": [tables.flat_row(row) for row in comparison.rows],
        "ranking": [asdict(place) for place in result.ranking],
        "verdicts": [sentence for part in text.verdict_sentences(comparison) for sentence in part],
        "warnings": [notice.message for notice in comparison.notices] + list(result.subject.remarks),
        "published_not_tested": list(result.subject.published),
        "evidence": [asdict(item) for item in result.subject.evidence if item.method in comparison.methods],
        "versions": text.versions(),
    }
