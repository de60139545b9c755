"""The files of a frozen leaderboard, from recorded runs. The same runs give the same bytes: nothing here knows the time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from pydantic import ValidationError

from harness import __version__
from harness.errors import InvalidFrozen
from harness.files.hashing import sha256_bytes
from harness.files.names import safe_name
from harness.records.frozen.manifest import (
    LARGEST_FILE,
    MANIFEST,
    RUNS,
    SUMS,
    TABLE,
    Extended,
    FrozenFile,
    FrozenGallery,
    FrozenRun,
    Manifest,
)
from harness.records.frozen.opening import checksums
from harness.records.frozen.public import public_record
from harness.records.frozen.store import FrozenStore
from harness.records.frozen.tables import write_tables
from harness.records.ranks import RankTable
from harness.records.run import RunRecord
from harness.records.store import RunStore
from harness.reports.document.render import csv
from harness.reports.leaderboard.rows import board_frame, make_board
from harness.reports.runs.groups import Gallery, groups
from harness.reports.runs.loading import finished_records
from harness.reports.runs.stores import JoinedStore
from harness.settings.base import explain


@dataclass(frozen=True)
class About:
    """What the author of a frozen leaderboard says of it."""

    name: str
    version: str
    title: str
    license: str = ""
    citation: str = ""


def frozen_files(store: JoinedStore, about: About) -> tuple[Manifest, dict[str, bytes]]:
    """Freeze the runs of a store.

    Args:
        store: the runs.
        about: name, version and what else the manifest states.

    Returns:
        The manifest, and the content of every file by its path, the manifest's own included.

    Raises:
        InvalidRecord: a run is missing, damaged, or its files contradict each other.
        InvalidFrozen: runs on one gallery that were asked different queries, or a file that would be too large.
    """
    public = [public_record(record) for record in finished_records(store, store.run_ids)]
    records = {value["run_id"]: RunRecord.model_validate(value) for value in public}
    order = sorted(records, key=lambda run_id: (records[run_id].started, run_id))
    records = {run_id: records[run_id] for run_id in order}
    ranks = {run_id: store.ranks_of(record) for run_id, record in records.items() if record.has_ranks}
    galleries, files = _galleries(records, ranks)
    files[RUNS] = _json([next(v for v in public if v["run_id"] == run_id) for run_id in order])
    files[TABLE] = csv(table(_InMemory(records, ranks))).encode()
    manifest = _manifest(about, records, galleries, store.frozen, files)
    files[MANIFEST] = _json(manifest.model_dump(mode="json"))
    files[SUMS] = checksums({path: sha256_bytes(content) for path, content in files.items()})
    return manifest, files


def table(store: RunStore) -> pd.DataFrame:
    """The leaderboard of all runs of a store as one frame, as `leaderboard.csv` has it: all galleries, best rSum first."""
    boards = [make_board(store, gallery, members) for gallery, members in groups(store.records()).items()]
    return board_frame([row for board in boards for row in board.rows])


class _InMemory(RunStore):
    """Records as they are published, with their ranks: labels and tables are made from nothing else."""

    def __init__(self, records: Mapping[str, RunRecord], ranks: Mapping[str, dict[str, RankTable]]):
        super().__init__()
        self._records, self._ranks = records, ranks

    def records(self) -> list[RunRecord]:
        return list(self._records.values())

    def ranks(self, run_id: str) -> dict[str, RankTable]:
        return self._ranks[run_id]


def _galleries(
    records: Mapping[str, RunRecord], ranks: Mapping[str, dict[str, RankTable]]
) -> tuple[list[FrozenGallery], dict[str, bytes]]:
    """The galleries with the files of their ranks."""
    made: list[FrozenGallery] = []
    files: dict[str, bytes] = {}
    for gallery in groups(list(records.values())):
        tables = {
            run_id: ranks[run_id][gallery.protocol]
            for run_id, record in records.items()
            if record.has_ranks and _is_on(record, gallery)
        }
        first = next(iter(tables.values()), None)
        folder = "" if first is None else f"ranks/{safe_name(gallery.slug)}"
        if tables:
            written = write_tables(tables, gallery.title)
            files |= {f"{folder}/{name}": content for name, content in written.items()}
        made.append(
            FrozenGallery(
                dataset=gallery.dataset,
                split=gallery.split,
                protocol=gallery.protocol,
                data_sha256=gallery.data_sha256,
                images=0 if first is None else len(first.i2t_rank),
                captions=0 if first is None else len(first.t2i_rank),
                folds=0 if first is None else len(set(first.t2i_fold.tolist())),
                folder=folder,
            )
        )
    return made, files


def _is_on(record: RunRecord, gallery: Gallery) -> bool:
    place = (gallery.dataset, gallery.split, gallery.data_sha256)
    return (record.dataset, record.split, record.data_sha256) == place and "rsum" in record.metrics.get(
        gallery.protocol, {}
    )


def _manifest(
    about: About,
    records: Mapping[str, RunRecord],
    galleries: Sequence[FrozenGallery],
    extends: Sequence[FrozenStore],
    files: Mapping[str, bytes],
) -> Manifest:
    large = next((path for path, content in files.items() if len(content) > LARGEST_FILE), None)
    if large:
        raise InvalidFrozen(
            f"{large} would have {len(files[large]):,} bytes, at most {LARGEST_FILE:,} fit; freeze fewer runs"
        )
    labels: dict[str, str] = {}
    for members in groups(list(records.values())).values():
        for group in members:
            for run_id in (*group.run_ids, *group.replaced):
                labels.setdefault(run_id, group.label)
    try:
        return Manifest(
            name=about.name,
            version=about.version,
            title=about.title,
            license=about.license,
            citation=about.citation,
            harness_version=__version__,
            code=tuple(sorted({record.code.revision for record in records.values()} - {"unknown"})),
            last_finished=max(record.finished or record.started for record in records.values()),
            galleries=tuple(galleries),
            runs=tuple(_short(record, labels.get(record.run_id, record.label)) for record in records.values()),
            extends=tuple(
                Extended(name=s.manifest.name, version=s.manifest.version, sha256=s.sha256)
                for s in sorted(extends, key=lambda s: (s.manifest.name, s.manifest.version, s.sha256))
            ),
            files=tuple(
                FrozenFile(path=path, sha256=sha256_bytes(content), bytes=len(content))
                for path, content in sorted(files.items())
            ),
        )
    except ValidationError as error:
        raise InvalidFrozen(f"these runs cannot be frozen: {explain(Manifest, error)}") from None


def _short(record: RunRecord, label: str) -> FrozenRun:
    return FrozenRun(
        run_id=record.run_id,
        method=label,
        backbone=record.backbone,
        seed=record.seed,
        origin=record.origin,
        ties=record.ties,
        protocols=record.protocols,
    )


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
