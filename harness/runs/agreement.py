"""Whether the files of a run agree: the metrics of its record, its ranks, its scores and its data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from harness import protocols
from harness.datasets.base import Dataset
from harness.errors import InvalidDataset, InvalidRecord
from harness.metrics import metrics_from_ties
from harness.protocols.folds import FoldProtocol
from harness.records.ranks import RankTable
from harness.records.run import RunRecord
from harness.records.scores import SCORES
from harness.records.ties import TiedRanks, Ties


class NotDecidedByRanks(InvalidRecord):
    """Sound ranks of a run do not hold what was asked of them; its scores would."""


# Metrics that are computed again may differ in their last bits, by the order of a sum.
_TOLERANCE = 1e-6
# Under the expected rule recalls and medians depend on how a harness's version defines them, the ranks do not.
_OF_RANKS = ("i2t_meanr", "t2i_meanr", "tie_rate")


def check_agreement(record: RunRecord, tables: Mapping[str, RankTable]) -> None:
    """Refuse ranks that do not give the metrics of their record, where ranks alone decide them.

    Raises:
        InvalidRecord: which metric of which protocol.
    """
    for name, stated in record.metrics.items():
        if name in tables and name in protocols.PROTOCOLS and isinstance(protocols.get(name), FoldProtocol):
            if record.ties == "expected" and _undecided(tables[name]).any():
                continue  # of an earlier version, which thresholded mean ranks
            check_metrics(
                record, name, stated, metrics_from_table(record, name, tables[name], record.ties), "ranks.npz"
            )


def check_metrics(
    record: RunRecord, protocol: str, stated: Mapping[str, float], computed: Mapping[str, float], source: str
) -> None:
    """Refuse metrics that were computed again and are not those of the record.

    Args:
        record: of the run.
        protocol: of the metrics.
        stated: what the record says.
        computed: what the file `source` gives.
        source: name of a file.

    Raises:
        InvalidRecord: which metric.
    """
    keys = stated.keys() & computed.keys()
    for key in sorted(keys.intersection(_OF_RANKS) if record.ties == "expected" else keys):
        if abs(stated[key] - computed[key]) > _TOLERANCE * max(1.0, abs(stated[key])):
            raise InvalidRecord(
                f"run {record.run_id}: record.json says {key} = {stated[key]:g} on {protocol}, {source} gives "
                f"{computed[key]:g}; one of the two files is not of this run; delete the run's folder to run it again"
            )


def check_data(record: RunRecord, dataset: Dataset, advice: str) -> None:
    """Refuse data that are not those of a run.

    Raises:
        InvalidDataset: their hashes differ; ends with the advice.
    """
    if dataset.sha256 != record.data_sha256:
        raise InvalidDataset(
            f"the data of '{dataset.title}' are not those of run {record.run_id} (SHA-256 {dataset.sha256[:12]}, recorded "
            f"{record.data_sha256[:12]}); {advice}"
        )


def metrics_from_table(record: RunRecord, protocol: str, table: RankTable, rule: Ties) -> dict[str, float]:
    """Metrics under a tie rule from the ranks of a protocol: means over its folds.

    Raises:
        NotDecidedByRanks: the ranks do not decide them.
    """
    require_decided(record, protocol, table, rule)
    # Where it is unknown how many positives tie, no rule that needs it is asked for, or nothing ties.
    i2t = TiedRanks.from_ranks(table.i2t_rank, table.i2t_ties, np.maximum(table.i2t_best_tied, 1), record.ties)
    t2i = TiedRanks.from_ranks(table.t2i_rank, table.t2i_ties, np.maximum(table.t2i_best_tied, 1), record.ties)
    parts = [
        metrics_from_ties(i2t.of(table.i2t_fold == fold), t2i.of(table.t2i_fold == fold), rule)
        for fold in np.unique(table.i2t_fold)
    ]
    return {key: float(np.mean([part[key] for part in parts])) for key in parts[0]}


def require_decided(record: RunRecord, protocol: str, table: RankTable, rule: Ties) -> None:
    """Refuse ranks that do not hold what the expected rule needs; errors as `metrics_from_table`."""
    lacking = _undecided(table)
    if lacking.any() and "expected" in (record.ties, rule):
        raise NotDecidedByRanks(
            f"run {record.run_id} has no {SCORES}: {int(np.count_nonzero(lacking))} image queries of protocol {protocol} "
            "tie, and its ranks, of an earlier version, do not hold what the expected rule needs"
        )


def table_under(record: RunRecord, table: RankTable, rule: Ties) -> RankTable:
    """A record's table with the ranks that another tie rule gives."""
    if rule == record.ties:
        return table
    ranks = {}
    for way in ("i2t", "t2i"):
        rank, wrong, correct = (getattr(table, f"{way}_{column}") for column in ("rank", "ties", "best_tied"))
        tied = TiedRanks.from_ranks(rank, wrong, np.maximum(correct, 1), record.ties)
        ranks[f"{way}_rank"] = tied.ranks(rule)
    return replace(table, **ranks)


def _undecided(table: RankTable) -> np.ndarray:
    """(I,) bool, image queries that tie and whose number of tied positives is unknown."""
    return (table.i2t_best_tied == 0) & (table.i2t_ties > 0)
