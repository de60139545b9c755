"""What users name, read as what can be compared: run folders, leaderboards, run ids and foreign rank files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from harness.errors import InvalidRecord, UnknownName, did_you_mean
from harness.files.kinds import identify, mismatch
from harness.files.names import is_safe_name
from harness.files.reading import Damaged, read_json
from harness.records.store import RunStore
from harness.reports.runs.foreign import ForeignRun
from harness.reports.runs.groups import groups
from harness.reports.runs.loading import finished_records, sound_records
from harness.reports.runs.rank_csv import Origin, read_rank_csv
from harness.reports.runs.subjects import Subject, Wanted, first_place_remarks, of_records, with_foreign
from harness.reports.runs.trec import is_trec_folder, read_trec


class _JoinedStore(RunStore):
    """Runs from several results folders, by run id, read as if they lay in one, which messages name."""

    def __init__(self, folders: dict[str, Path], results: Path):
        super().__init__(results)
        self.folders = folders

    def folder(self, run_id: str) -> Path:
        return self.folders.get(run_id) or super().folder(run_id)


def read_sources(
    sources: Sequence[str],
    results: Path,
    *,
    datasets: Sequence[str] = (),
    protocols: Sequence[str] = (),
    depth: int = 10,
    ranks_from: Origin | None = None,
) -> list[Subject]:
    """Everything that can be compared, one subject per gallery.

    Args:
        sources: results folders, leaderboard folders, run folders, run ids below `results`, rank CSVs, TREC folders.
        results: where run ids are looked up.
        datasets, protocols: keep only these; all if empty.
        depth, ranks_from: see `read_trec` and `read_rank_csv`.

    Returns:
        Subjects in the order met.

    Raises:
        InvalidRecord: a source that is none of these, or is damaged.
        UnknownName: a dataset or protocol that nothing was recorded for.
        InvalidComparison: runs of one method that contradict each other.
    """
    folders: dict[str, Path] = {}
    foreign: list[ForeignRun] = []
    for source in sources:
        path = Path(source)
        if is_trec_folder(path):
            foreign += read_trec(path, depth)
        elif path.suffix.lower() == ".csv" and path.is_file():
            foreign += read_rank_csv(path, ranks_from)
        else:
            folders |= {
                run_id: at for run_id, at in _run_folders(path, source, results).items() if run_id not in folders
            }
    store = _JoinedStore(folders, results)
    galleries = groups(finished_records(store, folders))
    _check_names("dataset", datasets, [g.dataset for g in galleries], foreign)
    _check_names("protocol", protocols, [g.protocol for g in galleries], foreign)
    wanted = Wanted(datasets, protocols)
    chosen = [gallery for gallery in galleries if wanted.takes(gallery.dataset, gallery.protocol)]
    subjects = [of_records(store, gallery, galleries[gallery], chosen) for gallery in chosen]
    subjects = with_foreign(subjects, foreign, wanted)
    if not subjects:
        raise InvalidRecord(
            f"nothing to compare for dataset {' or '.join(datasets) or 'any'} with protocol "
            f"{' or '.join(protocols) or 'any'}; see `itm ls runs`"
        )
    return [replace(s, remarks=(*s.remarks, *first_place_remarks(s.methods))) for s in subjects]


def output_root(sources: Sequence[str], results: Path) -> Path:
    """The results folder of the first source that has one, else `results`."""
    for source in sources:
        path = Path(source)
        if (path / "runs").is_dir():
            return path
        if (path / "leaderboard.json").is_file() or (path / "record.json").is_file():
            return _above(path)
    return results


def _run_folders(path: Path, source: str, results: Path) -> dict[str, Path]:
    """The folders of the runs that a source names, by run id."""
    store = RunStore(results)
    if (path / "leaderboard.json").is_file():
        board = RunStore(_above(path))
        return {run_id: board.folder(run_id) for run_id in _leaderboard_runs(path / "leaderboard.json")}
    if (path / "record.json").is_file():
        return {path.absolute().name: path}
    if (path / "runs").is_dir():
        given = RunStore(path)
        return {record.run_id: given.folder(record.run_id) for record in sound_records(given)}
    if not path.exists() and "/" not in source and (store.folder(source) / "record.json").is_file():
        return {source: store.folder(source)}
    raise InvalidRecord(_what_it_is(path, source, results))


def _what_it_is(path: Path, source: str, results: Path) -> str:
    """Why a source names no runs."""
    if path.is_dir():
        return (
            f"{path} is no results folder (runs/), leaderboard (leaderboard.json), run (record.json), rank CSV or TREC "
            "folder (i2t.qrels, t2i.qrels); see docs/significance.md"
        )
    if path.exists():
        inside = identify(path).key in ("trec-run", "qrels", "npz")
        return mismatch(
            path,
            "a results folder, a run's folder, a rank CSV, or a folder of TREC runs with i2t.qrels and t2i.qrels",
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


def _check_names(kind: str, wanted: Iterable[str], known: Sequence[str], foreign: Sequence[ForeignRun]) -> None:
    stated = [getattr(run, kind) for run in foreign]
    if not known and not all(stated):
        return  # foreign files that do not say what they are about are about what the user says
    for name in wanted:
        if name not in known and name not in stated:
            raise UnknownName(kind, name, sorted({*known, *filter(None, stated)}))
