"""The significance report: which differences between methods are real, for which claim, and what would tell more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from harness.errors import UnknownName
from reports import _significance_tables as tables
from reports import _significance_text as text
from reports import published as printed
from reports import render
from reports._significance_figures import forest, groups_diagram, matrix
from reports._significance_sources import Subject, output_root, read_sources, safe_name
from reports.document import Report, Section
from reports.statistics.comparison import compare
from reports.statistics.corrections import Correction
from reports.statistics.errors import InvalidSetting
from reports.statistics.hits import METRICS, components
from reports.statistics.ranking import RankedMethod, tiers
from reports.statistics.refusals import MINIMUM_SEEDS, Claim, refuse_aggregate_only
from reports.statistics.results import Comparison
from reports.statistics.runs import MethodRuns
from reports.statistics.verdicts import tier_sentences

__all__ = ["Request", "Result", "Subject", "build", "examine", "output_root", "read_sources", "safe_name", "write"]

STEM = "significance"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked of every gallery; see `reports.statistics.comparison.compare` for the meaning of each.

    Attributes:
        metrics: names; rSum and the six recalls by default.
        pairs: `all`, or `A:B,C:D`.
        reference: compare every other method with this one; empty for none.
        claim: None takes `method` where every method has 3 seeds or more, else `checkpoint`.
        equivalence: margins in points, by metric; the key "" stands for the primary metric.
        alpha, correction, resamples, seed, allow_unequal_seeds: as there.
    """

    metrics: tuple[str, ...] = METRICS
    pairs: str = "all"
    reference: str = ""
    claim: Claim | None = None
    equivalence: Mapping[str, float] = field(default_factory=dict)
    alpha: float = 0.05
    correction: Correction = "holm"
    resamples: int = 10_000
    seed: int = 0
    allow_unequal_seeds: bool = False

    @property
    def depth(self) -> int:
        """Largest K that any metric looks at."""
        return max((k for metric in self.metrics for _, k in components(metric)), default=1)


@dataclass(frozen=True, eq=False)
class Result:
    """The comparison of one gallery, and what a report needs beside it.

    Attributes:
        subject: what was compared.
        methods: the runs compared, best first.
        comparison: all differences.
        ranking: places by the tests; empty unless all pairs were compared with a family-wise correction.
        claim_by_default: nobody asked for the claim.
    """

    subject: Subject
    methods: tuple[MethodRuns, ...]
    comparison: Comparison
    ranking: tuple[RankedMethod, ...]
    claim_by_default: bool


def examine(subject: Subject, request: Request) -> Result:
    """Compare the methods of one gallery.

    Raises:
        InvalidComparison: one of its subclasses.
        UnknownName: a metric or method that does not exist.
    """
    if request.reference and request.pairs != "all":
        raise InvalidSetting("--pairs and --reference exclude each other: name the pairs, or one reference for all")
    methods = {run.name: run for run in subject.methods}
    pairs = None if request.reference or request.pairs == "all" else parse_pairs(request.pairs, list(methods))
    named = [request.reference] if request.reference else [name for pair in pairs or () for name in pair]
    _refuse_published(subject, [name for name in named if name not in methods])
    for name in named:
        if name not in methods:
            raise UnknownName("method", name, methods)
    if len(methods) < 2:
        refuse_aggregate_only(subject.published)
    chosen = [run for run in subject.methods if pairs is None or run.name in named]
    if len(chosen) < 2:
        have = f"only '{chosen[0].name}'" if chosen else "no method"
        raise InvalidSetting(f"a comparison needs 2 methods, there is {have} on {subject.title}; record or add another")
    ordered = _best_first(chosen, request)
    claim: Claim = "method" if min(len(run.seeds) for run in ordered) >= MINIMUM_SEEDS else "checkpoint"
    primary = "rsum" if "rsum" in request.metrics else request.metrics[0]
    comparison = compare(
        ordered,
        metrics=request.metrics,
        claim=request.claim or claim,
        correction=request.correction,
        alpha=request.alpha,
        resamples=request.resamples,
        seed=request.seed,
        equivalence={metric or primary: delta for metric, delta in request.equivalence.items()} or None,
        pairs=request.reference or pairs or "all",
        allow_unequal_seeds=request.allow_unequal_seeds,
    )
    ranked = not request.reference and pairs is None and request.correction != "bh"
    ranking = tiers(comparison, primary) if ranked else ()
    return Result(subject, tuple(ordered), comparison, ranking, request.claim is None)


def parse_pairs(spelled: str, names: Sequence[str]) -> list[tuple[str, str]]:
    """`A:B,C:D` as pairs; names of methods may themselves hold commas and colons.

    Args:
        spelled: what the user wrote.
        names: the methods there are; the longest that fits is taken.

    Raises:
        InvalidSetting: not pairs at all.
    """
    pairs, rest = [], spelled.strip()
    while rest:
        first, rest = _take(rest, ":", names)
        second, rest = _take(rest, ",", names)
        if not first or not second:
            raise InvalidSetting(f"--pairs must be 'all' or A:B,C:D, got '{spelled}'")
        pairs.append((first, second))
    return pairs


def build(result: Result) -> Report:
    """The report of one gallery: verdicts first, then the evidence, then what it rests on.

    Returns:
        The report; `main` holds one flat row a pair and metric, `data` everything else that is needed to redo it.
    """
    comparison, subject = result.comparison, result.subject
    first, others = text.verdict_sentences(comparison)
    metric = text.metric_name(text.primary_metric(comparison))
    return Report(
        title=f"Significance: {subject.title}",
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


def write(report: Report, folder: Path | str) -> list[Path]:
    """Write `significance.md`, `.html`, `.csv`, `.json`, `.tex` and the figures into a folder.

    Returns:
        The files.

    Raises:
        ResultsNotWritable: the folder cannot be written.
    """
    return render.write(report, folder, STEM)


def _take(rest: str, end: str, names: Sequence[str]) -> tuple[str, str]:
    """A name and what follows it and its end sign."""
    for name in sorted(names, key=len, reverse=True):
        if rest == name or rest.startswith(name + end):
            return name, rest[len(name) + 1 :].lstrip()
    name, _, rest = rest.partition(end)
    return name.strip(), rest.strip()


def _refuse_published(subject: Subject, unknown: Sequence[str]) -> None:
    """A name that stands in the published figures alone gets the reason, not a list of other names."""
    refuse_aggregate_only([name for name in unknown if name in subject.published])
    refuse_aggregate_only([n for n in unknown if len(printed.rows_for(subject.dataset, subject.protocol, n))])


def _best_first(methods: Sequence[MethodRuns], request: Request) -> list[MethodRuns]:
    """By mean score, so that most differences are positive; the order given for equal scores."""
    from reports.statistics.hits import image_columns
    from reports.statistics.settings import checked_metrics

    primary = "rsum" if "rsum" in request.metrics else checked_metrics(request.metrics)[0]
    scores = [round(float(image_columns([run], [primary]).scores[0, 0]), 9) for run in methods]
    return [methods[i] for i in sorted(range(len(methods)), key=lambda i: -scores[i])]


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
