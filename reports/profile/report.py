"""The profile report: accuracy against throughput, latency and memory, from profile records alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from harness.records import noise
from harness.records.profile import Profile, device_slug
from harness.records.run import RankTable
from harness.reports.document.model import Column, Figure, Report, Section, Table
from harness.reports.document.text import significant
from harness.reports.profile.budget import Limit
from harness.reports.profile.figures import cascade_figure, pareto_figure, scaling_figure
from harness.reports.profile.rows import AXES, Row, mark_fronts, rows_of, scaling_rows, scenario_rows
from harness.reports.profile.text import READING, advice, budget_sentence, opening, warnings

Measured = tuple[Profile, Mapping[str, RankTable]]


def build(
    profiles: Sequence[Measured],
    *,
    title: str,
    limits: Sequence[Limit] = (),
    mix_devices: bool = False,
) -> Report:
    """Build the report of the profiles of one name, one section a device.

    Args:
        profiles: with the ranks of their points, the one to advise by last.
        title: heading.
        limits: of a budget; the best admissible point opens the report.
        mix_devices: also draw all devices on common charts.

    Returns:
        The report; `main` holds one flat row a point and device.
    """
    sections, rows = [], []
    for profile, ranks in profiles:
        own = rows_of(profile, ranks)
        sections.append(_section(profile, own, suffix="" if len(profiles) == 1 else f"-{device_slug(profile.device)}"))
        rows.append(own)
    latest, last = profiles[-1][0], rows[-1]
    opened = [budget_sentence(last, limits)] if limits else []
    if mix_devices and len(profiles) > 1:
        sections.append(_mixed([profile for profile, _ in profiles], rows))
    everything = [row for own in rows for row in own]
    said = [*opened, *advice(last, latest.gallery), f"Measured on {latest.device}."]
    return Report(
        title=title,
        stem="profile",
        sentences=said,
        sections=sections,
        brief=[
            *(_brief(section.tables[0], profile) for section, (profile, _) in zip(sections, profiles, strict=False)),
            f"Front: not dominated in (L)atency, (P)airs/s, (M)emory, (I)ndex size; {noise.MARK} noisy, decides nothing",
            *said,
        ],
        main=pd.DataFrame(everything),
        data={
            "profiles": [profile.model_dump(mode="json") for profile, _ in profiles],
            "budget": [limit.text for limit in limits],
            "points": everything,
        },
    )


def _brief(points: Table, profile: Profile) -> Table:
    """The points with the columns that a terminal has room for."""
    rows = points.frame.to_dict("records")
    letters = ["".join(axis.key[0].upper() for axis in AXES if row[f"front_{axis.key}"]) for row in rows]
    columns = [
        Column(key="label", title="Point"),
        Column(key="rsum", title="rSum", kind="number"),
        Column(key="t2i_ms", title="ms/query", kind="significant", digits=3, noise="noisy_t2i_ms"),
        Column(key="pairs_per_second", title="pairs/s", kind="significant", digits=3, noise="noisy_pairs_per_second"),
        Column(key="memory_mib", title="MiB", kind="significant", digits=3),
        Column(key="index_bytes_per_image", title="B/image", kind="significant", digits=3),
        Column(key="letters", title="Front"),
    ]
    caption = f"{profile.device}, gallery {profile.gallery:,}"
    return replace(points, frame=points.frame.assign(letters=letters), columns=columns, caption=caption)


def flat_metrics(row: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a point's row, for a tracker."""
    return {
        key: float(value)
        for key, value in row.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and not pd.isna(value)
    }


def _section(profile: Profile, rows: list[Row], suffix: str) -> Section:
    drawn: list[Figure | None] = [pareto_figure(rows, axis, [profile.device], suffix) for axis in AXES]
    drawn += [scaling_figure(profile, suffix), cascade_figure(rows, profile, suffix)]
    tables = [_points(rows, profile, suffix), _scaling(profile, suffix), _work(rows, profile, suffix)]
    tables += [_scenarios(profile, suffix)]
    rates = ", ".join(f"{rate:,.0f} GFLOP/s in {dtype}" for dtype, rate in profile.matrix_gflops.items())
    return Section(
        title=f"{profile.dataset} {profile.split} on {profile.device}",
        sentences=[opening(profile), *warnings(profile)],
        tables=[table for table in tables if len(table.frame)],
        figures=[figure for figure in drawn if figure is not None],
        reading=READING,
        footnotes=[
            f"Matrix product: {rates}; torch {profile.environment.torch}, data {profile.data_sha256[:12]}, code "
            f"{profile.code.revision[:12]}."
        ],
    )


def _mixed(profiles: Sequence[Profile], rows: Sequence[list[Row]]) -> Section:
    """All devices on the same charts, which was asked for."""
    devices = [profile.device for profile in profiles]
    joined = [
        {**row, "label": f"{row['label']} @ {device}", "base": f"{row['base']} @ {device}"}
        for device, own in zip(devices, rows, strict=True)
        for row in own
    ]
    mark_fronts(joined)
    galleries = {profile.gallery for profile in profiles}
    drawn = [pareto_figure(joined, axis, devices, "-all-devices") for axis in AXES]
    note = "" if len(galleries) == 1 else " Their reference galleries differ, so latencies cannot be compared."
    return Section(
        title="All devices on one chart",
        sentences=[f"Points of {len(devices)} devices: {'; '.join(devices)}.{note}"],
        figures=[figure for figure in drawn if figure is not None],
    )


def _points(rows: Sequence[Row], profile: Profile, suffix: str) -> Table:
    order = sorted(rows, key=lambda row: (-row["rsum"], row["t2i_ms"]))
    frame = pd.DataFrame(order)
    to_images, to_captions = "Query, caption to images (ms)", "Image to captions (ms)"
    columns = [
        Column(key="label", title="Point", pinned=True),
        Column(key="rsum", title="rSum", kind="estimate", help="95 % interval over images"),
        Column(key="t2i_ms", title="p50", kind="estimate", digits=2, group=to_images, noise="noisy_t2i_ms"),
        Column(key="t2i_ms_p95", title="p95", kind="significant", digits=3, group=to_images, noise="noisy_t2i_ms"),
        Column(key="t2i_ms_p99", title="p99", kind="significant", digits=3, group=to_images, noise="noisy_t2i_ms"),
        Column(key="t2i_ms_iqr", title="IQR", kind="significant", digits=2, group=to_images, noise="noisy_t2i_ms"),
        Column(key="i2t_ms", title="p50", kind="estimate", digits=2, group=to_captions, noise="noisy_i2t_ms"),
        Column(key="pairs_per_second", title="Pairs/s", kind="significant", digits=3, noise="noisy_pairs_per_second"),
        Column(key="memory_mib", title="Memory (MiB)", kind="significant", digits=3, help="weights + index + working"),
        Column(key="index_bytes_per_image", title="Index (B/image)", kind="significant", digits=3),
        Column(key="fronts", title="On the front of"),
        Column(key="beaten_by", title="Dominated by", prose=True),
    ]
    return Table(
        frame=frame,
        columns=columns,
        caption=f"All points, best rSum first; queries at a gallery of {profile.gallery:,}, on {profile.device}",
        key=f"points{suffix}",
        muted=[number for number, row in enumerate(order) if not row["fronts"] and not row["noisy"]],
    )


def _scaling(profile: Profile, suffix: str) -> Table:
    rows = scaling_rows(profile)
    for row in rows:
        for size in profile.galleries:
            value = row.get(f"ms_{size}")
            mark = " (extrapolated)" if row.get(f"extrapolated_{size}") else ""
            row[f"shown_{size}"] = None if value is None else f"{significant(value, 3)}{mark}"
        row["shown_direction"] = "caption to images" if row["direction"] == "t2i" else "image to captions"
    columns = [
        Column(key="label", title="Scorer"),
        Column(key="shown_direction", title="Direction"),
        *(Column(key=f"shown_{size}", title=f"{size:,}", group="ms a query (p50) at a gallery of") for size in profile.galleries),
        Column(key="exponent", title="Exponent", kind="estimate", digits=2, help="of a power law, 95 % t interval"),
    ]  # fmt: skip
    caption = f"Growth of a query with the gallery, on {profile.device}"
    return Table(frame=pd.DataFrame(rows), columns=columns, caption=caption, key=f"scaling{suffix}")


def _work(rows: Sequence[Row], profile: Profile, suffix: str) -> Table:
    frame = pd.DataFrame([row for row in rows if row["kind"] != "cascade"])
    columns = [
        Column(key="label", title="Point", pinned=True),
        Column(key="params_millions", title="Params (M)", kind="significant", digits=3),
        Column(key="pair_kflops", title="kFLOP a pair", kind="significant", digits=3),
        Column(key="encode_image_mflops", title="MFLOP an image", kind="significant", digits=3),
        Column(key="encode_text_mflops", title="MFLOP a caption", kind="significant", digits=3),
        Column(key="achieved_gflops", title="GFLOP/s achieved", kind="significant", digits=3, help="scoring pairs"),
        Column(key="achieved_percent", title="% of a matrix product", kind="significant", digits=2),
        Column(key="index_mib", title="Index (MiB)", kind="significant", digits=3),
    ]
    caption = f"Arithmetic and size, index of {profile.gallery:,} images, on {profile.device}"
    return Table(frame=frame, columns=columns, caption=caption, key=f"work{suffix}")


def _scenarios(profile: Profile, suffix: str) -> Table:
    rows = [{**row, "is_noisy": "noisy" if row["noisy"] else ""} for row in scenario_rows(profile)]
    columns = [
        Column(key="label", title="Point", pinned=True),
        Column(key="scenario", title="Scenario"),
        Column(key="samples", title="Samples", kind="number", digits=0),
        Column(key="p50_ms", title="p50", kind="significant", digits=3, group="ms", noise="noisy"),
        Column(key="p95_ms", title="p95", kind="significant", digits=3, group="ms", noise="noisy"),
        Column(key="p99_ms", title="p99", kind="significant", digits=3, group="ms", noise="noisy"),
        Column(key="iqr_ms", title="IQR", kind="significant", digits=2, group="ms"),
        Column(key="minimum_ms", title="Minimum", kind="significant", digits=3, group="ms"),
        Column(key="spread_percent", title="Rounds apart (%)", kind="number", digits=0),
        Column(key="other_cpu_percent", title="Other CPU (%)", kind="number", digits=0),
        Column(key="is_noisy", title="Noise"),
        Column(key="parts", title="Parts (ms)", prose=True),
        Column(key="parts_percent", title="Parts / whole (%)", kind="number", digits=0),
        Column(key="throughput", title="Throughput", prose=True),
        Column(key="memory_working_mib", title="Working memory (MiB)", kind="significant", digits=3),
        Column(key="memory_peak_rss_mib", title="Process peak (MiB)", kind="significant", digits=3),
        Column(key="memory_peak_gpu_allocated_mib", title="GPU allocated (MiB)", kind="significant", digits=3),
        Column(key="memory_peak_gpu_reserved_mib", title="GPU reserved (MiB)", kind="significant", digits=3),
        Column(key="memory_driver_mib", title="GPU in use, driver (MiB)", kind="significant", digits=3),
    ]
    frame = pd.DataFrame(rows)
    return Table(
        frame=frame,
        columns=[column for column in columns if column.key in frame and frame[column.key].notna().any()],
        caption=f"Every scenario, on {profile.device}",
        key=f"scenarios{suffix}",
        collapsed=True,
        for_paper=False,
    )
