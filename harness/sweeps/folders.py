"""What a trial in progress keeps on disk, so that it resumes from its last epoch; removed when the trial has ended.

`<results>/sweeps/<study>/.trials/<number>/` holds a checkpoint for each seed, under the id of the run that it belongs to,
and `course.json`: what earlier sittings of the trial cost.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, ValidationError

from harness.files.reading import Damaged, read_json
from harness.files.writing import atomic_path
from harness.spec import RunSpec, Spec

FOLDER, COURSE = ".trials", "course.json"


class Spent(Spec):
    """What the sittings of a trial have cost: seconds, and the peak memory (MiB) of the last finished training."""

    seconds: float = Field(0.0, ge=0)
    memory: dict[str, float] = Field(default_factory=dict)


@dataclass(frozen=True)
class TrialFolder:
    """The files of one trial below `path`; None = nothing is kept."""

    path: Path | None

    def checkpoint(self, cell: RunSpec) -> Path | None:
        """Where the training of a cell keeps its checkpoint. The id holds all that decides its numbers, so a checkpoint
        of other settings, data or code is never taken up."""
        return None if self.path is None else self.path / f"{cell.run_id}.pt"

    def write(self, spent: Spent) -> None:
        """Keep what the trial has cost so far."""
        if self.path is not None:
            with atomic_path(self.path / COURSE) as path:
                path.write_text(spent.model_dump_json(), encoding="utf-8")

    def read(self) -> Spent:
        """What earlier sittings kept; nothing if there were none."""
        with suppress(Damaged, ValidationError):
            return Spent.model_validate(read_json(self.path / COURSE) if self.path is not None else {})
        return Spent()


@dataclass(frozen=True)
class TrialFolders:
    """The files of all trials of a study below `study_folder`; None = nothing is kept."""

    study_folder: Path | None

    def of(self, number: int) -> TrialFolder:
        """The files of a trial."""
        return TrialFolder(None if self.study_folder is None else self.study_folder / FOLDER / str(number))

    def remove(self, number: int) -> None:
        """Remove the files of a trial that has ended."""
        path = self.of(number).path
        if path is not None:
            shutil.rmtree(path, ignore_errors=True)
            with suppress(OSError):  # other trials are in progress
                path.parent.rmdir()

    def keep_only(self, numbers: Iterable[int]) -> None:
        """Remove the files of all other trials than these, which have not ended."""
        if self.study_folder is None:
            return
        kept = {str(number) for number in numbers}
        with suppress(OSError):
            for folder in list((self.study_folder / FOLDER).iterdir()):
                if folder.name not in kept:
                    shutil.rmtree(folder, ignore_errors=True)
            (self.study_folder / FOLDER).rmdir()
