"""Measured recalls beside printed ones: the difference, whether it is one between harnesses, and what may explain it.

A printed figure is one number of one model: it has no interval, so nothing here is a test. Rows that do not match are
named with the nearest printed ones; none is left out in silence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.records.run import RunStore
from harness.reports.document.model import Column, Report, Section, Table
from harness.reports.document.text import fixed
from harness.reports.published import rows as published
from harness.reports.published.match import (
    PROTOCOLS,
    Measured,
    causes,
    marks,
    measured,
    printed_backbone,
    printed_method,
    same_backbone,
)
from harness.reports.runs.loading import Gallery, Group, finished_records, groups
from harness.reports.statistics.checks import number

STEM = "compare-published"
#: Points of a recall that two harnesses give to the same weights: OpenAI's ViT-B-32 on COCO 5K has R@5 75.00 / 55.94 in
#: one and 74.82 / 55.85 in another.
TOLERANCE = 0.2
_NEAREST = 5
_RECALLS = published.RECALLS
_SHORT = {key: f"{key[:3]} R@{key.partition('_r')[2]}" for key in _RECALLS}
_EXTRA = {"ECCV mAP@R": ("eccv_caption", "map_at_r"), "ECCV R-Precision": ("eccv_caption", "r_precision")}


def build(store: RunStore, run_ids: Sequence[str], *, tolerance: float = TOLERANCE, path: Path | None = None) -> Report:
    """Compare finished runs with the published figures.

    Args:
        store: where the runs lie.
        run_ids: finished runs; those that differ only in their seed are one method, and their mean is compared.
        tolerance: points of a recall within which a printed figure counts as met.
        path: another file of published figures.

    Returns:
        The report: a part a gallery with the rows that match and the nearest ones of methods without a match; `main` is
        flat, one row a pair of a method and a printed row.

    Raises:
        InvalidRecord: a run is missing or damaged, or the published figures are.
        InvalidSetting: a tolerance that is NaN, infinite or negative; it would match nothing or everything.
    """
    number(tolerance, "the tolerance in points", least=0)
    frame = published.load(path)
    rows: list[dict[str, Any]] = []
    sentences: list[str] = []
    sections = []
    for gallery, members in groups(finished_records(store, run_ids)).items():
        size = len(store.ranks(members[0].first.run_id)[gallery.protocol].i2t_rank)
        found = [_compare(group, frame, size, tolerance) for group in members]
        part = [row for pairs, _ in found for row in pairs]
        said = [sentence for _, sentence in found]
        rows += part
        sentences += said
        sections.append(_section(gallery, part, said, _extra(members, path), tolerance))
    return Report(
        title="Measured and published",
        stem=STEM,
        sentences=sentences,
        sections=sections,
        main=pd.DataFrame(rows),
        data={"tolerance": tolerance, "run_ids": list(run_ids), "pairs": rows},
    )


def _compare(group: Group, frame: pd.DataFrame, size: int, tolerance: float) -> tuple[list[dict[str, Any]], str]:
    """The flat rows of a group and what to say of it."""
    ours, gallery = measured(group.first), group.gallery
    protocol = PROTOCOLS.get(gallery.protocol, gallery.protocol)
    rows = [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]
    table = [row for row in rows if row["kind"] != "ablation"]  # of other papers' methods: `itm ablate` shows those
    same = [row for row in table if _same_place(row, gallery, protocol) and printed_method(row) == ours.method]
    exact = [row for row in same if same_backbone(ours, row)]
    fitting = [row for row in exact if not row["images"] or row["images"] == size]
    name = f"{group.label} [{group.first.backbone}] on {gallery.title}"
    if fitting:
        pairs = [_pair(group, ours, row, "same method and backbone", tolerance) for row in fitting]
        pairs.sort(key=lambda pair: (pair["differences"], _farthest(pair)))
        return pairs, f"{name}: {_said(pairs, tolerance)}"
    why, nearest = _nearest(ours, gallery, protocol, table, same, exact, size)
    pairs = [_pair(group, ours, row, why, None) for row in nearest[:_NEAREST]]
    return pairs, f"{name}: no published row of {why}{_listed(nearest)}"


def _same_place(row: Mapping[str, Any], gallery: Gallery, protocol: str) -> bool:
    return row["dataset"] == gallery.dataset and row["protocol"] == protocol


def _nearest(
    ours: Measured,
    gallery: Gallery,
    protocol: str,
    table: list[dict[str, Any]],
    same: list[dict[str, Any]],
    exact: list[dict[str, Any]],
    size: int,
) -> tuple[str, list[dict[str, Any]]]:
    """Why nothing matches, and the rows that come nearest: the fewer things differ, the nearer."""
    if exact:
        return f"{size:,} test images (printed: {exact[0]['images']:,})", exact
    if same:
        return "the same backbone", same
    method = [row for row in table if printed_method(row) == ours.method]
    here = [row for row in table if _same_place(row, gallery, protocol)]
    if method:
        method.sort(key=lambda row: (row["dataset"] != gallery.dataset, not same_backbone(ours, row)))
        return f"this method on {gallery.dataset}, {gallery.protocol}", method
    if here:
        here.sort(key=lambda row: not same_backbone(ours, row))
        return f"the method '{ours.method}'", here
    return f"the method '{ours.method}', nor any on {gallery.dataset}, {gallery.protocol}", []


def _listed(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return "."
    parts = [
        f"{row['method']} ({row['visual_backbone']} + {row['text_encoder'] or 'no text encoder named'}) on {row['dataset']} "
        f"{row['protocol']}"
        for row in rows
    ]
    shown = list(dict.fromkeys(parts))
    more = f", and {len(shown) - _NEAREST} more" if len(shown) > _NEAREST else ""
    return f"; nearest: {'; '.join(shown[:_NEAREST])}{more}."


def _pair(group: Group, ours: Measured, row: Mapping[str, Any], match: str, tolerance: float | None) -> dict[str, Any]:
    """One flat row; without a tolerance the two are not comparable and no difference is given."""
    values = {key: group.metric(key) for key in (*_RECALLS, "rsum")}
    printed = {key: None if pd.isna(row[key]) else float(row[key]) for key in (*_RECALLS, "rsum")}
    differ = {key: _minus(values[key], printed[key]) if tolerance is not None else None for key in values}
    recalls = {key: differ[key] for key in _RECALLS if differ[key] is not None}
    worst = max(recalls, key=lambda key: abs(recalls[key] or 0.0)) if recalls else None
    within = bool(abs(recalls[worst] or 0.0) <= (tolerance or 0.0) + 1e-9) if worst else None
    why = causes(ours, row)
    backbone = printed_backbone(row)
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
        "printed_resolution": backbone.resolution,
        "printed_kind": row["kind"],
        **{f"measured_{key}": value for key, value in values.items()},
        **{f"printed_{key}": value for key, value in printed.items()},
        **{f"delta_{key}": value for key, value in differ.items()},
        "seed_sd": _spread(group),
        "farthest": worst,
        "within_tolerance": within,
        "verdict": _verdict(recalls, worst, within),
        "differences": len([cause for cause in why if not cause.startswith("re-implementation: this")]),
        "causes": "" if within else "; ".join(why),
        "marks": marks(row),
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
    return float(max(np.std([m[key] for m in metrics], ddof=1) for key in _RECALLS))


def _verdict(recalls: Mapping[str, float | None], worst: str | None, within: bool | None) -> str:
    if worst is None:
        return "not comparable"
    compared = "" if len(recalls) == len(_RECALLS) else f", {len(recalls)} of 6 recalls printed"
    if within:
        return f"met{compared}"
    gap = recalls[worst] or 0.0
    return f"{'above' if gap > 0 else 'below'} by up to {fixed(abs(gap), 1)} ({_SHORT[worst]}){compared}"


def _farthest(pair: Mapping[str, Any]) -> float:
    return abs(pair[f"delta_{pair['farthest']}"] or 0.0) if pair["farthest"] else float("inf")


def _said(pairs: Sequence[Mapping[str, Any]], tolerance: float) -> str:
    """The nearest of the matching rows in a sentence."""
    met = [pair for pair in pairs if pair["within_tolerance"]]
    first = met[0] if met else pairs[0]
    variant = f" ({first['printed_variant']})" if first["printed_variant"] else ""
    printed = f"{first['printed_method']}{variant}"
    count = f"{len(pairs)} published row{'' if len(pairs) == 1 else 's'} of the same method and backbone"
    if met:
        return f"{count}; {printed} is met within {tolerance:g} points on every printed recall."
    why = f"; likely: {first['causes']}" if first["causes"] else ""
    return f"{count}; {first['verdict']} against {printed}{why}."


def _extra(members: Sequence[Group], path: Path | None) -> list[dict[str, Any]]:
    """Published mAP@R and R-Precision of the same method, where the protocol has them; kept in a file of their own."""
    file = (path.parent if path else published.FOLDER) / "published_extra_metrics.csv"
    if not file.is_file():
        return []
    table = pd.read_csv(file, keep_default_na=False).to_dict("records")
    rows = []
    for group in members:
        ours = measured(group.first)
        for row in table:
            protocol, metric = _EXTRA.get(row["metric"], ("", ""))
            if protocol != group.gallery.protocol or published.method_key(row["method"]) != ours.method:
                continue
            for direction in ("i2t", "t2i"):
                value, printed = group.metric(f"{direction}_{metric}"), float(row[direction])
                rows.append(
                    {
                        "label": group.label,
                        "metric": f"{row['metric']} {direction}",
                        "measured": value,
                        "printed": printed,
                        "delta": _minus(value, printed),
                        "variant": row["variant"],
                        "source": row["source"],
                    }
                )
    return rows


def _section(
    gallery: Gallery, rows: list[dict[str, Any]], said: Sequence[str], extra: list[dict[str, Any]], tolerance: float
) -> Section:
    matching = [row for row in rows if row["comparable"]]
    nearest = [row for row in rows if not row["comparable"]]
    tables = []
    if matching:
        tables.append(
            Table(
                frame=pd.DataFrame(matching),
                columns=_columns("delta", "measured minus printed"),
                caption=f"{gallery.title}: measured minus printed, in points",
                key=f"matching-{gallery.slug}",
            )
        )
    if nearest:
        tables.append(
            Table(
                frame=pd.DataFrame(nearest),
                columns=_columns("printed", "as printed"),
                caption=f"{gallery.title}: nearest published rows of methods without a match, as printed",
                key=f"nearest-{gallery.slug}",
                muted=range(len(nearest)),
            )
        )
    if extra:
        tables.append(
            Table(
                frame=pd.DataFrame(extra),
                columns=[
                    Column(key="label", title="Measured", pinned=True),
                    Column(key="metric", title="Metric"),
                    *(Column(key=key, title=key.title(), kind="number") for key in ("measured", "printed", "delta")),
                    Column(key="variant", title="Printed variant"),
                    Column(key="source", title="Source", prose=True),
                ],
                caption=f"{gallery.title}: further published metrics of the same methods, any backbone, in percent",
                key=f"extra-{gallery.slug}",
            )
        )
    return Section(title=gallery.title, sentences=said, tables=tables, reading=_reading(matching, tolerance))


def _columns(prefix: str, help: str) -> list[Column]:
    shown = [
        Column(
            key=f"{prefix}_{key}",
            title=f"R@{key.partition('_r')[2]}",
            kind="number",
            group="Image to text" if key.startswith("i2t") else "Text to image",
            help=help,
        )
        for key in _RECALLS
    ]
    verdict = [Column(key="verdict", title="Verdict")] if prefix == "delta" else []
    return [
        Column(key="label", title="Measured", pinned=True),
        Column(key="printed_method", title="Printed"),
        Column(key="printed_variant", title="Variant"),
        *shown,
        Column(key=f"{prefix}_rsum", title="rSum", kind="number", help=help),
        *verdict,
        Column(key="printed_backbone", title="Printed backbone"),
        Column(key="causes", title="Likely causes of a gap", prose=True),
        Column(key="marks", title="Known of the printed row", prose=True),
        Column(key="source", title="Source", prose=True),
    ]


def _reading(matching: Sequence[Mapping[str, Any]], tolerance: float) -> list[str]:
    if not matching:
        return ["Nothing here is comparable with a printed figure; the rows are shown to say what exists."]
    notes = [
        f"A printed figure is met if every recall that it has is within {tolerance:g} points: two harnesses differ by "
        "that much on the same weights. It is one number of one model, without seeds, spread or per-query data, so "
        "neither a gap nor its absence is a test.",
        "Causes are what is known to differ between the two, not what was shown to make the gap.",
    ]
    if any(row["marks"] for row in matching):
        notes.append("Printed rows that contradict themselves or another paper are shown as printed and marked.")
    spread = [row["seed_sd"] for row in matching if row["seed_sd"] is not None]
    if spread:
        notes.append(
            f"Measured numbers are means over seeds; a recall's standard deviation is at most {max(spread):.1f}."
        )
    return notes
