"""The mirror of a profile: each point as a run of the experiment `profile <name>`, the report's files with a run of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.spec import sha256_json
from harness.tracking.base import TrackedRun, Tracker

_PARAMS = ("label", "kind", "base", "device", "gallery", "run_ids")


def tell(
    tracker: Tracker, name: str, points: Iterable[tuple[Mapping[Any, Any], Mapping[str, float]]], files: Sequence[Path]
) -> None:
    """Mirror a profile.

    Args:
        tracker: closed at the end.
        name: of the profile.
        points: rows of its report, each with its numbers.
        files: of the report.
    """
    tracker.start_experiment(f"profile {name}", {"itm.experiment": f"profile {name}"})
    for row, figures in points:
        tracker.tell(
            TrackedRun(
                str(row["label"]),
                sha256_json([name, row["device"], row["label"]])[:16],
                params={key: str(row[key]) for key in _PARAMS},
                tags={"itm.kind": "profile", "itm.device": str(row["device"]), "itm.figures": sha256_json(figures)},
                metrics={0: {"profile": figures}},
            )
        )
    tables = sha256_json([path.read_bytes().hex() for path in files if path.suffix == ".csv"])
    tags = {"itm.kind": "profile report", "itm.figures": tables}
    tracker.tell(TrackedRun("report", sha256_json([name, "report"])[:16], tags=tags, artifacts=files))
    tracker.close()
