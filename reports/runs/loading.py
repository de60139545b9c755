"""From the records of runs to their ranks, checked against the metrics that the records state."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from harness.errors import InvalidRecord
from harness.records.ranks import OWN_GALLERY, RankTable
from harness.records.run import RunRecord
from harness.records.scores import SCORES, open_scores
from harness.records.store import RunStore
from harness.records.ties import RECALLS, Ties
from harness.reports.runs.groups import Gallery, Group
from harness.reports.runs.queries import all_seeds, one_seed
from harness.reports.statistics.errors import InvalidComparison
from harness.reports.statistics.hits import image_columns
from harness.reports.statistics.rivals import Rivals, find_rivals, gallery_ranks
from harness.reports.statistics.runs import MethodRuns
from harness.reports.statistics.telling import Tell, silent, told

# Recalls of a record and of its ranks may differ by rounding, not by a query: 5 queries in 100,000 are 0.005.
_TOLERANCE = 0.005

logger = logging.getLogger(__name__)


def finished_records(store: RunStore, run_ids: Iterable[str]) -> list[RunRecord]:
    """The finished records of some runs, each once.

    Raises:
        InvalidRecord: a run is missing, damaged or did not finish.
    """
    return [store.require(run_id) for run_id in dict.fromkeys(run_ids)]


def sound_records(store: RunStore, tell: Tell = silent) -> list[RunRecord]:
    """The finished runs of a folder whose ranks can be read and agree with their metrics.

    For each run that is left out a line says why: one damaged run must not take away the report of all others.

    Args:
        store: where the runs lie.
        tell: told of how far it is.

    Raises:
        InvalidRecord: there is none.
    """
    sound = []
    tell("reading records", 0, 0)
    for record in told("checking ranks", store.records(), tell):
        if record.status != "finished":
            continue
        try:
            _check_record(store, record)
        except (InvalidRecord, InvalidComparison) as error:
            logger.warning("run %s is left out: %s", record.run_id, error)
        else:
            sound.append(record)
    if not sound:
        results = store.results
        raise InvalidRecord(
            f"no finished run below {results}/runs; run `itm leaderboard EXP --results {results}` first"
        )
    return sound


def method_runs(store: RunStore, group: Group, *, rivals: bool = False) -> MethodRuns:
    """The per-query ranks of a group, all seeds on the same queries in the same order.

    Args:
        store: where the runs lie.
        group: the seeds of one method.
        rivals: also read the scores, where every seed keeps them, for the check for hubs.

    Raises:
        InvalidRecord: a rank file is missing or damaged, lacks the protocol, or contradicts the record's metrics.
        InvalidComparison: seeds that were asked different queries.
        InvalidSimilarity: kept scores that are damaged.
    """
    seeds = []
    for record in group.records:
        runs = _checked_runs(store, record, group.gallery, f"{group.label} seed {record.seed}")
        seeds.append(replace(runs, rivals=_rivals(store, record, runs, group.gallery.protocol)) if rivals else runs)
    return all_seeds(group.label, seeds)


def runs_of_table(
    table: RankTable,
    *,
    name: str,
    seed: int,
    gallery: Gallery,
    ties: Ties = "pessimistic",
    depths: Mapping[str, int] | None = None,
) -> MethodRuns:
    """One seed's rank table, whose ranks are under a tie rule, as `MethodRuns`.

    A table of an earlier version does not hold what the expected rule needs; its mean ranks count as they are.
    """
    i2t_ties = t2i_ties = None
    if ties == "expected" and table.i2t_best_tied.all() and table.t2i_best_tied.all():
        i2t_ties = np.stack([table.i2t_ties, table.i2t_best_tied], 1)
        t2i_ties = np.stack([table.t2i_ties, table.t2i_best_tied], 1)
    folds = pd.Series(
        np.concatenate([table.i2t_fold, table.t2i_fold]), [*table.i2t_image_id.tolist(), *table.t2i_image_id.tolist()]
    )
    return one_seed(
        name,
        seed,
        pd.Series(table.i2t_rank, table.i2t_image_id.tolist()),
        pd.Series(table.t2i_rank, table.t2i_caption_id.tolist()),
        table.t2i_image_id.tolist(),
        folds[~folds.index.duplicated()],
        i2t_ties=i2t_ties,
        t2i_ties=t2i_ties,
        depths=depths,
        gallery=f"{gallery.title} ({gallery.data_sha256[:12]})",
    )


def _check_record(store: RunStore, record: RunRecord) -> None:
    if not record.has_ranks:
        return
    for protocol, metrics in record.metrics.items():
        if "rsum" in metrics:
            gallery = Gallery(record.dataset, record.split, record.data_sha256, protocol)
            _checked_runs(store, record, gallery, record.label)


def _checked_runs(store: RunStore, record: RunRecord, gallery: Gallery, name: str) -> MethodRuns:
    """A run's ranks; a record whose recalls are not theirs is refused: one of the two files is not of this run."""
    table, metrics = store.ranks_of(record)[gallery.protocol], record.metrics[gallery.protocol]
    depths = record.source.depths if record.source else None
    runs = runs_of_table(table, name=name, seed=record.seed, gallery=gallery, ties=record.ties, depths=depths)
    recalls = image_columns([runs], RECALLS).seed_scores[0][0]
    for key, of_ranks in {**dict(zip(RECALLS, recalls.tolist(), strict=True)), "rsum": float(np.sum(recalls))}.items():
        stated = metrics.get(key)
        if stated is None or abs(stated - of_ranks) > _TOLERANCE * (len(RECALLS) if key == "rsum" else 1):
            raise InvalidRecord(
                f"run {record.run_id}: record.json says {key} = {stated} on {gallery.protocol}, ranks.npz "
                f"{of_ranks:.4f}; {store.remedy(record.run_id)}"
            )
    return runs


def _rivals(store: RunStore, record: RunRecord, runs: MethodRuns, protocol: str) -> tuple[Rivals, ...] | None:
    """What stood ahead of the positives, from the kept scores; None without them or where they do not give these ranks.

    They do not where a protocol asks some of the queries, cuts the gallery into folds, counts other positives as
    correct, or breaks ties otherwise.
    """
    path = store.folder(record.run_id) / SCORES
    whole = protocol in OWN_GALLERY and len(np.unique(runs.fold)) == 1 and runs.image_queried.all()
    if not (whole and path.is_file()):
        return None
    scores = open_scores(path, len(runs.image_ids), len(runs.caption_ids))
    i2t, t2i = gallery_ranks(scores, runs.caption_image)
    if not (np.array_equal(i2t, runs.i2t_ranks[0]) and np.array_equal(t2i, runs.t2i_ranks[0])):
        return None
    return (find_rivals(scores, runs.caption_image),)
