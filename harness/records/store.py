"""The runs below a results folder. The files are the source of truth; everything else is made from them.

Every file is written beside its place and moved there, so a reader sees the old one or the new one, never half of one;
and what is read back is checked as if anybody could have written it.
"""

from __future__ import annotations

import logging
import math
import os
import tempfile
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from harness.errors import InvalidRecord, ResultsNotWritable
from harness.files.hashing import sha256_file
from harness.files.locks import claim, remove_free
from harness.files.names import is_safe_name
from harness.files.reading import Damaged
from harness.files.writing import leftovers, remove_leftovers, require_inside
from harness.records.cards import FILE as ALIGNMENTS
from harness.records.cards import Cards, read_cards, write_cards
from harness.records.documents import write_json
from harness.records.outcomes import FOLDER as OUTCOMES
from harness.records.outcomes import OutcomeTable, read_outcomes, write_outcomes
from harness.records.ranks import RankTable, check_ties, read_ranks, write_ranks
from harness.records.run import REMEDY, RunRecord, read_record
from harness.records.tops import TopTable, read_tops, write_tops

#: Per-query results of each level of a score alone.
LEVEL_RANKS = "level_ranks.npz"
#: The first items of every query.
TOP = "top.npz"
TOP_REMEDY = f"delete {TOP} to have it made again"
#: What a run needs while it is not finished: its state, how far it is, and how its workers died.
CHECKPOINT, PROGRESS, DEATHS = "checkpoint.pt", "progress.json", "deaths.json"

logger = logging.getLogger(__name__)


class RunStore:
    """The runs below a results folder.

    >>> [record.label for record in RunStore("no/such/folder").records()]
    []

    Args:
        results: the folder; made when first written.
    """

    def __init__(self, results: str | Path = "results"):
        self.results = Path(results)

    def folder(self, run_id: str) -> Path:
        """Where the files of a run lie."""
        return self.results / "runs" / run_id

    def prepare(self) -> None:
        """Make the folder and prove that it can be written, before any work is spent; remove what kills left behind.

        Raises:
            ResultsNotWritable: it cannot.
        """
        runs = self.results / "runs"
        try:
            runs.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=runs):  # has no name where the system can do that
                pass
        except OSError as error:
            raise ResultsNotWritable(
                f"cannot write the results folder {self.results}: {error.strerror or error}; "
                "choose another with --results or fix its permissions"
            ) from None
        self.tidy()

    def tidy(self) -> None:
        """Remove the unfinished files of killed writers, from folders that nobody writes in now."""
        remove_free(self.results)
        remove_leftovers(self.results)
        for probe in (self.results / "runs").glob(".probe-*"):  # of earlier versions
            with suppress(OSError):
                probe.unlink()
        for folder in (self.results / "runs").glob("*/"):
            unfinished = leftovers(folder) or any((folder / name).exists() for name in (CHECKPOINT, PROGRESS))
            if unfinished and not folder.is_symlink() and is_safe_name(folder.name):
                with self.claim(folder.name, wait=0) as ours:
                    if ours:
                        self._tidy_run(folder)

    def _tidy_run(self, folder: Path) -> None:
        remove_leftovers(folder, alone=True)
        if self.finished(folder.name):  # killed between its record and the end of its checkpoint
            for name in (CHECKPOINT, PROGRESS, DEATHS):
                with suppress(OSError):
                    (folder / name).unlink()

    def claim(self, run_id: str, wait: float = math.inf) -> AbstractContextManager[bool]:
        """The right to write in a run's folder, as `harness.files.locks.claim`.

        Raises:
            InvalidRecord: the id is no name of a folder.
            ResultsNotWritable: the folder is a link that leaves the results folder.
        """
        if not is_safe_name(run_id):
            raise InvalidRecord(f"'{run_id:.60}' is no id of a run")
        require_inside(self.folder(run_id), self.results / "runs")
        return claim(self.results, f"run-{run_id}", wait)

    def write(self, record: RunRecord) -> None:
        """Write or replace `record.json` of a run."""
        write_json(self.folder(record.run_id) / "record.json", record.model_dump(mode="json"))

    def read(self, run_id: str) -> RunRecord | None:
        """The record of a run; None if there is none.

        Raises:
            InvalidRecord: it is damaged or of another schema version.
        """
        path = self.folder(run_id) / "record.json"
        return read_record(path) if os.path.lexists(path) else None

    def finished(self, run_id: str) -> RunRecord | None:
        """The record of a run that ended well; None if it did not, is damaged, or is missing."""
        try:
            record = self.read(run_id)
        except InvalidRecord:
            return None
        return record if record is not None and record.status == "finished" else None

    def require(self, run_id: str) -> RunRecord:
        """The record of a finished run.

        Raises:
            InvalidRecord: missing, damaged, or not finished.
        """
        record = self.read(run_id)
        if record is None or record.status != "finished":
            state = "no record" if record is None else f"status '{record.status}'"
            raise InvalidRecord(
                f"run {run_id} below {self.results}/runs has {state}, a finished one is needed; see `itm ls runs`"
            )
        return record

    def records(self) -> list[RunRecord]:
        """All readable records, oldest first; of each one that is not, a line says why it is left out."""
        found = []
        for path in sorted((self.results / "runs").glob("*/record.json")):
            try:
                found.append(read_record(path))
            except InvalidRecord as error:
                logger.warning("a run is left out: %s", error)
        return sorted(found, key=lambda record: (record.started, record.run_id))

    def write_ranks(self, run_id: str, tables: Mapping[str, RankTable]) -> None:
        """Write the per-query results of a run, by protocol."""
        write_ranks(self.folder(run_id) / "ranks.npz", tables)

    def ranks(self, run_id: str) -> dict[str, RankTable]:
        """The per-query results of a run, by protocol.

        Raises:
            InvalidRecord: missing, damaged, or ranks that cannot be.
        """
        return read_ranks(self.folder(run_id) / "ranks.npz", REMEDY)

    def rank_file(self, run_id: str) -> tuple[str, str]:
        """Name and sha256 of the file that fixes the ranks of a run.

        Raises:
            OSError: it cannot be read.
        """
        return "ranks.npz", sha256_file(self.folder(run_id) / "ranks.npz")

    def remedy(self, run_id: str) -> str:
        """What to do about a run whose files contradict each other."""
        return f"delete {self.folder(run_id)} to run it again"

    def write_level_ranks(self, run_id: str, tables: Mapping[str, RankTable]) -> None:
        """Write what each level of a score ranks alone, as `ranks.npz` has it, by `LEVEL/PROTOCOL`."""
        write_ranks(self.folder(run_id) / LEVEL_RANKS, tables)

    def level_ranks(self, run_id: str) -> dict[str, RankTable]:
        """The tables by `LEVEL/PROTOCOL`; none where the run has no levels or comes from an earlier version.

        Raises:
            InvalidRecord: as `ranks`.
        """
        path = self.folder(run_id) / LEVEL_RANKS
        return read_ranks(path, REMEDY) if os.path.lexists(path) else {}

    def write_top(self, run_id: str, table: TopTable) -> None:
        """Write the first items of every query of a run."""
        write_tops(self.folder(run_id) / TOP, table)

    def top(self, run_id: str) -> TopTable | None:
        """The first items of every query; None where the run has none, as of an earlier version.

        Raises:
            InvalidRecord: damaged, or lists that cannot be.
        """
        path = self.folder(run_id) / TOP
        return read_tops(path, TOP_REMEDY) if os.path.lexists(path) else None

    def write_alignments(self, cards: Cards) -> None:
        """Write the alignment cards of a run."""
        write_cards(self.folder(cards.run_id) / ALIGNMENTS, cards)

    def alignments(self, run_id: str) -> Cards | None:
        """The alignment cards of a run; None where none were made.

        Raises:
            InvalidRecord: damaged, of another run, or cards that cannot be.
        """
        return read_cards(self.folder(run_id) / ALIGNMENTS, run_id)

    def write_outcomes(self, table: OutcomeTable) -> None:
        """Write what a run answered to one probe."""
        about = table.about
        write_outcomes(self.outcomes_path(about.run_id, about.family, about.name), table)

    def outcomes_path(self, run_id: str, family: str, name: str) -> Path:
        """The file of what a run answered to one probe."""
        return self.folder(run_id) / OUTCOMES / family / f"{name}.npz"

    def outcomes(self, run_id: str, family: str, name: str) -> OutcomeTable | None:
        """What a run answered to one probe; None where it was not asked.

        Raises:
            InvalidRecord: damaged, of another run, or outcomes that cannot be.
        """
        path = self.outcomes_path(run_id, family, name)
        return read_outcomes(path, run_id) if os.path.lexists(path) else None

    def probes(self, run_id: str) -> list[tuple[str, str]]:
        """Family and name of every probe that a run has outcomes of, sorted."""
        paths = (self.folder(run_id) / OUTCOMES).glob("*/*.npz")
        return sorted((path.parent.name, path.stem) for path in paths if not path.name.startswith("."))

    def ranks_of(self, record: RunRecord) -> dict[str, RankTable]:
        """The ranks of a finished run, which must have every protocol that the record has an rSum of.

        Raises:
            InvalidRecord: as `ranks`, or ranks that the run's tie rule cannot give.
        """
        tables = self.ranks(record.run_id)
        for protocol, metrics in record.metrics.items():
            if protocol not in tables:
                if "rsum" not in metrics:
                    continue
                raise InvalidRecord(
                    f"the ranks of run {record.run_id} lack the protocol '{protocol}' that its record names; {REMEDY}"
                )
            try:
                check_ties(tables[protocol], protocol, record.ties)
            except Damaged as error:
                raise InvalidRecord(f"ranks.npz of run {record.run_id}: {error}; {REMEDY}") from None
        return tables
