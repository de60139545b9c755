"""The significance report: which differences between methods are real, for which claim, and what more data could show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from harness.reports.document.linking import linked
from harness.reports.document.model import Report, Section, Table
from harness.reports.runs.sizes import gallery_size, with_size
from harness.reports.runs.subjects import FOREIGN
from harness.reports.significance import figures, second, tables, text
from harness.reports.significance.examine import Result
from harness.reports.statistics.hits import metric_name
from harness.reports.statistics.verdicts import tier_sentences

_MOST_BRIEF_PAIRS = 30


def build(result: Result) -> Report:
    """The report of one gallery: verdicts first, then the evidence, then what it rests on.

    Returns:
        The report; `main` holds one flat row per pair and metric, `data` everything else that is needed to redo it.
    """
    comparison, subject = result.comparison, result.subject
    first, others = text.verdict_sentences(comparison)
    claim = text.claim_sentence(comparison, by_default=result.claim_by_default)
    flat = [tables.flat_row(row) | second.flat_values(result.reading, row) for row in comparison.rows]
    about = {"dataset": subject.dataset, "protocol": subject.protocol, "claim": comparison.claim}
    return Report(
        title=f"Significance: {subject.title}",
        stem="significance",
        sentences=[*first, text.headline(comparison), claim],
        sections=[
            _pairs(result, others),
            _ranking(result),
            Section(
                title="Images against seeds",
                sentences=text.variance_sentences(comparison),
                tables=[tables.variance_table(comparison)],
            ),
            Section(title="Power", sentences=text.power_sentences(comparison), tables=[tables.power_table(comparison)]),
            *second.sections(result.reading, comparison),
            Section(title="Warnings", sentences=text.warning_sentences(comparison, subject.remarks, subject.published)),
            Section(
                title="Method",
                sentences=[
                    f"{len(comparison.methods)} methods answered the same queries: {comparison.images:,} images and "
                    f"{comparison.captions:,} captions of {subject.title}."
                ],
                tables=[tables.families_table(comparison)],
                reading=text.method_sentences(comparison),
            ),
            Section(
                title="Runs and versions",
                sentences=[f"Made with {', '.join(f'{name} {number}' for name, number in text.versions().items())}."],
                tables=[tables.evidence_table(result.evidence)],
            ),
        ],
        brief=_brief(result, first, others, claim),
        main=pd.DataFrame([about | row for row in flat]),
        data=_data(result, flat, [*first, *others]),
    )


def _pairs(result: Result, others: Sequence[str]) -> Section:
    comparison = result.comparison
    size = gallery_size(result.methods[0], result.subject.protocol)
    evidence = [
        with_size(table, size)
        for table in (tables.pairs_table(comparison), tables.other_metrics_table(comparison))
        if table
    ]
    shown = [figures.forest(comparison), figures.matrix(comparison)]
    return Section(
        title="Pairs",
        tables=[*([tables.remaining_verdicts(others)] if others else []), *evidence],
        figures=[figure for figure in shown if figure],
    )


def _ranking(result: Result) -> Section:
    comparison, ranking = result.comparison, result.ranking
    table = linked(tables.scores_table(comparison, result.methods, ranking), ["method"], _runs(result))
    table = with_size(table, gallery_size(result.methods[0], result.subject.protocol))
    if not ranking:
        why = (
            "No tiers and no ranks: they need all pairs, corrected for the family-wise error (--pairs all, --correction "
            "holm or maxt)."
        )
        return Section(title="Scores", tables=[table], sentences=[why] if len(comparison.methods) > 2 else [])
    diagram = figures.groups_diagram(comparison, ranking)
    return Section(
        title="Ranking",
        sentences=tier_sentences(ranking),
        tables=[table],
        figures=[diagram] if diagram else [],
        reading=text.RANKING_READING,
    )


def _runs(result: Result) -> dict[str, str]:
    """The recorded runs of each method, by name."""
    recorded = [item for item in result.evidence if item.source != FOREIGN]
    names = dict.fromkeys(item.method for item in recorded)
    return {name: " ".join(item.source for item in recorded if item.method == name) for name in names}


def _brief(result: Result, first: Sequence[str], others: Sequence[str], claim: str) -> list[Table | str]:
    more = len(result.comparison.of_metric(result.comparison.primary)) - _MOST_BRIEF_PAIRS
    return [
        result.subject.title,
        "",
        *first,
        *([f"({len(others)} more verdicts in the files)"] if others else []),
        "",
        claim,
        *(f"Warning: {warning}" for warning in result.warnings),
        tables.brief_table(result.comparison, _MOST_BRIEF_PAIRS),
        *([f"and {more} more pairs in the files"] if more > 0 else []),
        *second.brief(result.reading, result.comparison),
    ]


def _data(result: Result, flat: Sequence[dict[str, Any]], verdicts: Sequence[str]) -> dict[str, Any]:
    comparison = result.comparison
    scores = comparison.scores.tolist()
    return {
        "run_ids": [run_id for runs in _runs(result).values() for run_id in runs.split()],
        "dataset": result.subject.dataset,
        "protocol": result.subject.protocol,
        "settings": {
            "claim": comparison.claim,
            "claim_by_default": result.claim_by_default,
            "alpha": comparison.alpha,
            "resamples": comparison.resamples,
            "seed": comparison.seed,
            "metrics": list(comparison.metrics),
            "primary": metric_name(comparison.primary),
        },
        "images": comparison.images,
        "captions": comparison.captions,
        "folds": len(gallery_size(result.methods[0], result.subject.protocol).images),
        "methods": [
            {"name": name, "seeds": seeds, "scores": dict(zip(comparison.metrics, own, strict=True))}
            for name, seeds, own in zip(comparison.methods, comparison.seeds, scores, strict=True)
        ],
        "families": [asdict(family) for family in comparison.families],
        "pairs": flat,
        "ranking": [asdict(place) for place in result.ranking],
        "verdicts": verdicts,
        "warnings": result.warnings,
        "published_not_tested": list(result.subject.published),
        "evidence": [asdict(item) for item in result.evidence],
        "versions": text.versions(),
        **second.as_data(result.reading),
    }
