"""The record of a run: `record.json`, from which tables, tests and profiles are made.

`results/runs/<run_id>/` also holds `ranks.npz`, `top.npz`, `config.yaml` and `model.safetensors`; see
`harness.records.store`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import Field, field_validator

from harness.errors import InvalidRecord
from harness.files.names import is_safe_name
from harness.records.description import Contamination
from harness.records.documents import read_document
from harness.records.parts import Code, Cost, Diagnostics, Environment, Evaluation, Source, Training, Tuning
from harness.records.ties import Ties
from harness.settings.run import Labelled
from harness.spec import Spec

SCHEMA_VERSION = 1
REMEDY = "delete the run's folder to run it again"
#: On what the epoch of a checkpoint was chosen; `nothing` = there was no training, or no choice to make.
SelectedOn = Literal["validation", "test", "last epoch", "nothing"]
_PERCENT = re.compile(r"(i2t|t2i)_r\d+")


class RunRecord(Labelled, Spec):
    """Everything a table, a test or a profile needs to know of one run.

    Metrics are percents (recalls), 1-based ranks (medr, meanr) and the sum of the six recalls (rsum, 0..600), by
    protocol. Cost keys carry their unit in their name; a cost that could not be measured is absent, never 0.
    """

    schema_version: int = SCHEMA_VERSION
    run_id: str
    origin: Literal["measured", "foreign", "published"] = Field(
        "measured",
        description="measured by this harness, ranked here from the results of other code, or printed figures",
    )
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
    diagnostics: Diagnostics = Diagnostics()
    cost: Cost = Cost()
    training: Training = Training()
    source: Source | None = Field(None, description="of a foreign run: the results that it was made from")
    selected_on: SelectedOn | None = Field(
        None,
        description="what the checkpoint was chosen on, as its author states; null = as this harness does, or unknown",
    )
    overlaps: tuple[Contamination, ...] | None = Field(
        None, description="images of the split that were trained on, by training data; null = not looked for"
    )
    features: dict[str, Any] = Field(
        default_factory=dict, description="what was read from the feature store, by side: tower, type, keys and hashes"
    )
    tuning: Tuning = Tuning(trials=0)
    data_sha256: str
    environment: Environment = Environment()
    code: Code = Code()
    spec: dict[str, Any] = Field(default_factory=dict, description="the resolved RunSpec")
    overridden: dict[str, Any] | None = Field(
        None, description="settings that are not the scorer's own, by dotted key, with the scorer's own; null = unknown"
    )
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
    def has_ranks(self) -> bool:
        """Whether the rank of every query is kept, so that it can be tested; printed figures have averages only."""
        return self.origin != "published"

    @property
    def plugin_words(self) -> list[str]:
        """`--plugin FILE ...`, what a command on this run names: the plug-in files behind its parts and metrics.

        Those of installed packages need no naming.
        """
        metrics = (note.plugin for note in self.evaluation.metrics.values())
        places = dict.fromkeys((self.code.plugin, *self.code.plugins.values(), *metrics))
        return [word for place in places if place.endswith(".py") for word in ("--plugin", place)]

    @property
    def ties(self) -> Ties:
        """The tie rule of its metrics and ranks."""
        evaluation = self.spec.get("evaluation")
        planned = evaluation.get("ties") if isinstance(evaluation, dict) else None
        return cast(Ties, str(self.evaluation.ties or planned or "pessimistic"))


def read_record(path: Path) -> RunRecord:
    """A record from its file.

    Raises:
        InvalidRecord: not JSON, of another schema version, with unknown or missing fields, or of a run whose id is not the
            name of its folder.
    """
    record = read_document(path, RunRecord, SCHEMA_VERSION, REMEDY)
    folder = path.absolute().parent.name
    if record.run_id != folder or not is_safe_name(folder):
        raise InvalidRecord(
            f"{path} is of run '{record.run_id:.40}', but lies in folder '{folder}'; give the folder its run's name"
        )
    return record
