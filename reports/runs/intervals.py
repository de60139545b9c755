"""The intervals of one run on one protocol, from its ranks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from harness.records.ranks import RankTable
from harness.records.ties import RECALLS, Ties
from harness.reports.runs.groups import Gallery
from harness.reports.runs.loading import runs_of_table
from harness.reports.statistics.errors import TooFewImages
from harness.reports.statistics.intervals import Interval, single_interval

_METRICS = (*RECALLS, "rsum")


def intervals_of(
    table: RankTable, metrics: Iterable[str], ties: Ties = "pessimistic", depths: Mapping[str, int] | None = None
) -> dict[str, Interval]:
    """95 % intervals for new images of a run's recalls and rSum; the image is the unit.

    Args:
        table: ranks under a tie rule.
        metrics: those that are known; others have no interval.
        ties: the rule.
        depths: see `harness.records.parts.Source.depths`.

    Returns:
        By metric, in the usual order; nothing for a single image.
    """
    runs = runs_of_table(table, name="run", seed=0, gallery=Gallery("", "", "", ""), ties=ties, depths=depths)
    known = set(metrics)
    try:
        return {name: single_interval(runs, name) for name in _METRICS if name in known}
    except TooFewImages:
        return {}
