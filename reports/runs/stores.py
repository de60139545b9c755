"""The recorded runs that users name: results folders, leaderboards, frozen ones, run folders and run ids, as one store."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from harness.errors import InvalidRecord, counted, did_you_mean
from harness.files.kinds import identify, mismatch
from harness.files.names import is_safe_name
from harness.files.reading import Damaged, read_json
from harness.records.frozen.opening import is_frozen, open_frozen
from harness.records.frozen.store import FrozenStore
from harness.records.ranks import RankTable
from harness.records.run import RunRecord
from harness.records.store import RunStore
from harness.reports.runs.loading import sound_records
from harness.reports.statistics.telling import Tell, silent

logger = logging.getLogger(__name__)


class JoinedStore(RunStore):
    """Runs from several places, by run id, read as if they lay in one results folder, which messages name.

    Args:
        stores: where each run lies, in the order of the runs.
        results: for messages.
    """

    def __init__(self, stores: Mapping[str, RunStore], results: Path):
        super().__init__(results)
        self.stores = dict(stores)

    @property
    def run_ids(self) -> tuple[str, ...]:
        """The runs, in their order."""
        return tuple(self.stores)

    @property
    def frozen(self) -> list[FrozenStore]:
        """The frozen leaderboards among the places that runs are taken from, each once."""
        return [store for store in dict.fromkeys(self.stores.values()) if isinstance(store, FrozenStore)]

    def titles(self, run_ids: Iterable[str]) -> list[str]:
        """The places that some runs are taken from: names and versions, and the names of results folders."""
        stores = dict.fromkeys(self.stores[run_id] for run_id in run_ids)
        return [s.manifest.label if isinstance(s, FrozenStore) else s.results.resolve().name for s in stores]

    def folder(self, run_id: str) -> Path:
        return self._of(run_id).folder(run_id) if run_id in self.stores else super().folder(run_id)

    def read(self, run_id: str) -> RunRecord | None:
        return self._of(run_id).read(run_id) if run_id in self.stores else super().read(run_id)

    def records(self) -> list[RunRecord]:
        found = [self.read(run_id) for run_id in self.stores]
        return [record for record in found if record is not None]

    def ranks(self, run_id: str) -> dict[str, RankTable]:
        return self._of(run_id).ranks(run_id) if run_id in self.stores else super().ranks(run_id)

    def rank_file(self, run_id: str) -> tuple[str, str]:
        return self._of(run_id).rank_file(run_id) if run_id in self.stores else super().rank_file(run_id)

    def remedy(self, run_id: str) -> str:
        return self._of(run_id).remedy(run_id) if run_id in self.stores else super().remedy(run_id)

    def _of(self, run_id: str) -> RunStore:
        return self.stores[run_id]


def join(sources: Sequence[str], results: Path, tell: Tell = silent) -> JoinedStore:
    """The runs of some sources, each once: of two that hold a run, the first counts.

    Args:
        sources: results folders, leaderboard folders, frozen leaderboards, run folders, run ids below `results`.
        results: where run ids are looked up.
        tell: told of how far it is.

    Raises:
        InvalidRecord: a source that is none of these, or is damaged.
        NotFetched: an address that cannot be read.
    """
    stores: dict[str, RunStore] = {}
    said: dict[str, str] = {}
    for source in sources:
        store, run_ids = _runs_of(source, results, tell)
        again = [run_id for run_id in run_ids if run_id in stores]
        for run_id in again:
            _tell_other_numbers(run_id, stores[run_id], store, said[run_id], source)
        if again and said[again[0]] != source:
            logger.info("%s of %s are there already and count once", counted(len(again), "run"), source)
        new = {run_id: store for run_id in run_ids if run_id not in stores}
        stores |= new
        said |= dict.fromkeys(new, source)
    return JoinedStore(stores, results)


def whole_folder(results: Path, tell: Tell = silent) -> JoinedStore:
    """All sound runs of a results folder.

    Args:
        results: the folder.
        tell: told of how far it is.

    Raises:
        InvalidRecord: there is none, or it is a file.
    """
    if results.is_file():
        expected = "a results folder, a leaderboards/NAME folder, a run's folder or a frozen leaderboard"
        raise InvalidRecord(mismatch(results, expected, "name the folder that runs/ lies in"))
    store = RunStore(results)
    return JoinedStore({record.run_id: store for record in sound_records(store, tell)}, results)


def results_folder(sources: Sequence[str], results: Path) -> Path:
    """The results folder of the first source that has one, else `results`; nothing is written to a frozen leaderboard."""
    for source in sources:
        path = Path(source)
        if is_frozen(source):
            continue
        if (path / "runs").is_dir():
            return path
        if (path / "leaderboard.json").is_file() or (path / "record.json").is_file():
            return _above(path)
    return results


def _tell_other_numbers(run_id: str, kept: RunStore, other: RunStore, first: str, second: str) -> None:
    ours, theirs = kept.read(run_id), other.read(run_id)
    if ours is not None and theirs is not None and ours.metrics != theirs.metrics:
        logger.warning("run %s has other numbers in %s than in %s; those of %s count", run_id, second, first, first)


def _runs_of(source: str, results: Path, tell: Tell) -> tuple[RunStore, list[str]]:
    """Where the runs that a source names lie, and their ids."""
    if is_frozen(source):
        frozen = open_frozen(source)
        return frozen, [record.run_id for record in frozen.records()]
    path, store = Path(source), RunStore(results)
    if (path / "leaderboard.json").is_file():
        return RunStore(_above(path)), _leaderboard_runs(path / "leaderboard.json")
    if (path / "record.json").is_file():
        run_id = path.absolute().name
        return _RunFolder(run_id, path), [run_id]
    if (path / "runs").is_dir():
        given = RunStore(path)
        return given, [record.run_id for record in sound_records(given, tell)]
    if not path.exists() and "/" not in source and (store.folder(source) / "record.json").is_file():
        return store, [source]
    raise InvalidRecord(_what_it_is(path, source, results))


class _RunFolder(RunStore):
    """One run, wherever its folder lies."""

    def __init__(self, run_id: str, path: Path):
        super().__init__(_above(path))
        self.run_id, self.path = run_id, path

    def folder(self, run_id: str) -> Path:
        return self.path if run_id == self.run_id else super().folder(run_id)


def _what_it_is(path: Path, source: str, results: Path) -> str:
    """Why a source names no runs."""
    if path.is_dir():
        return (
            f"{path} is no results folder (runs/), leaderboard (leaderboard.json), frozen leaderboard (frozen.json), run "
            "(record.json), rank CSV or TREC folder (i2t.qrels, t2i.qrels); see docs/significance.md"
        )
    if path.exists():
        inside = identify(path).key in ("trec-run", "qrels", "npz")
        return mismatch(
            path,
            "a results folder, a run's folder, a frozen leaderboard, a rank CSV, or a folder of TREC runs with i2t.qrels "
            "and t2i.qrels",
            "give the folder that it lies in" if inside else "see docs/significance.md",
        )
    known = [folder.name for folder in sorted((results / "runs").glob("*")) if (folder / "record.json").is_file()]
    hint = did_you_mean(source, known) if len(known) <= 10 else f"; {len(known)} runs lie below {results}/runs"
    return f"no file, folder or run '{source}'{hint}"


def _above(folder: Path) -> Path:
    """The results folder of a run's or a leaderboard's."""
    return folder.absolute().parent.parent


def _leaderboard_runs(path: Path) -> list[str]:
    try:
        run_ids = read_json(path)["data"]["run_ids"]
    except (Damaged, KeyError, TypeError) as error:
        raise InvalidRecord(f"cannot read the run ids of {path}: {error!r:.200}; make it again") from None
    if not isinstance(run_ids, list) or not run_ids or not all(is_safe_name(run_id) for run_id in run_ids):
        raise InvalidRecord(f"{path} names no runs, or some that are not ids; make it again with `itm leaderboard`")
    return run_ids
