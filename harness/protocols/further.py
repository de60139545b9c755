"""Further metrics of a protocol, from the ranks that it gave.

Shape letters: I images, T captions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.errors import InvalidPlugin
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
        InvalidPlugin: a metric gives something else than a finite number per query.
    """
    return {f"{way}_{name}": _mean(name, table, way, shape, ties) for name in names for way in ("i2t", "t2i")}


def _mean(name: str, table: RankTable, way: str, shape: tuple[int, int], ties: Ties) -> float:
    metric = METRICS.get(name)()
    rank, wrong, correct, fold = (getattr(table, f"{way}_{column}") for column in ("rank", "ties", "best_tied", "fold"))
    other = getattr(table, "t2i_fold" if way == "i2t" else "i2t_fold")
    tied = TiedRanks.from_ranks(rank, wrong, np.maximum(correct, 1), ties)
    folds = np.unique(fold)
    means = []
    for number in folds:
        gallery = shape[way == "i2t"] if len(folds) == 1 else int((other == number).sum())
        values = metric.of_tied(tied.of(fold == number), gallery, ties)
        if values.shape != (int((fold == number).sum()),) or not np.isfinite(values).all():
            raise InvalidPlugin(
                f"metric '{name}' must give one finite number per query, got shape {values.shape} and "
                f"{int((~np.isfinite(values)).sum())} that are not finite; `itm check` says what it breaks"
            )
        means.append(float(np.mean(values)))
    return float(np.mean(means))
