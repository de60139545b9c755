"""What a results folder holds, read once for all pages."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from harness.errors import InvalidRecord
from harness.files.names import is_safe_name, safe_name
from harness.records.exhibits import Exhibits, exhibits_folder, folder_name, read_exhibits
from harness.records.run import RunRecord
from harness.records.store import TOP, RunStore
from harness.reports.document.model import Report
from harness.reports.document.stored import read_report

logger = logging.getLogger(__name__)

#: Folder of the site below the results.
SITE = "site"
#: Folders of the results that hold no reports.
_OTHERS = {"runs", SITE, "mlartifacts", "mlruns"}


@dataclass(frozen=True, eq=False)
class StoredPage:
    """A report that a command wrote."""

    kind: str  #: the folder of its kind: "leaderboards"
    name: str  #: of the page: the folder's, "quickstart"
    file: Path  #: its JSON
    report: Report
    written: datetime

    @property
    def run_ids(self) -> tuple[str, ...]:
        """The runs that it shows, as far as it names them."""
        given = self.report.data.get("run_ids")
        return tuple(filter(is_safe_name, given)) if isinstance(given, list) else ()

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
        """The reports that show a run."""
        return [page for page in self.reports if run_id in page.run_ids]

    def exhibits(self, record: RunRecord) -> Exhibits | None:
        """What can be shown of the split of a run; None where nothing is there, or with one line where it is damaged."""
        folder = exhibits_folder(self.store.results, record.dataset, record.split, record.data_sha256)
        if folder not in self._exhibits:
            try:
                self._exhibits[folder] = read_exhibits(folder)
            except InvalidRecord as error:
                logger.warning("pictures and captions are left out of the site: %s", error)
                self._exhibits[folder] = None
        return self._exhibits[folder]

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
        root = self.store.results
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
            yield StoredPage(
                kind=safe_name(parts[0]),
                name=safe_name(name),
                file=file,
                report=report,
                written=datetime.fromtimestamp(file.stat().st_mtime, UTC),
            )
