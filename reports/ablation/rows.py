"""The numbers of an ablation: every model against the reference, one flat row per model and protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.records import noise
from harness.records.store import RunStore
from harness.reports.document.model import Column
from harness.reports.runs.groups import Gallery, Group, groups
from harness.reports.runs.loading import finished_records, method_runs
from harness.reports.runs.sizes import Size, gallery_size
from harness.reports.statistics.comparison import compare
from harness.reports.statistics.hits import METRICS
from harness.reports.statistics.refusals import default_claim
from harness.reports.statistics.results import Comparison

Row = dict[str, Any]

#: Costs, shown as the change from the reference in percent.
COSTS = tuple(
    Column(f"{key}_percent", title, "number", group="Cost", noise=f"{key}_noisy")
    for key, title in (
        ("params_millions", "Params (%)"),
        ("train_step_ms_p50", "Train step (%)"),
        ("query_ms_p50", "Query (%)"),
        ("peak_memory_mib", "Memory (%)"),
    )
)


@dataclass(frozen=True)
class Ablated:
    """A model of the ablation."""

    label: str  # as tables name it
    removed: tuple[str, ...]  # the variants merged into it
    run_ids: tuple[str, ...]  # its finished runs, one per seed


@dataclass(frozen=True)
class Published:
    """What a paper prints for the same switches."""

    rsum: Mapping[str, float]  # by variant; "" is the complete model
    source: str  # where it is printed, on what data

    def difference(self, removed: Sequence[str], reference_removed: Sequence[str]) -> float | None:
        """rSum of a single switch minus the complete model's, where both are printed."""
        if reference_removed or len(removed) != 1 or not {"", *removed} <= self.rsum.keys():
            return None
        return self.rsum[removed[0]] - self.rsum[""]


@dataclass(frozen=True, eq=False)
class Effects:
    """An ablation on one gallery."""

    gallery: Gallery
    reference: str  # label of the model that the others are compared with
    rows: tuple[Row, ...]  # that of the reference, then the others in their order
    comparison: Comparison  # of every other model with the reference
    devices: tuple[str, ...]  # what the runs were computed and timed on
    size: Size

    @property
    def by_loss(self) -> list[Row]:
        """The reference, then the others from the largest loss to the largest gain."""
        return [self.rows[0], *sorted(self.rows[1:], key=lambda row: row["rsum_difference"])]


def effects(
    store: RunStore, models: Sequence[Ablated], reference: str, published: Published | None = None
) -> list[Effects]:
    """Compare every model with the reference, gallery by gallery; see `report.build`."""
    by_gallery: dict[Gallery, dict[str, Group]] = {}
    for model in models:
        for gallery, found in groups(finished_records(store, model.run_ids)).items():
            by_gallery.setdefault(gallery, {})[model.label] = replace(found[0], label=model.label)
    removed = {model.label: model.removed for model in models}
    made = []
    for gallery, members in by_gallery.items():
        runs = [method_runs(store, group) for group in members.values()]
        comparison = compare(runs, claim=default_claim(runs), pairs=reference, allow_unequal_seeds=True)
        rows = []
        for label in sorted(comparison.methods, key=lambda label: label != reference):
            row = _row(members[label], members[reference], comparison, removed[label])
            if published and label != reference:
                row["published_difference"] = published.difference(removed[label], removed[reference])
            rows.append(row)
        devices = dict.fromkeys(group.computed_on for group in members.values())
        made.append(
            Effects(
                gallery, reference, tuple(rows), comparison, tuple(devices), gallery_size(runs[0], gallery.protocol)
            )
        )
    return made


def _row(group: Group, reference: Group, comparison: Comparison, removed: Sequence[str]) -> Row:
    label = group.label
    scores = comparison.scores[comparison.methods.index(label)].tolist()
    row: Row = {
        "dataset": group.gallery.dataset,
        "protocol": group.gallery.protocol,
        "model": label,
        "removed": ", ".join(removed),
        "seeds": len(group.seeds),
        **dict(zip(comparison.metrics, scores, strict=True)),
    }
    pairs = {pair.metric: pair for pair in comparison.rows if pair.a == label}
    for metric in METRICS:
        for part in ("difference", "low", "high", "p_adjusted"):
            row[f"{metric}_{part}"] = getattr(pairs.get(metric), part, None)
    row |= {part: getattr(pairs.get("rsum"), part, None) for part in ("p", "p_adjusted", "wins", "losses")}
    costs = [record.cost for record in (*group.records, *reference.records)]
    for column in COSTS:
        key = column.key.removesuffix("_percent")
        mine, theirs = group.cost(key), reference.cost(key)
        known = bool(pairs) and mine is not None and bool(theirs)
        row[column.key] = 100 * (mine / theirs - 1) if known else None  # type: ignore[operator]
        row[column.noise] = noise.is_noisy(costs, key) if known else None
    return row | {"published_difference": None, "run_ids": " ".join(group.run_ids)}
