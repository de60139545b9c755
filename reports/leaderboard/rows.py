"""The numbers of a leaderboard: one flat row per method and gallery, best first, with intervals, tiers and costs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from harness.records import noise
from harness.records.store import RunStore
from harness.reports.document.model import Column
from harness.reports.runs.groups import Gallery, Group
from harness.reports.runs.loading import method_runs
from harness.reports.statistics.comparison import compare
from harness.reports.statistics.errors import InvalidComparison, TooFewImages
from harness.reports.statistics.hits import METRICS
from harness.reports.statistics.intervals import single_interval
from harness.reports.statistics.ranking import RankedMethod, tiers
from harness.reports.statistics.refusals import default_claim
from harness.reports.statistics.results import Comparison
from harness.reports.statistics.runs import MethodRuns

Row = dict[str, Any]

#: The costs of a record that are shown, in this order.
COSTS = tuple(
    Column(
        key,
        title,
        "significant",
        help=what,
        noise=f"{key}_noisy",
        better="higher" if key == "pairs_per_second" else "lower",
    )
    for key, title, what in (
        ("params_millions", "Params (M)", "parameters of the whole model, millions"),
        ("encode_image_ms_p50", "Image (ms)", "median time to encode one image"),
        ("encode_text_ms_p50", "Text (ms)", "median time to encode one caption"),
        ("pairs_per_second", "Pairs/s", "image-caption pairs scored per second, both already encoded"),
        ("train_step_ms_p50", "Train step (ms)", "median time of a training step"),
        (
            "train_waiting_percent",
            "Waiting (%)",
            "share of the time of training steps that they waited for their batch",
        ),
        ("peak_memory_mib", "Peak memory (MiB)", "GPU memory, or resident memory of the process without a GPU"),
        ("index_bytes_per_image", "Index (B/image)", "size of one encoded image"),
    )
)
#: Where the peak of memory is looked for, the first that is known.
_MEMORY = {"peak_gpu_allocated_mib": "GPU allocated", "peak_rss_mib": "process resident", "peak_memory_mib": "peak"}
# Beside the recalls, from the records: median and mean rank, and the share of queries that tie with a wrong item.
_EXTRA_METRICS = ("i2t_medr", "i2t_meanr", "t2i_medr", "t2i_meanr", "tie_rate")
_COUNTS = ("tier", "rank", "rank_low", "rank_high", "seeds", "images", "captions", "tuning_trials", "tuning_steps")
#: Every column of the CSV.
_COLUMNS = (
    *("dataset", "split", "protocol", "tier", "rank", "rank_low", "rank_high"),
    *("label", "scorer", "variant", "backbone", "origin", "kind", "seeds", "images", "captions"),
    *(f"{metric}{part}" for metric in METRICS for part in ("", "_sd", "_low", "_high")),
    *("interval_covers", *_EXTRA_METRICS, "tuning_trials", "tuning_steps", "tuning_seconds"),
    *(cost.key for cost in COSTS),
    *(cost.noise for cost in COSTS if cost.key in noise.TIMES),
    *("peak_memory_kind", "device", "data_sha256", "citation", "note", "source", "run_ids", "selected_on"),
)


@dataclass(frozen=True, eq=False)
class Board:
    """A gallery's leaderboard."""

    gallery: Gallery
    groups: tuple[Group, ...]  # the methods, best rSum first
    rows: tuple[Row, ...]  # their flat rows, in the same order
    ranked: tuple[RankedMethod, ...]  # the measured methods; empty where they could not be compared
    comparison: Comparison | None  # of all pairs on rSum
    refusal: str  # why there is no comparison, in a sentence
    images: int  # queries
    captions: int
    captions_per_image: tuple[int, int]  # fewest and most


def make_board(store: RunStore, gallery: Gallery, groups: Sequence[Group]) -> Board:
    """Compute a gallery's leaderboard from its groups.

    Raises:
        InvalidRecord, InvalidComparison: see `harness.reports.runs.loading.method_runs`.
    """
    runs = {group.label: method_runs(store, group) for group in groups if group.first.has_ranks}
    comparison, refusal = _compare(list(runs.values()))
    ranked = tiers(comparison) if comparison else ()
    places = {place.name: place for place in ranked}
    order = {name: position for position, name in enumerate(places)}
    made = {group.label: _row(group, runs.get(group.label), places.get(group.label)) for group in groups}

    def best_first(group: Group) -> tuple[float, int, str]:
        rsum = made[group.label]["rsum"]
        # Rounded far below what is printed: equal hits may give sums that differ in their last bits.
        return 1.0 if rsum is None else -round(rsum, 9), order.get(group.label, len(order)), group.label

    by_place = sorted(groups, key=best_first)
    first = next(iter(runs.values()), None)
    counts = [0] if first is None else np.bincount(first.caption_image, minlength=len(first.image_ids))
    return Board(
        gallery=gallery,
        groups=tuple(by_place),
        rows=tuple(made[group.label] for group in by_place),
        ranked=ranked,
        comparison=comparison,
        refusal=refusal,
        images=int(first.image_queried.sum()) if first else 0,
        captions=len(first.caption_ids) if first else 0,
        captions_per_image=(int(min(counts)), int(max(counts))),
    )


def flat_row(gallery: Gallery, **values: Any) -> Row:
    """A row with all columns of the CSV in their order; None where no value is given."""
    place = {"dataset": gallery.dataset, "split": gallery.split, "protocol": gallery.protocol}
    return dict.fromkeys(_COLUMNS) | place | values


def board_frame(rows: Sequence[Row]) -> pd.DataFrame:
    """Rows as a frame whose counts stay whole where some are missing."""
    return pd.DataFrame(rows, columns=list(_COLUMNS)).astype(dict.fromkeys(_COUNTS, "Int64"))


def _compare(runs: Sequence[MethodRuns]) -> tuple[Comparison | None, str]:
    if len(runs) < 2:
        return None, "There is nothing to compare it with, so it has no tier." if runs else ""
    options: Any = {"claim": default_claim(runs), "correction": "maxt", "allow_unequal_seeds": True}
    try:
        return compare(runs, metrics=("rsum",), **options), ""
    except InvalidComparison as error:
        return None, f"The methods have no tiers, since they could not be compared: {error}."


def _row(group: Group, runs: MethodRuns | None, place: RankedMethod | None) -> Row:
    record, costs = group.first, [record.cost for record in group.records]
    budgets = [record.tuning.budget for record in group.records]
    memory = next((key for key in _MEMORY if group.cost(key) is not None), None)
    row = flat_row(
        group.gallery,
        label=group.label,
        scorer=record.scorer,
        variant=record.variant,
        backbone=record.backbone,
        origin=record.code_origin if record.has_ranks else "published",
        seeds=len(group.seeds),
        tuning_trials=_most(record.tuning.trials for record in group.records if record.tuning.is_known),
        tuning_steps=_most(budget.steps for budget in budgets if budget),
        tuning_seconds=_most(budget.seconds for budget in budgets if budget),
        device=group.computed_on,
        data_sha256=group.gallery.data_sha256,
        citation=record.citation,
        run_ids=" ".join(group.run_ids),
    )
    row |= {name: group.metric(name) for name in (*METRICS, *_EXTRA_METRICS)}
    for cost in COSTS:
        row[cost.key] = group.cost(cost.key)
        if cost.key in noise.TIMES and row[cost.key] is not None:
            row[cost.noise] = noise.is_noisy(costs, cost.key)
    if memory:
        row |= {"peak_memory_mib": group.cost(memory), "peak_memory_kind": _MEMORY[memory]}
    if runs is not None:
        row |= {"images": int(runs.image_queried.sum()), "captions": len(runs.caption_ids), **_intervals(runs)}
    if place is not None:
        row |= {key: getattr(place, key) for key in ("tier", "rank", "rank_low", "rank_high")}
    return row


def _intervals(runs: MethodRuns) -> Row:
    """Mean, SD over seeds and interval of every recall and rSum; a single image has no interval."""
    row: Row = {"interval_covers": "images and seeds" if len(runs.seeds) > 1 else "images"}
    try:
        for metric in METRICS:
            row |= single_interval(runs, metric).columns(metric)
    except TooFewImages:
        return {}
    return row


def _most(values: Iterable[float]) -> int | None:
    return max((round(value) for value in values), default=None)
