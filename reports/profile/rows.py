"""A profile as flat rows: one per point, with its accuracy, costs, intervals and what dominates it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from harness.records.pareto import Sense, strongest_dominator
from harness.records.profile import Point, Profile, ScenarioResult
from harness.records.ranks import RankTable
from harness.reports.runs.groups import Gallery
from harness.reports.runs.loading import runs_of_table
from harness.reports.statistics.errors import TooFewImages
from harness.reports.statistics.intervals import single_interval

Row = dict[str, Any]
_TIMES = {"": "p50", "_low": "low", "_high": "high", "_p95": "p95", "_p99": "p99", "_iqr": "iqr"}


@dataclass(frozen=True)
class Axis:
    """A cost that rSum is drawn against."""

    column: str  # of the rows
    title: str  # with its unit
    sense: Sense
    key: str  # for file names
    measured: bool = False  # a time, with an interval of its own

    def noisy(self, row: Row) -> bool:
        """Whether a row's value was timed on a busy machine."""
        return self.measured and bool(row[f"noisy_{self.column}"])


AXES = (
    Axis("t2i_ms", "ms per query, caption to images (p50)", "min", "latency", measured=True),
    Axis("pairs_per_second", "pairs scored per second", "max", "pairs", measured=True),
    Axis("memory_mib", "memory to serve queries (MiB)", "min", "memory"),
    Axis("index_bytes_per_image", "index bytes per image", "min", "index"),
)


def rows_of(profile: Profile, ranks: Mapping[str, RankTable]) -> list[Row]:
    """The rows of a profile, in the order of its points.

    Args:
        profile: the record.
        ranks: per-query ranks by point.

    Returns:
        Rows whose `front_*` columns say for each of `AXES` whether the point lies on the front, and `beaten_by_*` by
        which point it does not.
    """
    rows = [_row(profile, point, ranks.get(point.key)) for point in profile.points]
    mark_fronts(rows)
    return rows


def mark_fronts(rows: Sequence[Row]) -> None:
    """Fill `front_*` and `beaten_by_*` of rows that are compared with each other."""
    for axis in AXES:
        # A noisy time neither dominates nor is dominated.
        there = [r for r in rows if r[axis.column] is not None and not r["is_fine"] and not axis.noisy(r)]
        values = [(row[axis.column], row["rsum"]) for row in there]
        beaten = strongest_dominator(values, (axis.sense, "max")) if there else []
        for row in rows:
            row[f"front_{axis.key}"], row[f"beaten_by_{axis.key}"] = None, None
        for row, by in zip(there, beaten, strict=True):
            row[f"front_{axis.key}"] = by is None
            row[f"beaten_by_{axis.key}"] = None if by is None else there[by]["label"]
    for row in rows:
        row["fronts"] = ", ".join(axis.key for axis in AXES if row[f"front_{axis.key}"])
        row["beaten_by"] = None if row["fronts"] or row["noisy"] else row["beaten_by_latency"]
        if row["is_fine"]:
            row["beaten_by"] = f"{row['base']}, which it equals"


def best(rows: Iterable[Row]) -> Row | None:
    """The row of the highest rSum, the faster one of equals; None of no rows."""
    return max(rows, key=lambda row: (row["rsum"], -row["t2i_ms"]), default=None)


def scenario_rows(profile: Profile) -> list[Row]:
    """Every scenario of every point: times, throughput, memory and the sum check of its parts."""
    return [
        {"label": point.label, **_scenario(name, result), "device": profile.device}
        for point in profile.points
        for name, result in point.scenarios.items()
    ]


def scaling_rows(profile: Profile) -> list[Row]:
    """Latency of the bases at every gallery size, and the fitted exponents."""
    found = []
    for point in profile.points:
        for direction, fitted in point.growth.items():
            row: Row = {"label": point.label, "direction": direction, "exponent": fitted.exponent}
            row |= {"exponent_low": fitted.low, "exponent_high": fitted.high}
            for name, result in point.scenarios.items():
                if name.startswith(f"query {direction} "):
                    row[f"ms_{result.gallery}"] = result.whole.p50
                    row[f"extrapolated_{result.gallery}"] = result.whole.extrapolated
            found.append(row)
    return found


def index_rows(profile: Profile) -> list[Row]:
    """Packing, keeping and asking every gallery that was packed, apart from each other."""
    return [
        {
            "label": point.label,
            "direction": direction,
            "gallery": int(size),
            "build_s": ms / 1000,
            "index_mib": _scaled(
                point.index_bytes_per_image if direction == "t2i" else point.index_bytes_per_text, int(size) / 2.0**20
            ),
            **_times("query_ms", point.scenarios.get(f"query {direction} {size}")),
            "noisy": _noisy(point.scenarios.get(f"query {direction} {size}")),
        }
        for point in profile.points
        if point.kind != "cascade"
        for built, ms in point.index_build_ms.items()
        for direction, size in [built.split()]
    ]


def _row(profile: Profile, point: Point, table: RankTable | None) -> Row:
    t2i, i2t = (point.scenarios.get(f"query {direction} {profile.gallery}") for direction in ("t2i", "i2t"))
    pairs = point.scenarios.get("score pairs")
    noisy = {"t2i_ms": _noisy(t2i), "i2t_ms": _noisy(i2t), "pairs_per_second": _noisy(pairs)}
    sizes, cascade = point.sizes, point.kind == "cascade"
    # The rate of a matrix product in the dtype that the point multiplies in.
    rate = profile.matrix_gflops.get(str(point.settings.get("product", "float32")))
    achieved = sizes.get("achieved_gflops")
    return {
        **{key: getattr(point, key) for key in ("label", "kind", "base")},
        "device": profile.device,
        "gallery": profile.gallery,
        "rsum": point.metrics["rsum"],
        **_interval(profile, point, table),
        **{key: point.metrics.get(key) for key in ("i2t_r1", "t2i_r1")},
        **_times("t2i_ms", t2i),
        **_times("i2t_ms", i2t),
        **_rate(pairs),
        "memory_mib": point.memory_mib,
        "index_bytes_per_image": point.index_bytes_per_image,
        "index_mib": _scaled(point.index_bytes_per_image, profile.gallery / 2.0**20),
        "params_millions": sizes.get("params_millions"),
        "pair_kflops": _scaled(sizes.get("pair_flops"), 1e-3),
        "encode_image_mflops": _scaled(sizes.get("encode_image_flops"), 1e-6),
        "encode_text_mflops": _scaled(sizes.get("encode_text_flops"), 1e-6),
        "achieved_gflops": achieved,
        "achieved_percent": 100 * achieved / rate if rate and achieved is not None else None,
        **{f"noisy_{key}": value for key, value in noisy.items()},
        "noisy": any(noisy.values()),
        "k": point.settings.get("k") if cascade else None,
        # A cascade that leaves nothing out is its fine scorer: the end of its curve, and no choice of its own.
        "is_fine": cascade and point.settings.get("k") is None,
        "coarse": point.settings.get("coarse"),
        "run_ids": " ".join(point.run_ids),
    }


def _interval(profile: Profile, point: Point, table: RankTable | None) -> Row:
    found = None
    gallery = Gallery(profile.dataset, profile.split, profile.data_sha256, profile.protocol)
    with suppress(TooFewImages):
        if table is not None:
            runs = runs_of_table(table, name=point.label, seed=profile.seed, gallery=gallery, ties=profile.ties)
            found = single_interval(runs, "rsum")
    return {f"rsum_{part}": getattr(found, part, None) for part in ("low", "high")}


def _noisy(result: ScenarioResult | None) -> bool:
    return result is not None and result.whole.noisy


def _times(name: str, result: ScenarioResult | None) -> Row:
    return {f"{name}{part}": getattr(result.whole, key) if result else None for part, key in _TIMES.items()}


def _rate(result: ScenarioResult | None) -> Row:
    name = "pairs_per_second"
    if result is None:
        return dict.fromkeys((name, f"{name}_low", f"{name}_high"))
    count, whole = 1000 * result.items["pairs"], result.whole
    times = {name: whole.p50, f"{name}_low": whole.high, f"{name}_high": whole.low}
    return {key: None if time is None else count / time for key, time in times.items()}


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _scenario(name: str, result: ScenarioResult) -> Row:
    whole = result.whole
    throughput = [f"{what.split('_')[0]} {result.per_second(what):,.0f}/s" for what in result.items]
    return {
        "scenario": name,
        "gallery": result.gallery,
        "samples": whole.samples,
        "extrapolated": whole.extrapolated,
        **{f"{part}_ms": getattr(whole, part) for part in ("p50", "p95", "p99", "minimum", "iqr")},
        "p50_low_ms": whole.low,
        "p50_high_ms": whole.high,
        "spread_percent": whole.spread_percent,
        "other_cpu_percent": whole.other_cpu_percent,
        "noisy": whole.noisy,
        "parts": ", ".join(f"{part} {measure.p50:.3g}" for part, measure in result.parts.items()),
        "parts_percent": _scaled(result.parts_over_whole, 100.0),
        "throughput": ", ".join(throughput),
        **{f"memory_{key}": value for key, value in result.memory.items()},
    }
