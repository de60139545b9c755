"""Records: what a run leaves behind. The files are the source of truth; everything else is made from them.

`results/runs/<run_id>/` holds `record.json` (this module's `RunRecord`), `ranks.npz` (`RankTable` per protocol: enough to
redo every statistical test without a model), `config.yaml` and `model.safetensors`. Every file is written beside its
place and moved there, so a reader sees the old one or the new one, never half of one.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, ValidationError

from harness.errors import InvalidRecord, ResultsNotWritable
from harness.spec import Spec

SCHEMA_VERSION = 1


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
    evaluation: dict[str, Any] = Field(
        default_factory=dict, description="tie rule, duplicate captions, what each protocol rests on, other tie rules"
    )
    cost: dict[str, float] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)
    tuning: dict[str, Any] = Field(default_factory=lambda: {"trials": 0})
    data_sha256: str
    environment: dict[str, Any] = Field(default_factory=dict)
    code: dict[str, Any] = Field(default_factory=dict)
    spec: dict[str, Any] = Field(default_factory=dict, description="the resolved RunSpec")
    status: Literal["running", "finished", "failed"]
    error: str = ""
    started: str
    finished: str = ""

    @property
    def label(self) -> str:
        """`scorer` or `scorer.variant`."""
        return f"{self.scorer}.{self.variant}" if self.variant else self.scorer


@dataclass(frozen=True, eq=False)
class RankTable:
    """Per-query results of one protocol, in both directions. I image queries, T caption queries.

    Args:
        i2t_rank: (I,) 0-based rank of the best positive caption under the run's tie policy.
        i2t_ties: (I,) number of negatives that tie with it.
        i2t_image_id: (I,) the query.
        i2t_caption_id: (I,) the best positive.
        t2i_rank, t2i_ties: (T,) likewise for captions.
        t2i_caption_id: (T,) the query.
        t2i_image_id: (T,) its image.
        i2t_fold, t2i_fold: fold of each query; 0 everywhere unless the protocol averages over folds.
    """

    i2t_rank: np.ndarray
    i2t_ties: np.ndarray
    i2t_image_id: np.ndarray
    i2t_caption_id: np.ndarray
    t2i_rank: np.ndarray
    t2i_ties: np.ndarray
    t2i_caption_id: np.ndarray
    t2i_image_id: np.ndarray
    i2t_fold: np.ndarray
    t2i_fold: np.ndarray

    @property
    def caption_image(self) -> np.ndarray:
        """(T,) int64, row in `i2t_image_id` of each caption's image."""
        row = {image: index for index, image in enumerate(self.i2t_image_id.tolist())}
        return np.array([row[image] for image in self.t2i_image_id.tolist()], dtype=np.int64)


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
        """Make the folder and prove that it can be written, before any work is spent.

        Raises:
            ResultsNotWritable: it cannot.
        """
        probe = self.results / "runs" / f".probe-{uuid.uuid4().hex}"
        try:
            probe.parent.mkdir(parents=True, exist_ok=True)
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise ResultsNotWritable(
                f"cannot write the results folder {self.results}: {error.strerror or error}; "
                "choose another with --results or mend its permissions"
            ) from None

    def write(self, record: RunRecord) -> None:
        """Write or replace `record.json` of a run."""
        with atomic_path(self.folder(record.run_id) / "record.json") as path:
            path.write_text(json.dumps(record.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n", "utf-8")

    def read(self, run_id: str) -> RunRecord | None:
        """The record of a run; None if there is none.

        Raises:
            InvalidRecord: it is damaged or of another schema version.
        """
        path = self.folder(run_id) / "record.json"
        return read_record(path) if path.is_file() else None

    def finished(self, run_id: str) -> RunRecord | None:
        """The record of a run that ended well; None if it did not, is damaged, or is missing."""
        try:
            record = self.read(run_id)
        except InvalidRecord:
            return None
        return record if record is not None and record.status == "finished" else None

    def records(self) -> list[RunRecord]:
        """All readable records, oldest first."""
        paths = sorted((self.results / "runs").glob("*/record.json"))
        return sorted((read_record(path) for path in paths), key=lambda record: (record.started, record.run_id))

    def write_ranks(self, run_id: str, tables: Mapping[str, RankTable]) -> None:
        """Write the per-query results of a run, by protocol."""
        arrays = {f"{p}/{f.name}": getattr(table, f.name) for p, table in tables.items() for f in fields(RankTable)}
        with atomic_path(self.folder(run_id) / "ranks.npz") as path, path.open("wb") as file:
            np.savez_compressed(file, **arrays)

    def ranks(self, run_id: str) -> dict[str, RankTable]:
        """The per-query results of a run, by protocol.

        Raises:
            InvalidRecord: missing or damaged.
        """
        path = self.folder(run_id) / "ranks.npz"
        names = [f.name for f in fields(RankTable)]
        try:
            with np.load(path, allow_pickle=False) as arrays:
                protocols = dict.fromkeys(key.rpartition("/")[0] for key in arrays.files)
                return {p: RankTable(**{name: arrays[f"{p}/{name}"] for name in names}) for p in protocols}
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise InvalidRecord(f"cannot read {path}: {error}; delete the run's folder to run it again") from None


def read_record(path: Path) -> RunRecord:
    """A record from its file.

    Raises:
        InvalidRecord: not JSON, of another schema version, or with unknown or missing fields.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        version = values.get("schema_version") if isinstance(values, dict) else None
        if version != SCHEMA_VERSION:
            raise InvalidRecord(f"{path} has schema version {version}, expected {SCHEMA_VERSION}")
        return RunRecord.model_validate(values)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, ValidationError) as error:
        problem = " ".join(str(error).split())
        raise InvalidRecord(f"cannot read {path}: {problem:.200}; delete the run's folder to run it again") from None


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A path to write to that becomes `path` when the block ends well, and disappears when it does not.

    Raises:
        ResultsNotWritable: the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise ResultsNotWritable(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        with suppress(OSError):  # a complaint about the leftover must not hide the reason
            temporary.unlink()
