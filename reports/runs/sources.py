"""What users name, read as what can be compared: run folders, leaderboards, run ids and foreign rank files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from harness.errors import InvalidRecord, UnknownName
from harness.records.run import RunRecord
from harness.reports.runs.foreign import ForeignRun
from harness.reports.runs.groups import groups, too_short, too_short_sentence
from harness.reports.runs.loading import finished_records
from harness.reports.runs.rank_csv import Origin, read_rank_csv
from harness.reports.runs.stores import join
from harness.reports.runs.subjects import Subject, Wanted, first_place_remarks, of_records, with_foreign
from harness.reports.runs.trec import is_trec_folder, read_trec
from harness.reports.statistics.telling import Tell, silent


def read_sources(
    sources: Sequence[str],
    results: Path,
    *,
    datasets: Sequence[str] = (),
    protocols: Sequence[str] = (),
    depth: int = 10,
    ranks_from: Origin | None = None,
    tell: Tell = silent,
) -> list[Subject]:
    """Everything that can be compared, one subject per gallery.

    Args:
        sources: results folders, leaderboard folders, frozen leaderboards (folder, zip or address), run folders, run ids
            below `results`, rank CSVs, TREC folders.
        results: where run ids are looked up.
        datasets, protocols: keep only these; all if empty.
        depth, ranks_from: see `read_trec` and `read_rank_csv`.
        tell: told of how far it is.

    Returns:
        Subjects in the order met.

    Raises:
        InvalidRecord: a source that is none of these, or is damaged.
        NotFetched: an address that cannot be read.
        UnknownName: a dataset or protocol that nothing was recorded for.
        InvalidComparison: runs of one method that contradict each other.
    """
    recorded: list[str] = []
    foreign: list[ForeignRun] = []
    for source in sources:
        path = Path(source)
        if is_trec_folder(path):
            foreign += read_trec(path, depth)
        elif path.suffix.lower() == ".csv" and path.is_file():
            foreign += read_rank_csv(path, ranks_from)
        else:
            recorded.append(source)
    store = join(recorded, results, tell)
    records = finished_records(store, store.run_ids)
    galleries = groups(records)
    _check_names("dataset", datasets, [g.dataset for g in galleries], foreign)
    _check_names("protocol", protocols, [g.protocol for g in galleries], foreign)
    wanted = Wanted(datasets, protocols)
    chosen = [gallery for gallery in galleries if wanted.takes(gallery.dataset, gallery.protocol)]
    subjects = [of_records(store, gallery, galleries[gallery], chosen, tell=tell) for gallery in chosen]
    subjects = with_foreign(subjects, foreign, wanted)
    if not subjects:
        raise InvalidRecord(
            f"nothing to compare for dataset {' or '.join(datasets) or 'any'} with protocol "
            f"{' or '.join(protocols) or 'any'}; see `itm ls runs`"
        )
    return [_with_remarks(subject, records) for subject in subjects]


def _with_remarks(subject: Subject, records: Sequence[RunRecord]) -> Subject:
    near = [record for record in records if record.dataset == subject.dataset and subject.protocol in record.protocols]
    remarks = (*subject.remarks, *first_place_remarks(subject.methods), *too_short_sentence(near))
    return replace(subject, too_short=too_short(near), remarks=remarks)


def _check_names(kind: str, wanted: Iterable[str], known: Sequence[str], foreign: Sequence[ForeignRun]) -> None:
    stated = [getattr(run, kind) for run in foreign]
    if not known and not all(stated):
        return  # foreign files that do not say what they are about are about what the user says
    for name in wanted:
        if name not in known and name not in stated:
            raise UnknownName(kind, name, sorted({*known, *filter(None, stated)}))
