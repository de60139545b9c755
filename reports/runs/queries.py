"""Per-query ranks as the statistics take them: one seed of a method from its tables, and all seeds as one method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.reports.statistics.errors import DuplicateQueries, listing
from harness.reports.statistics.refusals import aligned
from harness.reports.statistics.runs import MethodRuns, joined_seeds


def one_seed(
    name: str,
    seed: int,
    i2t: pd.Series,
    t2i: pd.Series,
    owner: Sequence[object] | pd.Series,
    folds: pd.Series | None = None,
    *,
    i2t_ties: NDArray[np.int64] | None = None,
    t2i_ties: NDArray[np.int64] | None = None,
    depths: Mapping[str, int] | None = None,
    gallery: str = "",
) -> MethodRuns:
    """One seed's ranks, from ranks by image id and by caption id, the image id of each caption and folds by image id.

    An image that only captions are about (human-judged subsets query some images only) counts as a unit without a query
    of its own.

    >>> runs = one_seed("scan", 0, pd.Series({"a": 0}), pd.Series({"a1": 2, "b1": 0}), ["a", "b"])
    >>> runs.image_ids.tolist(), runs.image_queried.tolist(), runs.caption_image.tolist()
    (['a', 'b'], [True, False], [0, 1])
    """
    asked, owners = pd.Index(i2t.index, dtype=object), pd.Index(owner, dtype=object)
    images = asked.append(owners[~owners.isin(asked)].unique())
    unasked = len(images) - len(asked)
    if i2t_ties is not None:
        i2t_ties = np.concatenate([i2t_ties, np.tile([0, 1], (unasked, 1))])
    return MethodRuns(
        name=name,
        seeds=(seed,),
        i2t_ranks=np.concatenate([i2t.to_numpy(dtype=np.float64), np.zeros(unasked)]),
        t2i_ranks=t2i.to_numpy(),
        i2t_ties=i2t_ties,
        t2i_ties=t2i_ties,
        caption_image=images.get_indexer(owners),
        image_ids=images.tolist(),
        caption_ids=t2i.index.tolist(),
        fold=None if folds is None else folds.reindex(images).to_numpy(),
        image_queried=np.arange(len(images)) < len(asked),
        depths=depths or {},
        gallery=gallery,
    )


def all_seeds(name: str, runs: Sequence[MethodRuns]) -> MethodRuns:
    """The seeds of one method as one, on the same queries in the same order.

    Args:
        name: the method.
        runs: one seed each.

    Raises:
        InvalidComparison: seeds that repeat or were asked different queries.
    """
    if len(runs) == 1:
        return replace(runs[0], name=name)
    seeds = [run.seeds[0] for run in runs]
    if repeated := sorted({seed for seed in seeds if seeds.count(seed) > 1}):
        raise DuplicateQueries(f"'{name}' has several runs of seeds {listing(repeated)}; keep one run of each")
    ordered = aligned([replace(run, name=f"{name} seed {run.seeds[0]}") for run in runs])
    rivals = [run.rivals for run in ordered]
    return replace(
        ordered[0],
        name=name,
        seeds=tuple(seeds),
        **joined_seeds(ordered),
        depths={
            way: min(run.depths.get(way, depth) for run in runs) for run in runs for way, depth in run.depths.items()
        },
        rivals=None if None in rivals else tuple(one for own in rivals for one in own or ()),
        seed_selection="best" if any(run.seed_selection == "best" for run in runs) else "all",
    )
