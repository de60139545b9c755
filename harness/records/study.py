"""What a sweep leaves behind: `results/sweeps/<study>/study.json`, from which reports and leaderboards are made.

Plain data, read without Optuna or torch; the storage remains the source of the trials.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from harness.errors import InvalidRecord
from harness.records import noise
from harness.records.documents import read_document, write_json
from harness.records.pareto import Sense, front
from harness.records.parts import Budget, Cost
from harness.spec import Spec

SCHEMA_VERSION = 1
FILE = "study.json"
logger = logging.getLogger(__name__)

State = Literal["complete", "pruned", "failed"]


class TrialSummary(Spec):
    """One trial that has ended."""

    number: int
    state: State
    source: Literal["sampled", "default"] = "sampled"
    params: dict[str, Any] = Field(default_factory=dict, description="the drawn settings by path")
    values: dict[str, float] = Field(default_factory=dict, description="the objectives")
    rsum: float | None = Field(None, description="mean over the seeds of the best validation rSum; None without epochs")
    curves: list[list[float]] = Field(default_factory=list, description="validation rSum by epoch, one list per seed")
    cost: Cost = Cost()
    violation: float = Field(0.0, description="by how much the constraints are exceeded, 0 if they are kept")
    steps: int = 0
    seconds: float = 0.0
    reason: str = Field("", description="why it was pruned or failed")
    started: str = ""
    finished: str = ""

    def noisy(self, names: Iterable[str]) -> bool:
        """Whether one of these objectives is a time that was measured on a busy machine."""
        return any(noise.is_noisy([self.cost], name) for name in names)

    @property
    def counts(self) -> bool:
        """Whether it may be recommended: complete, and within all constraints."""
        return self.state == "complete" and self.violation <= 0


class StudySummary(Spec):
    """A study, its trials, and what follows from them."""

    schema_version: int = SCHEMA_VERSION
    study: str
    experiment: str
    key: str = Field(description="of the experiment's entry that was tuned")
    scorer: str
    dataset: str
    storage: str
    directions: dict[str, Literal["maximize", "minimize"]]
    at_most: dict[str, float] = Field(default_factory=dict)
    sampler: dict[str, Any]
    pruner: dict[str, Any]
    sampler_seed: int
    seeds: tuple[int, ...]
    space: dict[str, Any]
    entry: dict[str, Any] = Field(description="the resolved entry before tuning, and the data's hash")
    trials: list[TrialSummary]
    best_trial: int | None = None
    best_entry: dict[str, Any] = Field(default_factory=dict, description="of the experiment, with the best settings")
    pareto: list[int] = Field(default_factory=list)
    importance: dict[str, dict[str, float]] = Field(default_factory=dict, description="of each setting, by method")
    importance_note: str = ""

    @property
    def budget(self) -> Budget:
        """Of all trials, the pruned and failed ones included."""
        return Budget(
            trials=len(self.trials),
            steps=sum(trial.steps for trial in self.trials),
            seconds=round(sum(trial.seconds for trial in self.trials), 1),
        )

    @property
    def tuning(self) -> dict[str, Any]:
        """What a record of a run with the best settings says of how they were found."""
        return {
            "trials": self.budget.trials,
            "budget": self.budget.model_dump(),
            "study": self.study,
            "seeds_per_trial": len(self.seeds),
        }

    def trial(self, number: int) -> TrialSummary:
        """The trial with this number."""
        return next(trial for trial in self.trials if trial.number == number)

    def count(self, state: State) -> int:
        """How many trials ended so."""
        return sum(trial.state == state for trial in self.trials)


def best_of(trials: Sequence[TrialSummary]) -> TrialSummary | None:
    """The trial with the highest rSum among those that may be recommended; the earliest of equals."""
    able = [trial for trial in trials if trial.counts and trial.rsum is not None]
    return max(able, key=lambda trial: (trial.rsum, -trial.number)) if able else None


def pareto_front(trials: Sequence[TrialSummary], directions: Mapping[str, str]) -> list[int]:
    """Numbers of the trials that no other one beats in some objective without losing in another.

    A trial with a noisy time neither dominates nor is dominated: it is left out.
    """
    able = [trial for trial in trials if trial.counts and not trial.noisy(directions)]
    if not able:
        return []
    senses: list[Sense] = ["max" if direction == "maximize" else "min" for direction in directions.values()]
    kept = front([[trial.values[name] for name in directions] for trial in able], senses)
    return [trial.number for trial, on_front in zip(able, kept, strict=True) if on_front]


def write_summary(summary: StudySummary, folder: Path) -> Path:
    """Write `study.json` of a study; `ResultsNotWritable` if the folder cannot be written."""
    write_json(folder / FILE, summary.model_dump(mode="json"))
    return folder / FILE


def read_summary(folder: Path) -> StudySummary | None:
    """The summary in a study's folder; None if there is none.

    Raises:
        InvalidRecord: it cannot be read or is of another version.
    """
    path = folder / FILE
    if not os.path.lexists(path):
        return None
    return read_document(path, StudySummary, SCHEMA_VERSION, "run itm sweep again to rewrite it")


def summaries(results: Path, experiment: str) -> list[StudySummary]:
    """All studies of an experiment below a results folder, by name; a warning names each damaged one."""
    found = []
    for path in sorted((Path(results) / "sweeps").glob(f"*/{FILE}")):
        try:
            summary = read_summary(path.parent)
        except InvalidRecord as error:
            logger.warning("a study is left out: %s", error)
        else:
            found += [summary] if summary is not None and summary.experiment == experiment else []
    return found
