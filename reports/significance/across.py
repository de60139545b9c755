"""Several datasets side by side: every pair's difference on each, and win counts; a test only from six datasets on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from harness.reports.document.model import Column, Report, Section, Table
from harness.reports.significance.examine import Result
from harness.reports.significance.text import decimals, metric_name, p_text, versions
from harness.reports.statistics.across import (
    MINIMUM_DATASETS,
    DatasetDifference,
    across_datasets,
    smallest_p,
    win_counts,
)
from harness.reports.statistics.results import PairRow

# Where one set of images has several protocols, the first of these counts for it.
_PREFERRED = ("full", "coco_5k", "coco_1k", "cxc", "eccv_caption")


def build(results: Sequence[Result]) -> Report | None:
    """The page across datasets; None where no pair was compared on two of them.

    Args:
        results: one a gallery, all on the same metrics.
    """
    counted = independent(results)
    pairs = _common_pairs(counted)
    if len(counted) < 2 or not pairs:
        return None
    metric = results[0].comparison.primary
    flat = [_row(result, row, result in counted) for result in results for row in _of_pairs(result, pairs)]
    wins = [_wins(counted, pair) for pair in pairs]
    names = ", ".join(result.subject.title for result in counted)
    dropped = [result.subject.title for result in results if result not in counted]
    sentences = [f"{len(counted)} datasets count: {names}.", _test_sentence(len(counted))]
    if dropped:
        sentences.append(f"Shown but not counted, since they show the images of another row: {', '.join(dropped)}.")
    reading = [
        "A win is a higher score, a significant win one that survived the correction within its dataset. The dataset is "
        "the unit of a claim about new datasets; images are the unit within one.",
        "Average ranks over datasets and Nemenyi's test are left out: with few datasets it cannot reject.",
    ]
    made_with = ", ".join(f"{name} {number}" for name, number in versions().items())
    return Report(
        title=f"Across datasets: {metric_name(metric)}",
        stem="significance",
        sentences=sentences,
        sections=[
            Section(title="Win counts", tables=[_wins_table(wins)], reading=reading),
            Section(
                title="By dataset", tables=[_by_dataset(flat, pairs, metric)], footnotes=[f"Made with {made_with}."]
            ),
        ],
        main=pd.DataFrame(flat),
        data={"win_counts": wins, "differences": flat, "versions": versions()},
    )


def independent(results: Sequence[Result]) -> list[Result]:
    """One result a set of images: COCO 1K and 5K are one dataset."""
    best: dict[str, Result] = {}
    for result in results:
        held = best.get(result.subject.images_key)
        if held is None or _preference(result) < _preference(held):
            best[result.subject.images_key] = result
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


def _of_pairs(result: Result, pairs: Sequence[tuple[str, str]]) -> list[tuple[PairRow, int]]:
    """The rows of those pairs, each with the sign that turns it into the pair's order."""
    metric = result.comparison.primary
    signs = dict.fromkeys(pairs, 1) | {(b, a): -1 for a, b in pairs}
    rows = result.comparison.of_metric(metric)
    return [(row, signs[row.a, row.b]) for row in rows if (row.a, row.b) in signs]


def _row(result: Result, found: tuple[PairRow, int], counted: bool) -> dict[str, Any]:
    row, sign = found
    low, high = sorted((sign * row.low, sign * row.high))
    return {
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


def _wins(counted: Sequence[Result], pair: tuple[str, str]) -> dict[str, Any]:
    differences = [
        DatasetDifference(result.subject.title, result.subject.images_key, sign * row.difference, row.significant)
        for result in counted
        for row, sign in _of_pairs(result, [pair])
    ]
    counts = win_counts(differences)
    p = across_datasets(differences) if len(differences) >= MINIMUM_DATASETS else None
    return {"a": pair[0], "b": pair[1], "datasets": len(differences), **vars(counts), "p": p}


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
            "p_shown": "" if row["p"] is None else p_text(row["p"]),
        }
        for row in wins
    ]
    columns = [
        Column(key="a", title="A"),
        Column(key="b", title="B"),
        Column(key="datasets", title="Datasets", kind="number", digits=0),
        Column(key="counts", title="Win / tie / loss", help="datasets on which A scores more, as much, less than B"),
        Column(key="significant", title="Significant win / loss"),
    ]
    if any(row["p"] is not None for row in wins):
        columns.append(Column(key="p_shown", title="p", help="sign flip over datasets, not corrected"))
    caption = "Datasets won and lost by A against B"
    return Table(frame=pd.DataFrame(rows), columns=columns, caption=caption, key="wins")


def _by_dataset(flat: Sequence[dict[str, Any]], pairs: Sequence[tuple[str, str]], metric: str) -> Table:
    rows = sorted(flat, key=lambda row: pairs.index((row["a"], row["b"])))
    frame = pd.DataFrame([{**row, "p_shown": p_text(row["p_adjusted"])} for row in rows])
    columns = [
        Column(key="a", title="A"),
        Column(key="b", title="B"),
        Column(key="dataset", title="Dataset"),
        Column(key="difference", title="Difference", kind="estimate", digits=decimals(metric)),
        Column(key="p_shown", title="Corrected p"),
        Column(key="claim", title="Claim"),
    ]
    caption = f"A minus B in points of {metric_name(metric)}, with its interval, dataset by dataset"
    muted = [i for i, row in enumerate(rows) if not row["counted"]]
    return Table(frame=frame, columns=columns, caption=caption, key="by-dataset", rule_by=("a", "b"), muted=muted)
