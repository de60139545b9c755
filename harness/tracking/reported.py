"""The mirror of a report: what it says of each method as a run of one experiment, and its files with a run of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.spec import sha256_json
from harness.tracking.base import TrackedRun, Tracker


@dataclass(frozen=True)
class Point:
    """What a report says of one method, or of one point of a profile.

    Args:
        name: for people, unique within the report together with `of`.
        figures: its numbers.
        params: what it is of.
        of: what else tells two points of one name apart, such as a device.
    """

    name: str
    figures: Mapping[str, float]
    params: Mapping[str, str]
    of: str = ""


def tell(tracker: Tracker, kind: str, name: str, points: Iterable[Point], files: Sequence[Path]) -> None:
    """Mirror a report as the experiment `<kind> <name>`.

    Args:
        tracker: closed at the end.
        kind: of the report: profile, robustness.
        name: of the report.
        points: its numbers.
        files: of the report.
    """
    tracker.start_experiment(f"{kind} {name}", {"itm.experiment": f"{kind} {name}"})
    for point in points:
        tags = {"itm.kind": kind, "itm.figures": sha256_json(dict(point.figures))}
        tracker.tell(
            TrackedRun(
                point.name,
                sha256_json([name, point.of, point.name])[:16],
                params=dict(point.params),
                tags={**tags, **({"itm.device": point.of} if point.of else {})},
                metrics={0: {kind: point.figures}},
            )
        )
    tables = sha256_json([path.read_bytes().hex() for path in files if path.suffix == ".csv"])
    tags = {"itm.kind": f"{kind} report", "itm.figures": tables}
    tracker.tell(TrackedRun("report", sha256_json([name, "report"])[:16], tags=tags, artifacts=files))
    tracker.close()
