"""From the records of runs to their ranks: runs that differ only in their seed, as one method."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from harness.errors import InvalidRecord
from harness.records.ranks import OWN_GALLERY
from harness.records.run import RankTable, RunRecord, RunStore
from harness.records.scores import SCORES, open_scores
from harness.records.ties import Ties
from harness.reports.runs.groups import Gallery, Group
from harness.reports.statistics.errors import InvalidComparison
from harness.reports.statistics.hits import RECALLS, image_columns
from harness.reports.statistics.refusals import aligned
from harness.reports.statistics.rivals import Rivals, find_rivals, gallery_ranks
from harness.reports.statistics.runs import MethodRuns, joined_seeds

# Recalls of a record and of its ranks may differ by rounding, not by a query: 5 queries in 100,000 are 0.005.
_TOLERANCE = 0.005

logger = logging.getLogger(__name__)


def finished_records(store: RunStore, run_ids: Iterable[str]) -> list[RunRecord]:
    """The finished records of some runs, each once.

    Raises:
        InvalidRecord: a run is missing, damaged or did not finish.
    """
    records = []
    for run_id in dict.fromkeys(run_ids):
        record = store.read(run_id)
        if record is None or record.status != "finished":
            state = "no record" if record is None else f"status '{record.status}'"
            raise InvalidRecord(
                f"run {run_id} below {store.results}/runs has {state}, a finished one is needed; run it"
            )
        records.append(record)
    return records


def sound_records(store: RunStore, records: Iterable[RunRecord] | None = None) -> list[RunRecord]:
    """The finished runs of a folder whose ranks can be read and agree with their metrics.

    Of each one that is left out a line says why: one damaged run must not take the report of all others away.

    Args:
        store: where they lie.
        records: those to look at; None = all of the store.
    """
    sound = []
    for record in store.records() if records is None else records:
        if record.status != "finished":
            continue
        try:
            check_record(store, record)
        except (InvalidRecord, InvalidComparison) as error:
            logger.warning("run %s is left out: %s", record.run_id, error)
        else:
            sound.append(record)
    return sound


def check_record(store: RunStore, record: RunRecord) -> None:
    """Refuse a finished run whose ranks are missing, damaged, or not those of its metrics.

    Raises:
        InvalidRecord: what is wrong, in one line.
    """
    if record.origin != "measured":
        return
    for protocol, metrics in record.metrics.items():
        if "rsum" in metrics:
            gallery = Gallery(record.dataset, record.split, record.data_sha256, protocol)
            _checked_runs(store, record, gallery, record.label, protocol)


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
    one_a_seed = [_of_seed(store, group, record) for record in group.records]
    if rivals:
        one_a_seed = [
            replace(runs, rivals=_rivals(store, record, runs, group.gallery.protocol))
            for runs, record in zip(one_a_seed, group.records, strict=True)
        ]
    if len(one_a_seed) == 1:
        return replace(one_a_seed[0], name=group.label)
    ordered = aligned(one_a_seed)
    return replace(
        ordered[0],
        name=group.label,
        seeds=group.seeds,
        **joined_seeds(ordered),
        rivals=_joined([runs.rivals for runs in ordered]),
    )


def _joined(seeds: Sequence[tuple[Rivals, ...] | None]) -> tuple[Rivals, ...] | None:
    known = [own for own in seeds if own is not None]
    return tuple(rivals for own in known for rivals in own) if len(known) == len(seeds) else None


def _rivals(store: RunStore, record: RunRecord, runs: MethodRuns, protocol: str) -> tuple[Rivals, ...] | None:
    """What stood ahead of the positives, from the kept scores; None without them or where they do not give these ranks.

    They do not where a protocol asks a part of the queries, cuts the gallery into folds, counts other positives as
    correct, or breaks ties otherwise.
    """
    path = store.folder(record.run_id) / SCORES
    if (
        protocol not in OWN_GALLERY
        or not path.is_file()
        or len(np.unique(runs.fold)) > 1
        or not runs.image_queried.all()
    ):
        return None
    scores = open_scores(path, len(runs.image_ids), len(runs.caption_ids))
    i2t, t2i = gallery_ranks(scores, runs.caption_image)
    if not (np.array_equal(i2t, runs.i2t_ranks[0]) and np.array_equal(t2i, runs.t2i_ranks[0])):
        return None
    return (find_rivals(scores, runs.caption_image),)


def tie_rule(record: RunRecord) -> Ties:
    """The tie rule of a record's metrics and ranks."""
    return record.ties  # type: ignore[return-value]


def _of_seed(store: RunStore, group: Group, record: RunRecord) -> MethodRuns:
    protocol = group.gallery.protocol
    return _checked_runs(store, record, group.gallery, f"{group.label} seed {record.seed}", protocol)


def _checked_runs(store: RunStore, record: RunRecord, gallery: Gallery, name: str, protocol: str) -> MethodRuns:
    runs = runs_of_table(
        store.ranks_of(record)[protocol], name=name, seed=record.seed, gallery=gallery, ties=tie_rule(record)
    )
    _check_metrics(store, record, protocol, runs)
    return runs


def runs_of_table(
    table: RankTable, *, name: str, seed: int, gallery: Gallery, ties: Ties = "pessimistic"
) -> MethodRuns:
    """One seed's rank table, whose ranks are under a tie rule, as `MethodRuns`.

    A table of an earlier version does not hold what the expected rule needs; its mean ranks count as they are.

    An image that only captions are about (human-judged subsets query some images only) counts as a unit without a query
    of its own.
    """
    images = table.i2t_image_id.tolist()
    asked = set(images)
    fold = dict(zip(images, table.i2t_fold.tolist(), strict=True))
    for image, number in zip(table.t2i_image_id.tolist(), table.t2i_fold.tolist(), strict=True):
        if image not in fold:
            images.append(image)
            fold[image] = number
    row = {image: index for index, image in enumerate(images)}
    unasked = len(images) - len(table.i2t_rank)
    i2t_ties = t2i_ties = None
    if ties == "expected" and table.i2t_best_tied.all() and table.t2i_best_tied.all():
        undecided = np.stack([table.i2t_ties, table.i2t_best_tied], 1)
        i2t_ties = np.concatenate([undecided, np.tile([0, 1], (unasked, 1))])
        t2i_ties = np.stack([table.t2i_ties, table.t2i_best_tied], 1)
    return MethodRuns(
        name=name,
        seeds=(seed,),
        i2t_ranks=np.concatenate([np.asarray(table.i2t_rank, dtype=np.float64), np.zeros(unasked)]),
        t2i_ranks=table.t2i_rank,
        i2t_ties=i2t_ties,
        t2i_ties=t2i_ties,
        caption_image=np.asarray([row[image] for image in table.t2i_image_id.tolist()], dtype=np.int64),
        image_ids=images,
        caption_ids=table.t2i_caption_id.tolist(),
        fold=np.asarray([fold[image] for image in images]),
        image_queried=np.asarray([image in asked for image in images]),
        gallery=f"{gallery.title} ({gallery.data_sha256[:12]})",
    )


def _check_metrics(store: RunStore, record: RunRecord, protocol: str, runs: MethodRuns) -> None:
    """Refuse a record whose recalls are not those of its ranks: one of the two files is not of this run."""
    scores = image_columns([runs], RECALLS).seed_scores[0][0]
    computed = [*scores.tolist(), float(np.sum(scores))]
    for name, of_ranks in zip((*RECALLS, "rsum"), computed, strict=True):
        stated = record.metrics[protocol].get(name)
        if stated is None or abs(stated - of_ranks) > _TOLERANCE * (len(RECALLS) if name == "rsum" else 1):
            raise InvalidRecord(
                f"run {record.run_id}: record.json says {name} = {stated} on {protocol}, ranks.npz {of_ranks:.4f}; "
                f"delete {store.folder(record.run_id)} to run it again"
            )
