"""The check for hubs: images that take places from many queries of one method, so that images are not independent.

Where the scores of both methods are kept, their difference gets a second standard error that counts the gallery. By
simulation the two agree unless the few errors of good methods come from hubs of their own (docs/calibration.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.errors import counted
from harness.reports.statistics.hits import ImageColumns, components, query_counts
from harness.reports.statistics.intervals import t_p_value
from harness.reports.statistics.joint import Hypotheses
from harness.reports.statistics.refusals import Notice
from harness.reports.statistics.results import PairRow
from harness.reports.statistics.rivals import DEPTHS, gallery_variance, mean_gains
from harness.reports.statistics.runs import MethodRuns
from harness.reports.statistics.verdicts import p_phrase

# By simulation the ratio is 1.03 +- 0.04 without hubs; at 1.15 a promised 5 % of false alarms has become about 9 %.
HUB_LIMIT = 1.15


@dataclass(frozen=True)
class Counted:
    """A difference with the gallery counted: its standard error in units of the row's, and its two-sided p."""

    ratio: float
    p: float


def gallery_counted(columns: ImageColumns, methods: Sequence[MethodRuns], row: PairRow) -> Counted:
    """The standard error of a difference with every image counted as query and as rival, and its p.

    Args:
        columns: of the methods, in their order.
        methods: aligned runs.
        row: the difference.

    Returns:
        The ratio, at least 1, and the two-sided p; 1 and `row.p` where the runs do not say what stood ahead, or no
        rivals are known at a K of the metric.
    """
    names = [run.name for run in methods]
    first, second = names.index(row.a), names.index(row.b)
    parts = components(row.metric)
    a, b = methods[first].rivals, methods[second].rivals
    if a is None or b is None or row.se == 0 or any(k not in DEPTHS for _, k in parts):
        return Counted(1.0, row.p)
    queries = {d: int(counts.sum()) for d, counts in query_counts(methods[0]).items()}
    gains = mean_gains(a, parts, queries) - mean_gains(b, parts, queries)
    k = columns.metrics.index(row.metric)
    influence = Hypotheses(*(np.asarray([place]) for place in (first, second, k))).influence(columns)[0]
    variance = row.variance.total - row.variance.images + gallery_variance(influence, gains)
    ratio = max(1.0, math.sqrt(variance / row.variance.total))  # 1 to the last bit where nothing was added
    return Counted(ratio, t_p_value(row.difference, ratio * row.se, row.df))


def hub_notices(
    columns: ImageColumns, methods: Sequence[MethodRuns], rows: Sequence[PairRow], metric: str
) -> list[Notice]:
    """Warn of pairs whose queries depend on each other through the gallery so much that the tests are too confident.

    Args:
        columns, methods: as for `gallery_counted`.
        rows: the differences.
        metric: the one to look at.

    Returns:
        One notice `hubs`, or none.
    """
    found = [
        f"{row.a} against {row.b}: {both.ratio:.2f} times the standard error, {p_phrase(both.p)}"
        for row in rows
        if row.metric == metric
        for both in [gallery_counted(columns, methods, row)]
        if both.ratio > HUB_LIMIT
    ]
    if not found:
        return []
    shown = "; ".join(found[:3]) + ("; ..." if len(found) > 3 else "")
    return [
        Notice(
            "hubs",
            f"Some images take so many places from other queries that intervals and p on {metric} are too confident for "
            f"{counted(len(found), 'pair')}. With the gallery counted: {shown}.",
        )
    ]
