"""What a results folder holds, read once for all pages."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.errors import InvalidRecord
from harness.files.names import is_safe_name, safe_name
from harness.records.cards import Cards
from harness.records.exhibits import Exhibits, exhibits_folder, folder_name, read_exhibits
from harness.records.run import RunRecord
from harness.records.store import TOP, RunStore
from harness.reports.document.model import Report
from harness.reports.document.stored import read_report

logger = logging.getLogger(__name__)

#: Folder of the site below the results.
SITE = "site"
#: Folders of the results that hold no reports, and folders of the site that hold other pages than those of reports.
_OTHERS = {"runs", SITE, "mlartifacts", "mlruns", "alignments", "assets", "exhibits", "galleries"}


@dataclass(frozen=True, eq=False)
class StoredPage:
    """A report that a command wrote."""

    kind: str  #: the folder of its kind: "leaderboards"
    name: str  #: of the page: the folder's, "quickstart"
    file: Path  #: its JSON
    report: Report
    written: datetime

    @cached_property
    def run_ids(self) -> tuple[str, ...]:
        """The runs that it shows, as far as it names them."""
        return tuple(dict.fromkeys(filter(is_safe_name, named_runs(self.report.data))))

    @property
    def study(self) -> str:
        """The study that it is about; empty if it is of another kind."""
        study = self.report.data.get("study")
        return str(study.get("study", "")) if isinstance(study, Mapping) else ""

    @property
    def path(self) -> str:
        """Of its page in the site."""
        return f"{self.kind}/{self.name}.html"


class Results:
    """A results folder, as far as the site shows it. Damaged parts are left out, with one line each.

    Args:
        store: the runs, and the folder that they lie in.
    """

    def __init__(self, store: RunStore):
        self.store = store
        self.site = store.results / SITE
        self._exhibits: dict[Path, Exhibits | None] = {}

    @cached_property
    def name(self) -> str:
        """What the folder is called."""
        return self.store.results.resolve().name

    @cached_property
    def records(self) -> dict[str, RunRecord]:
        """All finished and failed runs by id, oldest first."""
        return {record.run_id: record for record in self.store.records() if record.status != "running"}

    @cached_property
    def finished(self) -> dict[str, RunRecord]:
        """The finished runs by id, oldest first."""
        return {run_id: record for run_id, record in self.records.items() if record.status == "finished"}

    @cached_property
    def reports(self) -> list[StoredPage]:
        """The reports of all commands, the latest first."""
        return sorted(self._stored(), key=lambda page: (page.written, page.path), reverse=True)

    def appearances(self, run_id: str) -> list[StoredPage]:
        """The reports that show a run, or the study that found its settings."""
        study = self.records[run_id].tuning.study if run_id in self.records else ""
        return [page for page in self.reports if run_id in page.run_ids or (study and page.study == study)]

    def runs_of(self, page: StoredPage) -> list[RunRecord]:
        """The runs that a report shows; of a sweep, those that have the settings it found."""
        tuned = [run_id for run_id, record in self.records.items() if page.study and record.tuning.study == page.study]
        return [self.records[run_id] for run_id in dict.fromkeys((*page.run_ids, *tuned)) if run_id in self.records]

    def exhibits(self, record: RunRecord) -> Exhibits | None:
        """What can be shown of the split of a run; None where nothing is there, or with one line where it is damaged."""
        folder = exhibits_folder(self.store.results, record.dataset, record.split, record.data_sha256)
        if folder not in self._exhibits:
            try:
                self._exhibits[folder] = _of_data(read_exhibits(folder), record, folder)
            except InvalidRecord as error:
                logger.warning("pictures and captions are left out of the site: %s", error)
                self._exhibits[folder] = None
        return self._exhibits[folder]

    @cached_property
    def cards(self) -> dict[str, Cards]:
        """The alignment cards of the finished runs that have any, by run; damaged ones are left out, with a line."""
        found = {}
        for run_id in self.finished:
            try:
                cards = self.store.alignments(run_id)
            except InvalidRecord as error:
                logger.warning("alignment cards are left out of the site: %s", error)
                continue
            if cards is not None and cards.cards:
                found[run_id] = cards
        return found

    def page_of_alignments(self, run_id: str) -> str:
        """Where the alignments show a run; empty if it has no cards."""
        if run_id not in self.cards:
            return ""
        record = self.finished[run_id]
        return f"alignments/{folder_name(record.dataset, record.split, record.data_sha256)}.html#a={run_id}"

    def page_of_run(self, run_id: str) -> str:
        """The page of a run; empty if the folder does not hold it."""
        return f"runs/{run_id}.html" if run_id in self.records else ""

    def page_of_gallery(self, run_id: str) -> str:
        """Where the gallery shows a run; empty if it cannot."""
        record = self.finished.get(run_id)
        if record is None or not (self.store.folder(run_id) / TOP).is_file() or self.exhibits(record) is None:
            return ""
        return f"galleries/{folder_name(record.dataset, record.split, record.data_sha256)}.html#run={run_id}"

    def _stored(self) -> Iterator[StoredPage]:
        root, taken = self.store.results, set()
        for html in sorted([*root.glob("*/*/*.html"), *root.glob("*/*.html")]):
            file, parts = html.with_suffix(".json"), html.relative_to(root).parts
            if parts[0] in _OTHERS or parts[0].startswith(".") or not file.is_file():
                continue
            try:
                report = read_report(file)
            except InvalidRecord as error:
                logger.warning("a page is left out of the site: %s", error)
                continue
            name = "-".join([*parts[1:-1], *([html.stem] if len(parts) == 2 else [])])
            while (parts[0], name) in taken:  # a folder with several reports
                name = f"{name}-{html.stem}"
            taken.add((parts[0], name))
            yield StoredPage(
                kind=safe_name(parts[0]),
                name=safe_name(name),
                file=file,
                report=report,
                written=datetime.fromtimestamp(file.stat().st_mtime, UTC),
            )


def _of_data(found: Exhibits | None, record: RunRecord, folder: Path) -> Exhibits | None:
    """Exhibits, which name the data that they show: the name of their folder holds a few digits of its hash only."""
    if found is not None and found.data_sha256 != record.data_sha256:
        raise InvalidRecord(f"{folder} is of other data than run {record.run_id}; delete it to have it made again")
    return found


def named_runs(data: Mapping[str, Any]) -> Iterator[str]:
    """The runs that the data of a report name: in `run_ids`, or, in reports of earlier versions, where their kind had them.

    >>> list(named_runs({"models": [{"run_ids": ["0f3a", "1b2c"]}]})), list(named_runs({"points": [{"run_ids": "0f3a"}]}))
    (['0f3a', '1b2c'], ['0f3a'])
    """
    given = data.get("run_ids")
    if isinstance(given, list):
        yield from map(str, given)
        return
    for part, key in (("models", "run_ids"), ("points", "run_ids"), ("evidence", "source")):
        rows = data.get(part)
        for row in rows if isinstance(rows, list) else ():
            named = row.get(key, ()) if isinstance(row, Mapping) else ()
            yield from named.split() if isinstance(named, str) else map(str, named if isinstance(named, list) else ())
