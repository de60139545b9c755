"""The profile report: accuracy against throughput, latency and memory, from profile records alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from harness.records import noise
from harness.records.profile import Profile, device_slug
from harness.records.ranks import RankTable
from harness.reports.document.model import Report, Section
from harness.reports.profile import tables, text
from harness.reports.profile.budget import Limit
from harness.reports.profile.figures import cascade_figure, pareto_figure, scaling_figure
from harness.reports.profile.rows import AXES, Row, mark_fronts, rows_of

_LEGEND = f"Front: not dominated in (L)atency, (P)airs/s, (M)emory, (I)ndex size; {noise.MARK} noisy, decides nothing"


def build(
    profiles: Sequence[tuple[Profile, Mapping[str, RankTable]]],
    *,
    title: str,
    limits: Sequence[Limit] = (),
    mix_devices: bool = False,
) -> Report:
    """Build the report of the profiles of one name, one section per device.

    Args:
        profiles: with the ranks of their points, the one to advise by last.
        title: heading.
        limits: of a budget; the best point that satisfies them opens the report.
        mix_devices: also draw all devices on common charts.

    Returns:
        The report; `main` holds one flat row per point and device.
    """
    records = [profile for profile, _ in profiles]
    rows = [rows_of(profile, ranks) for profile, ranks in profiles]
    sections = [_section(profile, own) for profile, own in zip(records, rows, strict=True)]
    if len(profiles) > 1:
        sections = [_keyed(section, profile) for section, profile in zip(sections, records, strict=True)]
    brief = [tables.brief(part.tables[0], profile) for part, profile in zip(sections, records, strict=True)]
    if mix_devices and len(profiles) > 1:
        sections.append(_mixed(records, rows))
    latest, last = records[-1], rows[-1]
    opened = [text.budget_sentence(last, limits)] if limits else []
    sentences = [*opened, *text.advice(last, latest.gallery), f"Measured on {latest.device}."]
    everything = [row for own in rows for row in own]
    return Report(
        title=title,
        stem="profile",
        sentences=sentences,
        sections=sections,
        brief=[*brief, _LEGEND, *sentences],
        main=pd.DataFrame(everything),
        data={
            "run_ids": list(
                dict.fromkeys(run_id for one in records for point in one.points for run_id in point.run_ids)
            ),
            "profiles": [profile.model_dump(mode="json") for profile in records],
            "budget": [limit.text for limit in limits],
            "points": everything,
        },
    )


def flat_metrics(row: Mapping[Any, Any]) -> dict[str, float]:
    """The numbers of a point's row, for a tracker."""
    numbers = {
        key: value for key, value in row.items() if isinstance(value, int | float) and not isinstance(value, bool)
    }
    return {key: float(value) for key, value in numbers.items() if not pd.isna(value)}


def _section(profile: Profile, rows: list[Row]) -> Section:
    drawn = [pareto_figure(rows, axis, [profile.device]) for axis in AXES]
    drawn += [scaling_figure(profile), cascade_figure(rows, profile)]
    made = [
        tables.points(rows, profile),
        tables.scaling(profile),
        tables.indexes(profile),
        tables.work(rows, profile),
        tables.scenarios(profile),
    ]
    rates = ", ".join(f"{rate:,.0f} GFLOP/s in {dtype}" for dtype, rate in profile.matrix_gflops.items())
    return Section(
        title=f"{profile.dataset} {profile.split} on {profile.device}",
        sentences=[text.opening(profile), *text.warnings(profile)],
        tables=[table for table in made if len(table.frame)],
        figures=[figure for figure in drawn if figure is not None],
        reading=text.READING,
        footnotes=[
            f"Matrix product: {rates}; torch {profile.environment.torch}, data {profile.data_sha256[:12]}, code "
            f"{profile.code.revision[:12]}."
        ],
    )


def _keyed(section: Section, profile: Profile) -> Section:
    """The section with keys that tell its tables and figures from those of other devices."""
    slug = device_slug(profile.device)
    return replace(
        section,
        tables=[replace(table, key=f"{table.key}-{slug}") for table in section.tables],
        figures=[replace(figure, key=f"{figure.key}-{slug}") for figure in section.figures],
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
    drawn = [pareto_figure(joined, axis, devices) for axis in AXES]
    same = len({profile.gallery for profile in profiles}) == 1
    note = "" if same else " Their reference galleries differ, so latencies cannot be compared."
    return Section(
        title="All devices on one chart",
        sentences=[f"Points of {len(devices)} devices: {'; '.join(devices)}.{note}"],
        figures=[replace(figure, key=f"{figure.key}-all-devices") for figure in drawn if figure is not None],
    )
