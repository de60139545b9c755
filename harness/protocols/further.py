"""Further metrics of a protocol, from the ranks that it gave.

Shape letters: I images, T captions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.metrics.base import Metric
from harness.metrics.catalogue import METRICS
from harness.records.ranks import RankTable
from harness.records.ties import TiedRanks, Ties


def further_metrics(names: Sequence[str], table: RankTable, shape: tuple[int, int], ties: Ties) -> dict[str, float]:
    """`i2t_<name>` and `t2i_<name>` of each metric: means over the queries of each fold, and over the folds.

    Args:
        names: of the metrics.
        table: the ranks of a protocol under the tie rule.
        shape: (I, T), the size of the test set. Where there are several folds, a query ranks the items of its own.
        ties: the rule.

    Raises:
        UnknownName: no such metric.
    """
    return {
        f"{way}_{name}": _mean(METRICS.get(name)(), table, way, shape, ties) for name in names for way in ("i2t", "t2i")
    }


def _mean(metric: Metric, table: RankTable, way: str, shape: tuple[int, int], ties: Ties) -> float:
    rank, wrong, correct, fold = (getattr(table, f"{way}_{column}") for column in ("rank", "ties", "best_tied", "fold"))
    other = getattr(table, "t2i_fold" if way == "i2t" else "i2t_fold")
    tied = TiedRanks.from_ranks(rank, wrong, np.maximum(correct, 1), ties)
    folds = np.unique(fold)
    means = []
    for number in folds:
        gallery = shape[way == "i2t"] if len(folds) == 1 else int((other == number).sum())
        means.append(float(np.mean(metric.of_tied(tied.of(fold == number), gallery, ties))))
    return float(np.mean(means))
