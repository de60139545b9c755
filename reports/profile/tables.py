"""The tables of a profile: its points, their growth with the gallery, their arithmetic, and every scenario."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from harness.records.profile import Profile
from harness.reports.document.model import Column, Table
from harness.reports.document.text import significant
from harness.reports.profile.rows import AXES, Row, index_rows, scaling_rows, scenario_rows

_TO_IMAGES, _TO_CAPTIONS = "Query, caption to images (ms)", "Image to captions (ms)"
_POINT = Column("label", "Point", pinned=True, link="run_ids")
_PAIRS = Column("pairs_per_second", "Pairs/s", "significant", noise="noisy_pairs_per_second", better="higher")
_MEMORY = Column("memory_mib", "Memory (MiB)", "significant", help="weights + index + working", better="lower")
_INDEX = Column("index_bytes_per_image", "Index (B/image)", "significant", better="lower")
_POINTS = (
    _POINT,
    Column("rsum", "rSum", "estimate", help="95 % interval over images", better="higher", pinned=True),
    Column("t2i_ms", "p50", "estimate", 2, group=_TO_IMAGES, noise="noisy_t2i_ms", better="lower"),
    Column("t2i_ms_p95", "p95", "significant", group=_TO_IMAGES, noise="noisy_t2i_ms", better="lower"),
    Column("t2i_ms_p99", "p99", "significant", group=_TO_IMAGES, noise="noisy_t2i_ms", better="lower"),
    Column("t2i_ms_iqr", "IQR", "significant", 2, group=_TO_IMAGES, noise="noisy_t2i_ms"),
    Column("i2t_ms", "p50", "estimate", 2, group=_TO_CAPTIONS, noise="noisy_i2t_ms", better="lower"),
    _PAIRS,
    _MEMORY,
    _INDEX,
    Column("fronts", "On the front of"),
    Column("beaten_by", "Dominated by", prose=True),
)
_BRIEF = (
    _POINT,
    Column("rsum", "rSum", "number"),
    Column("t2i_ms", "ms/query", "significant", noise="noisy_t2i_ms"),
    _PAIRS,
    replace(_MEMORY, title="MiB"),
    replace(_INDEX, title="B/image"),
    Column("letters", "Front"),
)
_WORK = (
    _POINT,
    Column("params_millions", "Params (M)", "significant"),
    Column("pair_kflops", "kFLOP/pair", "significant"),
    Column("encode_image_mflops", "MFLOP/image", "significant"),
    Column("encode_text_mflops", "MFLOP/caption", "significant"),
    Column("achieved_gflops", "GFLOP/s achieved", "significant", help="scoring pairs"),
    Column("achieved_percent", "% of a matrix product", "significant", 2),
    Column("index_mib", "Index (MiB)", "significant"),
)
_INDEXES = (
    Column("label", "Point", pinned=True),
    Column("shown_direction", "Direction"),
    Column("gallery", "Gallery", "count"),
    Column("build_s", "Build (s)", "significant", help="packing, timed once"),
    Column("index_mib", "Size (MiB)", "significant"),
    Column("query_ms", "p50", "estimate", 2, group="Query (ms)", noise="noisy"),
    Column("query_ms_p95", "p95", "significant", group="Query (ms)", noise="noisy"),
)
_DIRECTIONS = {"t2i": "caption to images", "i2t": "image to captions"}
_SCENARIOS = (
    _POINT,
    Column("scenario", "Scenario"),
    Column("samples", "Samples", "count"),
    Column("p50_ms", "p50", "significant", group="ms", noise="noisy"),
    Column("p95_ms", "p95", "significant", group="ms", noise="noisy"),
    Column("p99_ms", "p99", "significant", group="ms", noise="noisy"),
    Column("iqr_ms", "IQR", "significant", 2, group="ms"),
    Column("minimum_ms", "Minimum", "significant", group="ms"),
    Column("spread_percent", "Rounds apart (%)", "count"),
    Column("other_cpu_percent", "Other CPU (%)", "count"),
    Column("is_noisy", "Noise"),
    Column("parts", "Parts (ms)", prose=True),
    Column("parts_percent", "Parts / whole (%)", "count"),
    Column("throughput", "Throughput", prose=True),
    Column("memory_working_mib", "Working memory (MiB)", "significant"),
    Column("memory_peak_rss_mib", "Process peak (MiB)", "significant"),
    Column("memory_peak_gpu_allocated_mib", "GPU allocated (MiB)", "significant"),
    Column("memory_peak_gpu_reserved_mib", "GPU reserved (MiB)", "significant"),
    Column("memory_driver_mib", "GPU in use, driver (MiB)", "significant"),
)


def points(rows: Sequence[Row], profile: Profile) -> Table:
    """All points, best rSum first; those that are dominated everywhere are muted."""
    order = sorted(rows, key=lambda row: (-row["rsum"], row["t2i_ms"]))
    return Table(
        frame=pd.DataFrame(order),
        columns=_POINTS,
        caption=(
            f"All points, best rSum first; recalls on {profile.images:,} images and {profile.captions:,} captions, queries at a "
            f"gallery of {profile.gallery:,}, on {profile.device}"
        ),
        key="points",
        muted=[number for number, row in enumerate(order) if not row["fronts"] and not row["noisy"]],
    )


def brief(every: Table, profile: Profile) -> Table:
    """The points with the columns that a terminal has room for."""
    rows = every.frame.to_dict("records")
    letters = ["".join(axis.key[0].upper() for axis in AXES if row[f"front_{axis.key}"]) for row in rows]
    caption = f"{profile.device}, gallery {profile.gallery:,}"
    return replace(every, frame=every.frame.assign(letters=letters), columns=_BRIEF, caption=caption)


def scaling(profile: Profile) -> Table:
    """Latency at each size of the gallery, and the exponent of its growth."""
    rows = scaling_rows(profile)
    for row in rows:
        for size in profile.galleries:
            value = row.get(f"ms_{size}")
            mark = " (extrapolated)" if row.get(f"extrapolated_{size}") else ""
            row[f"shown_{size}"] = None if value is None else f"{significant(value, 3)}{mark}"
        row["shown_direction"] = _DIRECTIONS[row["direction"]]
    group = "ms per query (p50) at a gallery of"
    columns = [
        Column("label", "Scorer"),
        Column("shown_direction", "Direction"),
        *(Column(f"shown_{size}", f"{size:,}", group=group) for size in profile.galleries),
        Column("exponent", "Exponent", "estimate", 2, help="of a power law, 95 % t interval"),
    ]
    caption = f"Growth of a query with the gallery, on {profile.device}"
    return Table(pd.DataFrame(rows), columns, caption, "scaling")


def indexes(profile: Profile) -> Table:
    """What each packed gallery took to build, what it keeps, and what a query of it takes."""
    frame = pd.DataFrame([{**row, "shown_direction": _DIRECTIONS[row["direction"]]} for row in index_rows(profile)])
    caption = f"Galleries: built once, kept, and asked, on {profile.device}"
    return Table(frame, _INDEXES, caption, "indexes", collapsed=True)


def work(rows: Sequence[Row], profile: Profile) -> Table:
    """Parameters, arithmetic and index of everything but the cascades."""
    frame = pd.DataFrame([row for row in rows if row["kind"] != "cascade"])
    caption = f"Arithmetic and size, index of {profile.gallery:,} images, on {profile.device}"
    return Table(frame, _WORK, caption, "work")


def scenarios(profile: Profile) -> Table:
    """Every scenario, with the columns that any of them has a value for."""
    frame = pd.DataFrame([{**row, "is_noisy": "noisy" if row["noisy"] else ""} for row in scenario_rows(profile)])
    return Table(
        frame=frame,
        columns=[column for column in _SCENARIOS if column.key in frame and frame[column.key].notna().any()],
        caption=f"Every scenario, on {profile.device}",
        key="scenarios",
        collapsed=True,
        for_paper=False,
    )
