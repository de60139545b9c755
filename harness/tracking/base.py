"""The interface of trackers: each run of an experiment is reported once, when it has ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

Status = Literal["finished", "failed", "killed"]


@dataclass(frozen=True)
class TrackedRun:
    """A run that has ended, as a tracker shows it.

    Args:
        name: for people.
        run_id: the harness's id of the run.
        params: its settings, nested as they are.
        tags: labels to search by; a run with other tags replaces the one with the same id.
        metrics: figures by step, nested as they are; what is no number is left out.
        artifacts: files to attach.
        status: how it ended.
        started: when; None = now.
        finished: when; None = now.
    """

    name: str
    run_id: str
    params: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    artifacts: Sequence[Path] = ()
    status: Status = "finished"
    started: datetime | None = None
    finished: datetime | None = None


class Tracker:
    """No-op tracker. The order of calls is `start_experiment`, `tell` for each run, `close`; no method raises."""

    def start_experiment(self, name: str, tags: Mapping[str, str] | None = None) -> None:
        """Open the parent run of an experiment.

        Args:
            name: of the experiment.
            tags: of the parent; `itm.experiment_hash` identifies the experiment, by default its name and tags do.
        """

    def tell(self, run: TrackedRun) -> None:
        """Add a run to the open experiment, unless it is there already with the same tags."""

    def close(self, status: Status = "finished") -> None:
        """Close the experiment.

        Args:
            status: of the experiment; "killed" if it was interrupted, which is written within a second or not at all.
        """
