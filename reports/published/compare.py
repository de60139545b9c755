"""Measured recalls beside printed ones: the difference, whether it is one between harnesses, and what may explain it.

A printed figure is one number of one model: it has no interval, so nothing here is a test. Methods without a match are
shown with the nearest printed rows; none is left out in silence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from harness.errors import InvalidRecord, counted
from harness.records.store import RunStore
from harness.records.ties import RECALLS
from harness.reports.document.model import Report, Section
from harness.reports.document.text import fixed
from harness.reports.published.match import Measured, candidates, causes, measured
from harness.reports.published.rows import published_metrics, published_rows
from harness.reports.published.tables import extra_table, matching_table, nearest_table, reading
from harness.reports.runs.groups import Group, groups
from harness.reports.runs.loading import finished_records
from harness.reports.statistics.checks import number

STEM = "compare-published"
#: Points of a recall that two harnesses give to the same weights: OpenAI's ViT-B-32 on COCO 5K has R@5 75.00 / 55.94 in
#: one and 74.82 / 55.85 in another.
TOLERANCE = 0.2
_NEAREST = 5
_FIGURES = (*RECALLS, "rsum")


def build(store: RunStore, run_ids: Sequence[str], *, tolerance: float = TOLERANCE) -> Report:
    """Compare finished runs with the published figures.

    Args:
        store: where the runs lie.
        run_ids: finished runs; those that differ only in their seed are one method, and their mean is compared.
        tolerance: points of a recall within which a printed figure counts as met.

    Returns:
        One part per gallery; `main` is flat, one row per pair of a method and a printed row.

    Raises:
        InvalidRecord: a run is missing or damaged.
        InvalidSetting: a tolerance that is NaN, infinite or negative; it would match nothing or everything.
    """
    number(tolerance, "the tolerance in points", least=0)
    frame = published_rows()
    printed = frame[frame["kind"] != "ablation"]  # of other papers' methods: `itm ablate` shows those
    pairs, sentences, sections = [], [], []
    records = [record for record in finished_records(store, run_ids) if record.has_ranks]
    if not records:
        raise InvalidRecord("these runs have averages only; what was ranked here is compared with printed figures")
    for gallery, members in groups(records).items():
        table = store.ranks(members[0].first.run_id)[gallery.protocol]
        size, captions = len(table.i2t_rank), len(table.t2i_rank)
        found = [_compare(group, printed, size, tolerance) for group in members]
        part = [pair for rows, _ in found for pair in rows]
        said = [sentence for _, sentence in found]
        matching = [pair for pair in part if pair["comparable"]]
        shown = [
            (matching_table, matching),
            (nearest_table, [pair for pair in part if not pair["comparable"]]),
            (extra_table, [row for group in members for row in _extra(group)]),
        ]
        about = f"{gallery.title} ({size:,} images and {captions:,} captions)"
        tables = [make(gallery, rows) for make, rows in shown if rows]
        tables = [replace(made, caption=made.caption.replace(gallery.title, about, 1)) for made in tables]
        sections.append(
            Section(title=gallery.title, sentences=said, tables=tables, reading=reading(matching, tolerance))
        )
        pairs += part
        sentences += said
    return Report(
        title="Measured and published",
        stem=STEM,
        sentences=sentences,
        sections=sections,
        main=pd.DataFrame(pairs),
        data={"tolerance": tolerance, "run_ids": list(run_ids), "pairs": pairs},
    )


def _compare(group: Group, printed: pd.DataFrame, size: int, tolerance: float) -> tuple[list[dict[str, Any]], str]:
    """The flat rows of a group and the sentence about it."""
    ours = measured(group.first)
    found, lacking = candidates(ours, group.gallery, size, printed)
    rows = found.to_dict("records")
    name = f"{group.label} [{group.first.backbone}] on {group.gallery.title}"
    if lacking:
        pairs = [_pair(group, ours, row, lacking, None) for row in rows[:_NEAREST]]
        return pairs, f"{name}: no published row of {lacking}{_listed(rows)}"
    pairs = [_pair(group, ours, row, "same method and backbone", tolerance) for row in rows]
    pairs.sort(key=lambda pair: (pair["differences"], _farthest(pair)))
    return pairs, f"{name}: {_said(pairs, tolerance)}"


def _listed(rows: Sequence[Mapping[Any, Any]]) -> str:
    if not rows:
        return "."
    parts = dict.fromkeys(
        f"{row['method']} ({row['visual_backbone']} + {row['text_encoder'] or 'no text encoder named'}) on "
        f"{row['dataset']} {row['protocol']}"
        for row in rows
    )
    more = f", and {len(parts) - _NEAREST} more" if len(parts) > _NEAREST else ""
    return f"; nearest: {'; '.join(list(parts)[:_NEAREST])}{more}."


def _pair(group: Group, ours: Measured, row: Mapping[Any, Any], match: str, tolerance: float | None) -> dict[str, Any]:
    """One flat row; without a tolerance the two are not comparable and no difference is given."""
    values = {key: group.metric(key) for key in _FIGURES}
    printed = {key: None if pd.isna(row[key]) else float(row[key]) for key in _FIGURES}
    differ = {key: _minus(values[key], printed[key]) if tolerance is not None else None for key in _FIGURES}
    gaps = {key: gap for key in RECALLS if (gap := differ[key]) is not None}
    worst = max(gaps, key=lambda key: abs(gaps[key])) if gaps else None
    within = bool(abs(gaps[worst]) <= (tolerance or 0.0) + 1e-9) if worst else None
    why = causes(ours, row)
    return {
        "dataset": group.gallery.dataset,
        "split": group.gallery.split,
        "protocol": group.gallery.protocol,
        "label": group.label,
        "backbone": group.first.backbone,
        "origin": group.first.code_origin,
        "seeds": len(group.seeds),
        "match": match,
        "comparable": tolerance is not None,
        "printed_method": row["method"],
        "printed_variant": row["variant"],
        "printed_backbone": " + ".join(filter(None, (row["visual_backbone"], row["text_encoder"]))),
        "printed_resolution": None if pd.isna(row["resolution"]) else int(row["resolution"]),
        "printed_kind": row["kind"],
        "printed_selected_on": row["selected_on"],
        "printed_selected_on_source": row["selected_on_source"],
        **{f"measured_{key}": value for key, value in values.items()},
        **{f"printed_{key}": value for key, value in printed.items()},
        **{f"delta_{key}": value for key, value in differ.items()},
        "seed_sd": _spread(group),
        "farthest": worst,
        "within_tolerance": within,
        "verdict": _verdict(gaps, worst, within),
        # that our code is a re-implementation holds for every printed row and tells none apart
        "differences": len(why) - ours.reimplemented,
        "causes": "" if within else "; ".join(why),
        "marks": row["known_issue"],
        "source": row["source"],
        "run_ids": " ".join(group.run_ids),
    }


def _minus(value: float | None, printed: float | None) -> float | None:
    # rounded where binary fractions would turn 0.2 into 0.2000000001
    return None if value is None or printed is None else round(value - printed, 9)


def _spread(group: Group) -> float | None:
    """Largest standard deviation over seeds of a recall."""
    if len(group.seeds) < 2:
        return None
    metrics = [record.metrics[group.gallery.protocol] for record in group.records]
    return float(max(np.std([m[key] for m in metrics], ddof=1) for key in RECALLS))


def _verdict(gaps: Mapping[str, float], worst: str | None, within: bool | None) -> str:
    if worst is None:
        return "not comparable"
    compared = "" if len(gaps) == len(RECALLS) else f", {len(gaps)} of 6 recalls printed"
    if within:
        return f"met{compared}"
    side = "above" if gaps[worst] > 0 else "below"
    direction, _, k = worst.partition("_r")
    return f"{side} by up to {fixed(abs(gaps[worst]), 1)} ({direction} R@{k}){compared}"


def _farthest(pair: Mapping[str, Any]) -> float:
    return abs(pair[f"delta_{pair['farthest']}"]) if pair["farthest"] else float("inf")


def _said(pairs: Sequence[Mapping[str, Any]], tolerance: float) -> str:
    """The nearest of the matching rows in a sentence."""
    met = [pair for pair in pairs if pair["within_tolerance"]]
    first = met[0] if met else pairs[0]
    variant = f" ({first['printed_variant']})" if first["printed_variant"] else ""
    printed = f"{first['printed_method']}{variant}"
    count = f"{counted(len(pairs), 'published row')} of the same method and backbone"
    if met:
        return f"{count}; {printed} is met within {tolerance:g} points on every printed recall."
    why = f"; likely: {first['causes']}" if first["causes"] else ""
    return f"{count}; {first['verdict']} against {printed}{why}."


def _extra(group: Group) -> list[dict[str, Any]]:
    """Published metrics other than recalls of the same method, any backbone, where the protocol has them."""
    keys = pd.DataFrame([{"protocol": group.gallery.protocol, "key": measured(group.first).key}])
    found = []
    for row in keys.merge(published_metrics(), on=["protocol", "key"]).to_dict("records"):
        for direction in ("i2t", "t2i"):
            value, printed = group.metric(f"{direction}_{row['name']}"), float(row[direction])
            found.append(
                {
                    "label": group.label,
                    "run_ids": " ".join(group.run_ids),
                    "metric": f"{row['metric']} {direction}",
                    "measured": value,
                    "printed": printed,
                    "delta": _minus(value, printed),
                    "variant": row["variant"],
                    "source": row["source"],
                }
            )
    return found
