"""The base of sections that plug-ins add to a report, and the runs that they are given."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
import pandas as pd

from harness.errors import UnknownName
from harness.records.ranks import RankTable
from harness.records.run import RunRecord
from harness.records.store import RunStore
from harness.reports.document.model import Section
from harness.reports.runs.frames import results_frame
from harness.reports.runs.groups import groups


@dataclass(frozen=True, eq=False)
class Runs:
    """The finished runs of a leaderboard, as copies: nothing that a section does to them reaches another.

    Args:
        records: everything that is recorded of each run: metrics by protocol, settings, costs, environment.
        labels: by run id, the name of its method on the leaderboard; the seeds of one method share it.
        read: the ranks of a run by protocol.
    """

    records: tuple[RunRecord, ...]
    labels: Mapping[str, str]
    read: Callable[[RunRecord], Mapping[str, RankTable]]

    @classmethod
    def of(cls, store: RunStore, run_ids: Sequence[str]) -> Runs:
        """The runs of a store.

        Raises:
            InvalidRecord: one is missing or damaged.
        """
        records = [store.require(run_id) for run_id in run_ids]
        labels = {record.run_id: record.label for record in records}
        for members in reversed(groups(records).values()):  # the first gallery names a run
            labels |= {run_id: group.label for group in members for run_id in group.run_ids}
        return cls(tuple(record.model_copy(deep=True) for record in records), labels, store.ranks_of)

    def ranks(self, run_id: str) -> dict[str, RankTable]:
        """The rank of every query by protocol, read from the run's file; arrays that cannot be written.

        A run with averages only has none.

        Raises:
            UnknownName: not one of these runs.
            InvalidRecord: its file is damaged.
        """
        record = next((record for record in self.records if record.run_id == run_id), None)
        if record is None:
            raise UnknownName("run of the leaderboard", run_id, [record.run_id for record in self.records])
        if not record.has_ranks:
            return {}
        return {protocol: _read_only(table) for protocol, table in self.read(record).items()}

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row per run with the columns of `harness.results_df`, and `label`, the name of its method."""
        frame = results_frame(self.records)
        frame.insert(1, "label", [self.labels[run_id] for run_id in frame["run_id"]])
        return frame


class ReportSection(ABC):
    """A section at the end of a leaderboard.

    Attributes:
        description: one line.
    """

    description: ClassVar[str] = ""

    @abstractmethod
    def build(self, runs: Runs) -> Section | None:
        """The section, or None where it has nothing to say of these runs.

        Args:
            runs: all runs of the page, whatever their protocols.

        Returns:
            Sentences, tables and figures as data; every format is made of them. Texts are escaped where they are shown. The
            keys of its tables and figures need to be unique within the section only.
        """


def _read_only(table: RankTable) -> RankTable:
    columns = {}
    for field in fields(table):
        column = np.array(getattr(table, field.name))
        column.flags.writeable = False
        columns[field.name] = column
    return replace(table, **columns)
