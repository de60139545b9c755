"""What a trial in progress keeps on disk, so that it resumes from its last epoch; removed when the trial has ended.

`<results>/sweeps/<study>/.trials/<number>/` holds a checkpoint for each seed, under the id of the run that it belongs to,
and `course.json`: what earlier sittings of the trial cost.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.files.reading import Damaged, read_json
from harness.files.writing import atomic_path
from harness.spec import RunSpec

FOLDER, COURSE = ".trials", "course.json"


@dataclass(frozen=True)
class TrialFiles:
    """The files of one trial.

    Args:
        folder: of the trial; None = nothing is kept.
    """

    folder: Path | None

    def checkpoint(self, cell: RunSpec) -> Path | None:
        """Where the training of a cell keeps its checkpoint. The id holds all that decides its numbers, so a checkpoint
        of other settings, data or code is never taken up."""
        return None if self.folder is None else self.folder / f"{cell.run_id}.pt"

    def write(self, seconds: float, memory: dict[str, float]) -> None:
        """Keep what the trial has cost so far: seconds, and the peak memory (MiB) of its last finished training."""
        if self.folder is not None:
            with atomic_path(self.folder / COURSE) as path:
                path.write_text(json.dumps({"seconds": seconds, "memory": memory}), encoding="utf-8")

    def read(self) -> tuple[float, dict[str, float]]:
        """What earlier sittings kept; nothing if there were none."""
        if self.folder is None:
            return 0.0, {}
        try:
            kept = read_json(self.folder / COURSE)
            seconds, memory = float(kept["seconds"]), {str(k): float(v) for k, v in kept["memory"].items()}
        except (Damaged, TypeError, KeyError, ValueError, AttributeError):
            return 0.0, {}
        return (seconds, memory) if math.isfinite(seconds) and seconds >= 0 else (0.0, {})


@dataclass(frozen=True)
class Progress:
    """The files of all trials of a study.

    Args:
        study_folder: of the study; None = nothing is kept.
    """

    study_folder: Path | None

    def of(self, number: int) -> TrialFiles:
        """The files of a trial."""
        return TrialFiles(None if self.study_folder is None else self.study_folder / FOLDER / str(number))

    def remove(self, number: int) -> None:
        """Remove the files of a trial that has ended."""
        folder = self.of(number).folder
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):  # other trials are in progress
                folder.parent.rmdir()

    def keep_only(self, numbers: Iterable[Any]) -> None:
        """Remove the files of all other trials than these, which have not ended."""
        if self.study_folder is None:
            return
        kept = {str(number) for number in numbers}
        with suppress(OSError):
            for folder in list((self.study_folder / FOLDER).iterdir()):
                if folder.name not in kept:
                    shutil.rmtree(folder, ignore_errors=True)
            (self.study_folder / FOLDER).rmdir()
