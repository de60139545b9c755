"""Records: what a run leaves behind. The files are the source of truth; everything else is made from them.

`results/runs/<run_id>/` holds `record.json` (this module's `RunRecord`), `ranks.npz` (a `RankTable` per protocol),
`config.yaml` and `model.safetensors`. Every file is written beside its place and moved there, so a reader sees the old
one or the new one, never half of one; and what is read back is checked as if anybody could have written it.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import tempfile
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator

from harness.errors import InvalidRecord, ResultsNotWritable
from harness.files.locks import claim, remove_free
from harness.files.names import is_safe_name
from harness.files.reading import Damaged, read_json
from harness.files.writing import atomic_path, leftovers, remove_leftovers, require_inside
from harness.records.parts import Code, Cost, Environment, Evaluation, Training, Tuning
from harness.records.ranks import RankTable, check_table, read_ranks, write_ranks
from harness.spec import Spec, SpecT

__all__ = ["RankTable", "RunRecord", "RunStore", "atomic_path", "read_document", "read_record", "write_json"]

SCHEMA_VERSION = 1
_PERCENT = re.compile(r"(i2t|t2i)_r\d+")
_REMEDY = "delete the run's folder to run it again"

logger = logging.getLogger(__name__)


class RunRecord(Spec):
    """Everything a table, a test or a profile needs to know of one run.

    Metrics are percents (recalls), 1-based ranks (medr, meanr) and the sum of the six recalls (rsum, 0..600), by
    protocol. Cost keys carry their unit in their name; a cost that could not be measured is absent, never 0.
    """

    schema_version: int = SCHEMA_VERSION
    run_id: str
    origin: Literal["measured", "published"] = "measured"
    scorer: str
    variant: str = ""
    code_origin: str = Field("re-implementation", description="re-implementation or official weights")
    citation: str = ""
    backbone: str
    dataset: str
    split: str = "test"
    protocols: tuple[str, ...]
    seed: int
    metrics: dict[str, dict[str, float]] = Field(default_factory=dict)
    validation: dict[str, Any] = Field(default_factory=dict)
    evaluation: Evaluation = Evaluation()
    cost: Cost = Cost()
    training: Training = Training()
    tuning: Tuning = Tuning(trials=0)
    data_sha256: str
    environment: Environment = Environment()
    code: Code = Code()
    spec: dict[str, Any] = Field(default_factory=dict, description="the resolved RunSpec")
    status: Literal["running", "finished", "failed"]
    error: str = ""
    started: str
    finished: str = ""

    @field_validator("metrics")
    @classmethod
    def _in_range(cls, metrics: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
        for protocol, values in metrics.items():
            for name, value in values.items():
                if _PERCENT.fullmatch(name) and not 0 <= value <= 100:
                    raise ValueError(f"{name} of {protocol} must be 0 to 100, got {value:g}")
                if name == "rsum" and not 0 <= value <= 600:
                    raise ValueError(f"rsum of {protocol} must be 0 to 600, got {value:g}")
        return metrics

    @property
    def label(self) -> str:
        """`scorer` or `scorer.variant`."""
        return f"{self.scorer}.{self.variant}" if self.variant else self.scorer

    @property
    def title(self) -> str:
        """The label and the seed."""
        return f"{self.label} seed {self.seed}"

    @property
    def ties(self) -> str:
        """The tie rule of its metrics and ranks."""
        evaluation = self.spec.get("evaluation")
        planned = evaluation.get("ties") if isinstance(evaluation, dict) else None
        return str(self.evaluation.ties or planned or "pessimistic")


class RunStore:
    """The runs below a results folder.

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
            unfinished = leftovers(folder) or (folder / "checkpoint.pt").exists()
            if unfinished and not folder.is_symlink() and is_safe_name(folder.name):
                with self.claim(folder.name, wait=0) as ours:
                    if ours:
                        self._tidy_run(folder)

    def _tidy_run(self, folder: Path) -> None:
        remove_leftovers(folder, alone=True)
        if self.finished(folder.name):  # killed between its record and the end of its checkpoint
            with suppress(OSError):
                (folder / "checkpoint.pt").unlink()

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
        path = self.folder(run_id) / "ranks.npz"
        try:
            return read_ranks(path)
        except Damaged as error:
            raise InvalidRecord(f"cannot read {path}: {error}; {_REMEDY}") from None

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
                    f"the ranks of run {record.run_id} lack the protocol '{protocol}' that its record names; {_REMEDY}"
                )
            try:
                check_table(tables[protocol], protocol, record.ties)
            except Damaged as error:
                raise InvalidRecord(f"ranks.npz of run {record.run_id}: {error}; {_REMEDY}") from None
        return tables


def read_record(path: Path) -> RunRecord:
    """A record from its file.

    Raises:
        InvalidRecord: not JSON, of another schema version, with unknown or missing fields, or of a run whose id is not the
            name of its folder.
    """
    record = read_document(path, RunRecord, SCHEMA_VERSION, _REMEDY)
    folder = path.absolute().parent.name
    if record.run_id != folder or not is_safe_name(folder):
        raise InvalidRecord(
            f"{path} is of run '{record.run_id:.40}', but lies in folder '{folder}'; give the folder its run's name"
        )
    return record


def read_document(path: Path, model: type[SpecT], version: int, remedy: str) -> SpecT:
    """A JSON file with a schema version as a validated object.

    Raises:
        InvalidRecord: one line with what is wrong, and `remedy`.
    """
    try:
        values = read_json(path)
        found = values.get("schema_version") if isinstance(values, dict) else None
        if found != version or isinstance(found, bool):
            raise InvalidRecord(f"{path} has schema version {found!r:.40}, expected {version}; {remedy}")
        return model.model_validate(values)
    except (Damaged, ValidationError, RecursionError) as error:
        problem = _problem(error) if isinstance(error, ValidationError) else str(error)
        raise InvalidRecord(f"cannot read {path}: {problem:.200}; {remedy}") from None


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file, whole or not at all.

    Raises:
        ResultsNotWritable: the folder cannot be written.
    """
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    with atomic_path(path) as temporary:
        temporary.write_text(f"{text}\n", encoding="utf-8")


def _problem(error: ValidationError) -> str:
    """The first complaint, without pydantic's several lines."""
    first = error.errors()[0]
    more = f" ({error.error_count() - 1} more problems)" if error.error_count() > 1 else ""
    return f"'{'.'.join(map(str, first['loc']))}': {first['msg']}, got {first['input']!r:.60}{more}"
