"""A method's ranks as a small CSV that can be committed: the format of `docs/significance.md`, readable everywhere else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.files.writing import atomic_path
from harness.reports.statistics.errors import BestSeedRuns, InvalidRanks
from harness.reports.statistics.runs import MethodRuns

#: Column with the gallery's name and the hash of its data in its first row, by which a gate notices that the data changed.
GALLERY = "gallery"


def write_baseline(path: Path, runs: MethodRuns, *, dataset: str, protocol: str) -> None:
    """Write the ranks of a method, all its seeds, as a CSV; the same ranks give the same bytes.

    Raises:
        InvalidRanks: ranks under the expected tie rule, which are no whole numbers.
        BestSeedRuns: the best of several seeds.
        ResultsNotWritable: the file cannot be written.
    """
    frame = baseline_frame(runs, dataset=dataset, protocol=protocol)
    with atomic_path(path) as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n")


def baseline_frame(runs: MethodRuns, *, dataset: str, protocol: str) -> pd.DataFrame:
    """One row per seed and query; columns that say nothing are left out."""
    if runs.i2t_ties is not None or runs.t2i_ties is not None:
        raise InvalidRanks(
            f"'{runs.name}' is ranked under the expected tie rule, and a baseline holds whole ranks: evaluate it under "
            "another one (itm rescore RUN --ties pessimistic)"
        )
    if runs.seed_selection == "best":
        raise BestSeedRuns(f"'{runs.name}' is the best of several seeds, which is no baseline; give all seeds")
    frame = pd.concat([pd.DataFrame(part) for part in _parts(runs)], ignore_index=True)
    frame = frame.assign(method=runs.name, ranks_from=0, dataset=dataset, protocol=protocol)
    frame[GALLERY] = [runs.gallery, *[""] * (len(frame) - 1)]  # once: a baseline is committed
    fold = pd.Series(runs.fold, index=runs.image_ids)
    if fold.nunique() > 1:
        frame["fold"] = frame["image_id"].map(fold)
    return frame.drop(columns=[name for name in ("dataset", "protocol", GALLERY) if not frame[name].iloc[0]])


def _parts(runs: MethodRuns) -> Iterator[dict[str, Any]]:
    asked = np.flatnonzero(runs.image_queried)
    asked = asked[np.argsort(runs.image_ids[asked], kind="stable")]
    captions = np.argsort(runs.caption_ids, kind="stable")
    for row in np.argsort(runs.seeds, kind="stable").tolist():
        shared = {"seed": runs.seeds[row]}
        yield {
            "query_id": runs.image_ids[asked],
            "direction": "i2t",
            "rank": runs.i2t_ranks[row, asked].astype(np.int64),
            "image_id": runs.image_ids[asked],
            "caption_id": "",
            **shared,
        }
        yield {
            "query_id": runs.caption_ids[captions],
            "direction": "t2i",
            "rank": runs.t2i_ranks[row, captions].astype(np.int64),
            "image_id": runs.image_ids[runs.caption_image[captions]],
            "caption_id": "",
            **shared,
        }
