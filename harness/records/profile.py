"""The profile record: what `itm profile` measured, as JSON, for reports that import no torch.

`results/profiles/<name>/<device>/` holds `profile.json` and `ranks.npz`, the per-query ranks of every point, from which
intervals are computed. All times are milliseconds, all sizes MiB or bytes as named.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from harness.files.names import safe_name
from harness.records.documents import read_document, write_json
from harness.records.noise import BUSY_PERCENT
from harness.records.parts import Code, Environment
from harness.records.ranks import RankTable, read_ranks, write_ranks
from harness.spec import Spec, sha256_json

SCHEMA_VERSION = 1
REMEDY = "measure again"
#: Samples of a round's medians further apart than this share of their median are called noisy.
NOISY_SPREAD_PERCENT = 15.0

Kind = Literal["base", "precision", "pruned", "cascade"]


class Measure(Spec):
    """Samples of one latency, ms; a percentile that the samples do not support is None."""

    samples: int
    p50: float
    p95: float | None = None
    p99: float | None = None
    minimum: float | None = None
    iqr: float | None = None
    low: float | None = Field(None, description="of the 95 % interval of the median, between order statistics")
    high: float | None = None
    rounds: tuple[float, ...] = Field((), description="medians of the interleaved rounds")
    other_cpu_percent: float | None = None
    extrapolated: bool = Field(False, description="not measured, so without samples")

    @property
    def spread_percent(self) -> float | None:
        """Distance between the extreme medians of the rounds, in percent of the median; None with one round.

        >>> Measure(samples=9, p50=10.0, rounds=(9.0, 10.0, 12.0)).spread_percent
        30.0
        """
        if len(self.rounds) < 2:
            return None
        return 100 * (max(self.rounds) - min(self.rounds)) / self.p50

    @property
    def noisy(self) -> bool:
        """Whether rounds disagree or neighbours were busy."""
        spread, other = self.spread_percent or 0.0, self.other_cpu_percent or 0.0
        return spread > NOISY_SPREAD_PERCENT or other > BUSY_PERCENT


class ScenarioResult(Spec):
    """One scenario of one point."""

    whole: Measure = Field(description="timed as one piece")
    parts: dict[str, Measure] = Field(default_factory=dict, description="timed one by one, in the same rounds")
    items: dict[str, int] = Field(default_factory=dict, description="what one call does: images, captions, pairs")
    gallery: int | None = Field(None, description="items that a query is compared with")
    parts_over_whole: float | None = Field(
        None, description="median over the samples of the sum of the parts by the whole that was timed beside it"
    )
    memory: dict[str, float] = Field(default_factory=dict, description="MiB: peaks of one call, reset before it")

    def per_second(self, what: str, part: str = "") -> float:
        """Items per second of the whole, or of one part of it."""
        return 1000 * self.items[what] / (self.parts[part] if part else self.whole).p50


class Growth(Spec):
    """How a latency grows with the gallery: ms ~ gallery ** exponent."""

    exponent: float
    low: float | None = Field(None, description="of the 95 % interval; None with fewer than three sizes")
    high: float | None = None
    sizes: tuple[int, ...]


class Point(Spec):
    """One way to use trained weights: a row of the table and a mark in each chart."""

    key: str
    label: str
    kind: Kind
    base: str = Field(description="key of the trained scorer; of a cascade, of its fine scorer")
    settings: dict[str, Any] = Field(default_factory=dict)
    run_ids: tuple[str, ...]
    metrics: dict[str, float]
    scenarios: dict[str, ScenarioResult] = Field(default_factory=dict)
    growth: dict[str, Growth] = Field(default_factory=dict)
    index_bytes_per_image: float | None = None
    index_bytes_per_text: float | None = None
    index_build_ms: dict[str, float] = Field(
        default_factory=dict, description="packing a gallery, timed once, by direction and size: 't2i 1000'"
    )
    memory_mib: float | None = Field(None, description="weights, index of the reference gallery, working memory")
    sizes: dict[str, float] = Field(default_factory=dict, description="parameters, FLOPs, achieved rates")


class Profile(Spec):
    """Everything measured in one call on one device."""

    schema_version: int = SCHEMA_VERSION
    name: str
    dataset: str
    split: str
    protocol: str
    data_sha256: str
    images: int
    captions: int
    seed: int
    gallery: int = Field(description="reference gallery of the points: images of t2i, captions of i2t")
    galleries: tuple[int, ...]
    rounds: int
    ties: Literal["pessimistic", "optimistic", "expected"] = "pessimistic"
    seconds: float = Field(description="measuring time that was asked for")
    matrix_gflops: dict[str, float] = Field(default_factory=dict, description="measured rate of a matrix product")
    notes: tuple[str, ...] = ()
    environment: Environment
    code: Code = Code()
    points: tuple[Point, ...]
    started: str
    finished: str

    @property
    def device(self) -> str:
        """The GPU's name, or the processor and the threads that were used of it."""
        return self.environment.computed_on


class ProfileStore:
    """The profiles of one name below a results folder, in a folder of that name below `profiles/`."""

    def __init__(self, results: str | Path, name: str):
        self.folder = Path(results) / "profiles" / safe_name(name)

    def write(self, profile: Profile, ranks: Mapping[str, RankTable]) -> Path:
        """Write or replace the profile of its device, with the ranks by point; returns the JSON's path."""
        folder = self.folder / device_slug(profile.device)
        write_ranks(folder / "ranks.npz", ranks)
        write_json(folder / "profile.json", profile.model_dump(mode="json"))
        return folder / "profile.json"

    def state(self) -> dict[str, int]:
        """What changes when a profile is written: the time of each device's file, in nanoseconds."""
        return {str(path): path.stat().st_mtime_ns for path in self.folder.glob("*/profile.json")}

    def profiles(self) -> list[tuple[Profile, dict[str, RankTable]]]:
        """All devices' profiles with their ranks by point, oldest first.

        Raises:
            InvalidRecord: one is damaged or of another schema version.
        """
        read = [
            (read_document(path, Profile, SCHEMA_VERSION, REMEDY), read_ranks(path.parent / "ranks.npz", REMEDY))
            for path in sorted(self.folder.glob("*/profile.json"))
        ]
        return sorted(read, key=lambda pair: pair[0].started)


def device_slug(device: str) -> str:
    """A folder's name for a device: readable, and different where the device is.

    >>> device_slug("NVIDIA H100")
    'nvidia-h100-7103a6'
    """
    name = re.sub(r"[^a-z0-9]+", "-", device.lower())[:40].strip("-")
    return f"{name}-{sha256_json(device)[:6]}"
