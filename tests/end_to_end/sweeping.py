"""What tests of sweeps share: the command in a process of its own, its study, and its one line of error."""

from __future__ import annotations

import sys
from pathlib import Path

from harness.files import strict_yaml
from harness.records.study import StudySummary, read_summary


def study_of(tmp_path: Path, name: str = "tiny.chan") -> StudySummary:
    summary = read_summary(tmp_path / "results" / "sweeps" / name)
    assert summary is not None
    return summary


def one_line(err: str) -> str:
    lines = [line for line in err.splitlines() if line.startswith("itm: error:")]
    assert len(lines) == 1, err
    assert "Traceback" not in err
    return lines[0]


def command(experiment: Path, tmp_path: Path, *more: object) -> list[str]:
    start = [sys.executable, "-m", "harness.cli.main", "sweep", experiment, "--scorer", "chan", "--no-mlflow"]
    return [str(part) for part in [*start, "--results", tmp_path / "results", *more]]


def two_scorers(tiny: dict, folder: Path) -> Path:
    """The tiny experiment with SCAN and CHAN, as a file."""
    path = folder / "tiny.yaml"
    path.write_text(strict_yaml.dump({**tiny, "scorers": ["scan", "chan"]}))
    return path
