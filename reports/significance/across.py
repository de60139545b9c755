"""Several datasets side by side: every pair's difference on each, and win counts; a test only from six datasets on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from harness.records.store import RunStore
from harness.reports.document.model import Column, Report, Section, Table
from harness.reports.runs.groups import groups
from harness.reports.runs.loading import finished_records
from harness.reports.runs.subjects import FOREIGN, of_records
from harness.reports.significance.examine import Request, Result, examine_all
from harness.reports.significance.matched import Matched, matched, matching_sentences
from harness.reports.significance.standings import (
    entries_table,
    ranking_section,
    scores_section,
    standing_rows,
    win_section,
)
from harness.reports.significance.tables import NAMES
from harness.reports.significance.text import versions
from harness.reports.statistics.across import (
    MINIMUM_DATASETS,
    DatasetDifference,
    across_datasets,
    smallest_p,
    win_counts,
)
from harness.reports.statistics.borda import DatasetRuns, Standings, standings
from harness.reports.statistics.hits import decimals, metric_name
from harness.reports.statistics.refusals import Claim
from harness.reports.statistics.telling import Tell, silent

# Where one set of images has several protocols, the first of these counts for it.
_PREFERRED = ("full", "coco_5k", "coco_1k", "cxc", "eccv_caption")
_READING = (
    "A win is a higher score, a significant win one that survived the correction within its dataset. The dataset is the "
    "unit of a claim about new datasets; images are the unit within one.",
    "Nemenyi's test on average ranks is left out: with few datasets it cannot reject.",
)


def build(results: Sequence[Result]) -> Report | None:
    """The page across datasets; None where no pair was compared on two of them.

    Args:
        results: one per gallery, all on the same metrics.
    """
    counted = independent(results)
    pairs = _common_pairs(counted)
    if not pairs:
        return None
    metric = results[0].comparison.primary
    flat = [row for result in results for row in _rows(result, pairs, result in counted)]
    images = {result.subject.title: result.subject.images_key for result in counted}
    wins = [_wins([row for row in flat if row["counted"] and (row["a"], row["b"]) == pair], images) for pair in pairs]
    sentences = [
        f"{len(counted)} datasets count: {', '.join(result.subject.title for result in counted)}.",
        _test_sentence(len(counted)),
    ]
    found = matched(counted)
    claim: Claim = "method" if all(result.comparison.claim == "method" for result in counted) else "checkpoint"
    titles = {
        kind: [result.subject.title for result in counted if result.comparison.claim == kind]
        for kind in ("method", "checkpoint")
    }
    if all(titles.values()):
        sentences.append(
            f"The tests differ in what they claim: of methods retrained on {', '.join(titles['method'])}; of these trained "
            f"models only on {', '.join(titles['checkpoint'])}."
        )
    standing = _standing(counted, found, claim)
    rows = standing_rows(standing) if standing else []
    drawn = "images and training seeds" if claim == "method" else "images"
    sentences.append(f"Ranks over datasets are about new {drawn} of these datasets, not about new datasets.")
    dropped = [result.subject.title for result in results if result not in counted]
    if dropped:
        sentences.append(f"Shown but not counted, since they show the images of another row: {', '.join(dropped)}.")
    made_with = ", ".join(f"{name} {number}" for name, number in versions().items())
    return Report(
        title=f"Across datasets: {metric_name(metric)}",
        stem="significance",
        sentences=sentences,
        sections=[
            scores_section(counted, found, [row["method"] for row in rows], matching_sentences(found, len(counted))),
            *([ranking_section(standing, rows), win_section(standing, rows)] if standing else []),
            Section(title="Win counts", tables=[_wins_table(wins)], reading=_READING),
            Section(
                title="Pairs by dataset",
                tables=[_by_dataset(flat, pairs, metric), entries_table(counted, found)],
                footnotes=[f"Made with {made_with}."],
            ),
        ],
        main=pd.DataFrame(flat),
        data={"run_ids": _run_ids(results), "win_counts": wins, "differences": flat, "versions": versions()}
        | {"standings": rows, "not_ranked": {name: list(titles) for name, titles in found.missing.items()}}
        | {"win_rates": _rates(standing)},
    )


def _standing(counted: Sequence[Result], found: Matched, claim: Claim) -> Standings | None:
    """Ranks over datasets of the methods that all of them have; None for fewer than two such methods."""
    if len(counted) < 2 or len(found.complete) < 2:
        return None
    runs = [
        DatasetRuns(
            result.subject.title,
            result.subject.images_key,
            [run for run in result.methods if run.name in found.complete],
        )
        for result in counted
    ]
    first = counted[0].comparison
    return standings(runs, first.primary, claim=claim, alpha=first.alpha, seed=first.seed)


def _rates(standing: Standings | None) -> dict[str, Any]:
    """The matrices of win rates, for the JSON; None on the diagonal."""
    if standing is None:
        return {}
    matrices = {"datasets": standing.wins, "draws": standing.ahead}
    return {"methods": list(standing.methods)} | {
        key: [[None if i == j else float(v) for j, v in enumerate(row)] for i, row in enumerate(matrix)]
        for key, matrix in matrices.items()
    }


def of_runs(store: RunStore, run_ids: Sequence[str], tell: Tell = silent) -> Report | None:
    """The page across the datasets of some finished runs, on rSum with the tiers of their leaderboards.

    Args:
        store: where the runs lie.
        run_ids: finished runs.
        tell: told of how far it is.

    Returns:
        The page; None where no two methods were run on two datasets.

    Raises:
        InvalidRecord, InvalidComparison: see `harness.reports.runs.loading.method_runs`.
    """
    galleries = groups(finished_records(store, run_ids))
    if len({gallery.dataset for gallery in galleries}) < 2:
        return None
    made = [
        of_records(store, gallery, members, list(galleries), rivals=False, tell=tell)
        for gallery, members in galleries.items()
    ]
    several = [subject for subject in made if len(subject.methods) > 1]
    request = Request(metrics=("rsum",), correction="maxt", allow_unequal_seeds=True)
    page = build(examine_all(several, request, tell)[0]) if len(several) > 1 else None
    return replace(page, stem="across") if page else None


def _run_ids(results: Sequence[Result]) -> list[str]:
    """The recorded runs behind all of them."""
    sources = (item.source for result in results for item in result.evidence)
    return [source for source in dict.fromkeys(sources) if source != FOREIGN]


def independent(results: Sequence[Result]) -> list[Result]:
    """One result per set of images: COCO 1K and 5K are one dataset."""
    best: dict[str, Result] = {}
    for result in sorted(results, key=_preference):
        best.setdefault(result.subject.images_key, result)
    return [result for result in results if best[result.subject.images_key] is result]


def _preference(result: Result) -> int:
    protocol = result.subject.protocol
    return _PREFERRED.index(protocol) if protocol in _PREFERRED else len(_PREFERRED)


def _common_pairs(results: Sequence[Result]) -> list[tuple[str, str]]:
    """Unordered pairs compared on at least two datasets, named as where they were met first."""
    met: dict[frozenset[str], list[tuple[str, str]]] = {}
    for result in results:
        for row in result.comparison.of_metric(result.comparison.primary):
            met.setdefault(frozenset((row.a, row.b)), []).append((row.a, row.b))
    return [orders[0] for orders in met.values() if len(orders) > 1]


def _rows(result: Result, pairs: Sequence[tuple[str, str]], counted: bool) -> list[dict[str, Any]]:
    """The differences of those pairs, each in the pair's order."""
    signs = dict.fromkeys(pairs, 1) | {(b, a): -1 for a, b in pairs}
    found = []
    for row in result.comparison.of_metric(result.comparison.primary):
        sign = signs.get((row.a, row.b))
        if sign is None:
            continue
        low, high = sorted((sign * row.low, sign * row.high))
        found.append(
            {
                "a": row.a if sign > 0 else row.b,
                "b": row.b if sign > 0 else row.a,
                "dataset": result.subject.title,
                "metric": row.metric,
                "claim": result.comparison.claim,
                "difference": sign * row.difference,
                "difference_low": low,
                "difference_high": high,
                "p": row.p,
                "p_adjusted": row.p_adjusted,
                "significant": row.significant,
                "counted": counted,
            }
        )
    return found


def _wins(rows: Sequence[dict[str, Any]], images: Mapping[str, str]) -> dict[str, Any]:
    """The count of one pair over the datasets that count, and the test where there are enough."""
    differences = [
        DatasetDifference(row["dataset"], images[row["dataset"]], row["difference"], row["significant"]) for row in rows
    ]
    p = across_datasets(differences) if len(rows) >= MINIMUM_DATASETS else None
    return {"a": rows[0]["a"], "b": rows[0]["b"], "datasets": len(rows), **vars(win_counts(differences)), "p": p}


def _test_sentence(datasets: int) -> str:
    if datasets >= MINIMUM_DATASETS:
        return "p is a two-sided sign flip over datasets, uncorrected: it is about new datasets like these."
    return (
        f"There is no test across {datasets} datasets: the smallest p it could give is {smallest_p(datasets):g}; "
        f"{MINIMUM_DATASETS} datasets are needed."
    )


def _wins_table(wins: Sequence[dict[str, Any]]) -> Table:
    rows = [
        {
            **row,
            "counts": f"{row['wins']} / {row['ties']} / {row['losses']}",
            "significant": f"{row['significant_wins']} / {row['significant_losses']}",
        }
        for row in wins
    ]
    columns = [
        *NAMES,
        Column("datasets", "Datasets", "count"),
        Column("counts", "Win / tie / loss", help="datasets on which A scores more, as much, less than B"),
        Column("significant", "Significant win / loss"),
    ]
    if any(row["p"] is not None for row in wins):
        columns.append(Column("p", "p", "p", help="sign flip over datasets, not corrected"))
    caption = "Datasets won and lost by A against B"
    return Table(pd.DataFrame(rows), columns, caption, "wins", **_folded(rows))


def _by_dataset(flat: Sequence[dict[str, Any]], pairs: Sequence[tuple[str, str]], metric: str) -> Table:
    rows = sorted(flat, key=lambda row: pairs.index((row["a"], row["b"])))
    columns = [
        *NAMES,
        Column("dataset", "Dataset"),
        Column("difference", "Difference", "estimate", decimals(metric)),
        Column("p_adjusted", "Corrected p", "p"),
        Column("claim", "Claim"),
    ]
    return Table(
        frame=pd.DataFrame(rows),
        columns=columns,
        caption=f"A minus B in points of {metric_name(metric)}, with its interval, dataset by dataset",
        key="by-dataset",
        rule_by=["a", "b"],
        muted=[number for number, row in enumerate(rows) if not row["counted"]],
        **_folded(rows),
    )


def _folded(rows: Sequence[Any]) -> dict[str, Any]:
    """Long tables are folded, and left out of a paper where they fill more than a page."""
    return {"collapsed": len(rows) > 30, "for_paper": len(rows) <= 45}
