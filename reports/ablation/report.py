"""The ablation report: what each component contributes, with interval, corrected p, cost and the published effect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from harness.records import noise
from harness.records.run import RunRecord
from harness.records.store import RunStore
from harness.reports.document import figures
from harness.reports.document.model import Column, Figure, Report, Section, Table
from harness.reports.leaderboard.rows import device
from harness.reports.runs.groups import Gallery, Group, groups
from harness.reports.runs.loading import finished_records, method_runs
from harness.reports.statistics.comparison import compare
from harness.reports.statistics.hits import METRICS, RECALLS
from harness.reports.statistics.refusals import default_claim
from harness.reports.statistics.results import Comparison, PairRow
from harness.reports.statistics.verdicts import verdict

#: cost key, heading, significant digits; shown as the change from the reference in percent
_COSTS = (
    ("params_millions", "Params (%)"),
    ("train_step_ms_p50", "Train step (%)"),
    ("query_ms_p50", "Query (%)"),
    ("peak_memory_mib", "Memory (%)"),
)
_BRIEF = ("model", "rsum", "rsum_difference", "p_adjusted", "published_difference")


@dataclass(frozen=True)
class Ablated:
    """A model of the ablation.

    Args:
        label: as tables name it.
        removed: the variants merged into it.
        run_ids: its finished runs, one a seed.
    """

    label: str
    removed: tuple[str, ...]
    run_ids: tuple[str, ...]


@dataclass(frozen=True)
class Published:
    """What a paper prints for the same switches.

    Args:
        rsum: by variant; "" is the complete model.
        source: where it is printed, on what data.
    """

    rsum: Mapping[str, float]
    source: str

    def difference(self, removed: Sequence[str], reference_removed: Sequence[str]) -> float | None:
        """rSum of a single switch minus the complete model's, where both are printed."""
        if reference_removed or len(removed) != 1 or "" not in self.rsum:
            return None
        return self.rsum[removed[0]] - self.rsum[""] if removed[0] in self.rsum else None


def build(
    store: RunStore,
    models: Sequence[Ablated],
    reference: str,
    *,
    title: str,
    published: Published | None = None,
    failures: Sequence[RunRecord] = (),
) -> Report:
    """Compare every model with the reference, one section a protocol.

    Args:
        store: where the runs lie.
        models: the reference and at least one other, each with finished runs.
        reference: label of the model that the others are compared with.
        title: heading.
        published: effects that a paper prints, shown beside the measured ones.
        failures: records of runs that failed, to be listed.

    Returns:
        The report; `main` holds one flat row a model and protocol.

    Raises:
        InvalidRecord: a run is missing or damaged.
        InvalidComparison: the runs cannot be compared (other queries, too few images, ...).
    """
    by_gallery = _by_gallery(store, models)
    sections, rows = [], []
    for gallery, members in by_gallery.items():
        section, some = _section(store, gallery, members, models, reference, published)
        sections.append(section)
        rows += some
    if failures:
        lines = [f"{record.title}: {record.error}" for record in failures]
        sections.append(Section(title="Runs that failed", sentences=lines))
    return Report(
        title=title,
        stem="ablation",
        sentences=_opening(store, models, reference, published),
        sections=sections,
        brief=[_brief(section) for section in sections if section.tables],
        main=pd.DataFrame(rows),
        data={"reference": reference, "models": [vars(model) for model in models], "rows": rows},
    )


def _by_gallery(store: RunStore, models: Sequence[Ablated]) -> dict[Gallery, dict[str, Group]]:
    found: dict[Gallery, dict[str, Group]] = {}
    for model in models:
        for gallery, members in groups(finished_records(store, model.run_ids)).items():
            found.setdefault(gallery, {})[model.label] = replace(members[0], label=model.label)
    return found


def _section(
    store: RunStore,
    gallery: Gallery,
    members: Mapping[str, Group],
    models: Sequence[Ablated],
    reference: str,
    published: Published | None,
) -> tuple[Section, list[dict[str, Any]]]:
    runs = [method_runs(store, group) for group in members.values()]
    comparison = compare(runs, claim=default_claim(runs), pairs=reference, allow_unequal_seeds=True)
    removed = {model.label: model.removed for model in models}
    rows = [_row(gallery, group, members[reference], comparison, removed, published) for group in members.values()]
    order = {label: position for position, label in enumerate(comparison.methods)}
    rows.sort(key=lambda row: (row["model"] != reference, order[row["model"]]))
    shown = sorted(rows, key=lambda row: (row["model"] != reference, row["rsum_difference"] or 0.0))
    section = Section(
        title=gallery.title,
        sentences=[
            *(notice.message for notice in comparison.notices),
            *(verdict(comparison, row) for row in comparison.of_metric("rsum")),
        ],
        tables=[_effects(shown, reference, comparison, published), _recalls(shown, reference, comparison)],
        figures=[_figure(gallery, shown[1:], reference, published)],
        footnotes=[
            f"Measured on {'; '.join(dict.fromkeys(device(group) for group in members.values()))}. Costs are medians over "
            "seeds, as a change from the reference in percent.",
            "Positive differences: the model is better than the reference. The image is the unit of every interval and "
            f"test; rSum: Holm over the {len(members) - 1} comparisons; recalls: step-down maxT over all of them.",
            *([noise.LEGEND] if any(row[f"{key}_noisy"] for row in rows for key, _ in _COSTS) else []),
        ],
    )
    return section, rows


def _row(
    gallery: Gallery,
    group: Group,
    reference: Group,
    comparison: Comparison,
    removed: Mapping[str, tuple[str, ...]],
    published: Published | None,
) -> dict[str, Any]:
    label = group.label
    scores = dict(zip(comparison.metrics, comparison.scores[comparison.methods.index(label)].tolist(), strict=True))
    row: dict[str, Any] = {
        "dataset": gallery.dataset,
        "protocol": gallery.protocol,
        "model": label,
        "removed": ", ".join(removed[label]),
        "seeds": len(group.seeds),
        **scores,
    }
    pairs = {row.metric: row for row in comparison.rows if row.a == label}
    for metric in METRICS:
        row |= _difference(metric, pairs.get(metric))
    rsum = pairs.get("rsum")
    row |= {"p": rsum.p if rsum else None, "p_adjusted": rsum.p_adjusted if rsum else None}
    row |= {"wins": rsum.wins if rsum else None, "losses": rsum.losses if rsum else None}
    for key, _ in _COSTS:
        mine, theirs = group.cost(key), reference.cost(key)
        row[f"{key}_percent"] = 100 * (mine / theirs - 1) if rsum and mine is not None and theirs else None
        costs = [record.cost for record in (*group.records, *reference.records)]
        row[f"{key}_noisy"] = noise.is_noisy(costs, key) if row[f"{key}_percent"] is not None else None
    row["published_difference"] = (
        published.difference(removed[label], removed[reference.label]) if published and rsum else None
    )
    row["run_ids"] = " ".join(group.run_ids)
    return row


def _difference(metric: str, pair: PairRow | None) -> dict[str, float | None]:
    if pair is None:
        return dict.fromkeys((f"{metric}_difference", f"{metric}_low", f"{metric}_high", f"{metric}_p_adjusted"))
    return {
        f"{metric}_difference": pair.difference,
        f"{metric}_low": pair.low,
        f"{metric}_high": pair.high,
        f"{metric}_p_adjusted": pair.p_adjusted,
    }


def _effects(
    rows: Sequence[dict[str, Any]], reference: str, comparison: Comparison, published: Published | None
) -> Table:
    frame = pd.DataFrame(rows)
    for part in ("low", "high"):  # the interval belongs to the difference column
        frame[f"rsum_difference_{part}"] = frame[f"rsum_{part}"]
    frame = frame.drop(columns=["rsum_low", "rsum_high"])
    columns = [
        Column(key="model", title="Model"),
        Column(key="seeds", title="Seeds", kind="number", digits=0),
        Column(key="rsum", title="rSum", kind="number"),
        Column(key="rsum_difference", title="Difference", kind="estimate", help="model minus reference, 95 % interval"),
        Column(key="p", title="p", kind="p", help="raw"),
        Column(key="p_adjusted", title="Corrected p", kind="p"),
        Column(key="wins", title="Better", kind="number", digits=0, help="images on which it scores more"),
        Column(key="losses", title="Worse", kind="number", digits=0, help="images on which it scores less"),
    ]
    if published:
        columns.append(Column(key="published_difference", title="Published", kind="number", help=published.source))
    columns += [
        Column(key=f"{key}_percent", title=title, kind="number", group="Cost", noise=f"{key}_noisy")
        for key, title in _COSTS
    ]
    claim = "retrained models" if comparison.claim == "method" else "these trained models only"
    return Table(
        frame=frame,
        columns=columns,
        caption=f"Effect on rSum against {reference}, a claim about {claim}.",
        key=f"effects-{rows[0]['protocol']}",
        muted=[0],
    )


def _brief(section: Section) -> Table:
    """The effects with the columns that a terminal has room for."""
    effects = section.tables[0]
    columns = [column for column in effects.columns if column.key in _BRIEF]
    return replace(effects, columns=columns, caption=section.title)


def _recalls(rows: Sequence[dict[str, Any]], reference: str, comparison: Comparison) -> Table:
    frame = pd.DataFrame(rows)
    for metric in RECALLS:
        for part in ("low", "high"):
            frame[f"{metric}_difference_{part}"] = frame[f"{metric}_{part}"]
    columns = [Column(key="model", title="Model")]
    for metric in RECALLS:
        direction, _, k = metric.partition("_r")
        columns.append(Column(key=f"{metric}_difference", title=f"R@{k}", kind="estimate", group=direction))
    return Table(
        frame=frame.iloc[1:].reset_index(drop=True),
        columns=columns,
        caption=f"Difference of each recall to {reference}, points, with 95 % intervals.",
        key=f"recalls-{rows[0]['protocol']}",
        collapsed=True,
    )


def _figure(gallery: Gallery, rows: Sequence[dict[str, Any]], reference: str, published: Published | None) -> Figure:
    has_published = any(row["published_difference"] is not None for row in rows)
    with figures.canvas(7.5, 1.2 + 0.36 * len(rows)) as drawing:
        axes = drawing.subplots()
        axes.axvline(0, color=figures.GREY, linewidth=1)
        for number, row in enumerate(rows):
            axes.plot([row["rsum_low"], row["rsum_high"]], [number, number], color=figures.COLOURS[0], linewidth=1.8)
            axes.plot(
                [row["rsum_difference"]],
                [number],
                marker="o",
                color=figures.COLOURS[0],
                markerfacecolor=figures.COLOURS[0] if row["p_adjusted"] <= 0.05 else "white",
                linestyle="none",
                label="measured (filled: corrected p ≤ .05)" if number == 0 else None,
            )
            if row["published_difference"] is not None:
                axes.plot(
                    [row["published_difference"]],
                    [number],
                    marker="|",
                    markersize=13,
                    markeredgewidth=2,
                    color=figures.COLOURS[5],
                    linestyle="none",
                    label="published"
                    if not any(r["published_difference"] is not None for r in rows[:number])
                    else None,
                )
        axes.set_yticks(np.arange(len(rows)), [figures.label(row["model"], 40) for row in rows])
        axes.tick_params(axis="y", length=0, labelcolor="black")
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(f"difference in rSum to {figures.label(reference)}, 95 % interval")
        if rows:
            axes.legend(loc="upper center", bbox_to_anchor=(0.4, -0.18), ncols=2, fontsize=8)
    note = f" Bars in orange: {published.source}, other data." if has_published and published else ""
    worst = min(rows, key=lambda row: row["rsum_difference"])
    return Figure(
        drawing=drawing,
        key=f"{gallery.dataset}-{gallery.protocol}",
        caption=f"{gallery.title}: effect of each change on rSum.{note}",
        alt=f"Differences in rSum to {reference}; the largest loss is {worst['model']} at {worst['rsum_difference']:.1f}.",
    )


def _opening(store: RunStore, models: Sequence[Ablated], reference: str, published: Published | None) -> list[str]:
    sentences = [
        f"{len(models) - 1} models are compared with {reference}; each differs in the variants that its name says."
    ]
    if published:
        (first, *_) = finished_records(store, models[0].run_ids)
        sentences.append(
            f"Published: {published.source}. This code is a {first.code_origin}, on other data, backbones and training: "
            "only signs and orders of magnitude can be compared."
        )
    return sentences
