"""A profile as flat rows: one a point, with its accuracy, costs, intervals and whether anything beats it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.records.profile import Measure, Point, Profile, ScenarioResult
from harness.records.run import RankTable
from harness.reports.profile.pareto import Sense, strongest_dominator
from harness.reports.runs.groups import Gallery
from harness.reports.runs.loading import runs_of_table
from harness.reports.statistics.errors import TooFewImages
from harness.reports.statistics.intervals import single_interval

Row = dict[str, Any]
MIB = 2.0**20


@dataclass(frozen=True)
class Axis:
    """A cost that rSum is drawn against.

    Args:
        column: of the rows.
        title: with its unit.
        sense: which way is better.
        key: for file names.
        measured: whether it is a time, with an interval of its own.
    """

    column: str
    title: str
    sense: Sense
    key: str
    measured: bool = False


AXES = (
    Axis("t2i_ms", "ms a query, caption to images (p50)", "min", "latency", measured=True),
    Axis("pairs_per_second", "pairs scored a second", "max", "pairs", measured=True),
    Axis("memory_mib", "memory to serve queries (MiB)", "min", "memory"),
    Axis("index_bytes_per_image", "index bytes an image", "min", "index"),
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
    gallery = Gallery(profile.dataset, profile.split, profile.data_sha256, profile.protocol)
    rows = [_row(profile, gallery, point, ranks.get(point.key)) for point in profile.points]
    mark_fronts(rows)
    return rows


def mark_fronts(rows: Sequence[Row]) -> None:
    """Fill `front_*` and `beaten_by_*` of rows that are compared with each other."""
    for axis in AXES:
        there = [row for row in rows if row[axis.column] is not None and not row["is_fine"]]
        if axis.measured:  # a noisy time neither dominates nor is dominated
            there = [row for row in there if not row[f"noisy_{axis.column}"]]
        values = [(row[axis.column], row["rsum"]) for row in there]
        beaten = strongest_dominator(values, (axis.sense, "max")) if there else []
        for row in rows:
            row[f"front_{axis.key}"], row[f"beaten_by_{axis.key}"] = None, None
        for row, by in zip(there, beaten, strict=True):
            row[f"front_{axis.key}"] = by is None
            row[f"beaten_by_{axis.key}"] = None if by is None else there[by]["label"]
    for row in rows:
        on = [axis.key for axis in AXES if row[f"front_{axis.key}"]]
        row["fronts"] = ", ".join(on)
        row["beaten_by"] = None if on or row["noisy"] else row["beaten_by_latency"]
        if row["is_fine"]:
            row["beaten_by"] = f"{row['base']}, which it equals"


def scenario_rows(profile: Profile) -> list[Row]:
    """Every scenario of every point: times, throughput, memory and the sum check of its parts."""
    return [
        _scenario_row(profile, point, name, result)
        for point in profile.points
        for name, result in point.scenarios.items()
    ]


def scaling_rows(profile: Profile) -> list[Row]:
    """Latency of the bases at every gallery size, and the fitted exponents."""
    found = []
    for point in profile.points:
        for direction, fitted in point.growth.items():
            row: Row = {
                "label": point.label,
                "direction": direction,
                "exponent": fitted.exponent,
                "exponent_low": fitted.low,
                "exponent_high": fitted.high,
            }
            for name, result in point.scenarios.items():
                if name.startswith(f"query {direction} "):
                    row[f"ms_{result.gallery}"] = result.whole.p50
                    row[f"extrapolated_{result.gallery}"] = result.whole.extrapolated
            found.append(row)
    return found


def noisy_scenarios(profile: Profile) -> list[tuple[str, str, Measure]]:
    """Point, scenario and measure of everything that should not be trusted to its last digit."""
    return [
        (point.label, name, result.whole)
        for point in profile.points
        for name, result in point.scenarios.items()
        if result.whole.noisy
    ]


def _row(profile: Profile, gallery: Gallery, point: Point, table: RankTable | None) -> Row:
    low, high = _interval(point, table, gallery, profile)
    t2i, i2t = (point.scenarios.get(f"query {d} {profile.gallery}") for d in ("t2i", "i2t"))
    pairs = point.scenarios.get("score pairs")
    row: Row = {
        "label": point.label,
        "kind": point.kind,
        "base": point.base,
        "device": profile.device,
        "gallery": profile.gallery,
        "rsum": point.metrics["rsum"],
        "rsum_low": low,
        "rsum_high": high,
        **{key: point.metrics.get(key) for key in ("i2t_r1", "t2i_r1")},
        **_times("t2i_ms", t2i),
        **_times("i2t_ms", i2t),
        **_rate(pairs),
        "memory_mib": point.memory_mib,
        "index_bytes_per_image": point.index_bytes_per_image,
        "index_mib": None
        if point.index_bytes_per_image is None
        else point.index_bytes_per_image * profile.gallery / MIB,
        "params_millions": point.sizes.get("params_millions"),
        "pair_kflops": _scaled(point.sizes.get("pair_flops"), 1e-3),
        "encode_image_mflops": _scaled(point.sizes.get("encode_image_flops"), 1e-6),
        "encode_text_mflops": _scaled(point.sizes.get("encode_text_flops"), 1e-6),
        "achieved_gflops": point.sizes.get("achieved_gflops"),
        "achieved_percent": _share(profile, point),
        "noisy_t2i_ms": t2i is not None and t2i.whole.noisy,
        "noisy_i2t_ms": i2t is not None and i2t.whole.noisy,
        "noisy_pairs_per_second": pairs is not None and pairs.whole.noisy,
        "noisy": any(r.whole.noisy for r in (t2i, i2t, pairs) if r is not None),
        "k": point.settings.get("k") if point.kind == "cascade" else None,
        # A cascade that leaves nothing out is its fine scorer: the end of its curve, and no choice of its own.
        "is_fine": point.kind == "cascade" and point.settings.get("k") is None,
        "coarse": point.settings.get("coarse"),
        "run_ids": " ".join(point.run_ids),
    }
    return row


def _interval(
    point: Point, table: RankTable | None, gallery: Gallery, profile: Profile
) -> tuple[float | None, float | None]:
    if table is None:
        return None, None
    try:
        runs = runs_of_table(table, name=point.label, seed=profile.seed, gallery=gallery, ties=profile.ties)
        found = single_interval(runs, "rsum")
    except TooFewImages:
        return None, None
    return found.low, found.high


def _times(name: str, result: ScenarioResult | None) -> Row:
    if result is None:
        return dict.fromkeys((name, f"{name}_low", f"{name}_high", f"{name}_p95", f"{name}_p99", f"{name}_iqr"))
    whole = result.whole
    return {
        name: whole.p50,
        f"{name}_low": whole.low,
        f"{name}_high": whole.high,
        f"{name}_p95": whole.p95,
        f"{name}_p99": whole.p99,
        f"{name}_iqr": whole.iqr,
    }


def _rate(result: ScenarioResult | None) -> Row:
    if result is None:
        return dict.fromkeys(("pairs_per_second", "pairs_per_second_low", "pairs_per_second_high"))
    count, whole = 1000 * result.items["pairs"], result.whole
    return {
        "pairs_per_second": count / whole.p50,
        "pairs_per_second_low": None if whole.high is None else count / whole.high,
        "pairs_per_second_high": None if whole.low is None else count / whole.low,
    }


def _share(profile: Profile, point: Point) -> float | None:
    """Achieved rate over that of a matrix product in the dtype that the point multiplies in, percent."""
    rate = profile.matrix_gflops.get(str(point.settings.get("product", "float32")))
    achieved = point.sizes.get("achieved_gflops")
    return None if not rate or achieved is None else 100 * achieved / rate


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _scenario_row(profile: Profile, point: Point, name: str, result: ScenarioResult) -> Row:
    whole = result.whole
    throughput = {f"{what}_per_second": result.per_second(what) for what in result.items}
    return {
        "label": point.label,
        "scenario": name,
        "gallery": result.gallery,
        "samples": whole.samples,
        "extrapolated": whole.extrapolated,
        "p50_ms": whole.p50,
        "p95_ms": whole.p95,
        "p99_ms": whole.p99,
        "minimum_ms": whole.minimum,
        "iqr_ms": whole.iqr,
        "p50_low_ms": whole.low,
        "p50_high_ms": whole.high,
        "spread_percent": whole.spread_percent,
        "other_cpu_percent": whole.other_cpu_percent,
        "noisy": whole.noisy,
        "parts": ", ".join(f"{part} {measure.p50:.3g}" for part, measure in result.parts.items()),
        "parts_percent": _scaled(result.parts_over_whole, 100.0),
        "throughput": ", ".join(f"{what.split('_')[0]} {value:,.0f}/s" for what, value in throughput.items()),
        **{f"memory_{key}": value for key, value in result.memory.items()},
        "device": profile.device,
    }
