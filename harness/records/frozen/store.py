"""A frozen leaderboard that was opened and checked: records and ranks as those of a results folder, from memory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from harness.records.frozen.manifest import MANIFEST, Manifest
from harness.records.ranks import RankTable
from harness.records.run import RunRecord
from harness.records.store import RunStore

#: Below no folder: a frozen leaderboard has no scores, weights or lists of results, and nothing is written into it.
_NOWHERE = Path(os.devnull)


class FrozenStore(RunStore):
    """The runs of a frozen leaderboard, whose files have the hashes that its manifest states.

    Args:
        place: where it was read, for messages.
        manifest: as read.
        sha256: of the manifest, which holds the hashes of all other files.
        records: by run id.
        tables: ranks by run id and protocol.
    """

    def __init__(
        self,
        place: str,
        manifest: Manifest,
        sha256: str,
        records: Mapping[str, RunRecord],
        tables: Mapping[str, Mapping[str, RankTable]],
    ):
        super().__init__(_NOWHERE)
        self.place, self.manifest, self.sha256 = place, manifest, sha256
        self._records, self._tables = dict(records), tables

    def read(self, run_id: str) -> RunRecord | None:
        return self._records.get(run_id)

    def records(self) -> list[RunRecord]:
        return sorted(self._records.values(), key=lambda record: (record.started, record.run_id))

    def ranks(self, run_id: str) -> dict[str, RankTable]:
        return dict(self._tables.get(run_id, {}))

    def rank_file(self, run_id: str) -> tuple[str, str]:
        return f"leaderboard {self.manifest.label}, {MANIFEST}", self.sha256

    def remedy(self, run_id: str) -> str:
        return f"leaderboard {self.manifest.label} contradicts itself: tell its author"
