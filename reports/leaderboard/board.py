"""The numbers of a leaderboard: one flat row a method and gallery, best first, with intervals, tiers and costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from harness.records import noise
from harness.records.run import RunStore
from harness.reports.document.model import Column, Kind
from harness.reports.runs.loading import Gallery, Group, method_runs
from harness.reports.statistics.comparison import compare
from harness.reports.statistics.errors import InvalidComparison, TooFewImages
from harness.reports.statistics.hits import METRICS, RECALLS
from harness.reports.statistics.intervals import Interval, single_interval
from harness.reports.statistics.ranking import RankedMethod, tiers
from harness.reports.statistics.refusals import default_claim
from harness.reports.statistics.results import Comparison
from harness.reports.statistics.runs import MethodRuns

#: Cost columns, in the order shown: key in the record, heading, significant digits, what it is.
COSTS: tuple[tuple[str, str, int, str], ...] = (
    ("params_millions", "Params (M)", 3, "parameters of the whole model, millions"),
    ("encode_image_ms_p50", "Image (ms)", 3, "median time to encode one image"),
    ("encode_text_ms_p50", "Text (ms)", 3, "median time to encode one caption"),
    ("pairs_per_second", "Pairs/s", 3, "image-caption pairs scored in a second, both already encoded"),
    ("train_step_ms_p50", "Train step (ms)", 3, "median time of a training step"),
    (
        "peak_memory_mib",
        "Peak memory (MiB)",
        3,
        "allocated GPU memory, or resident memory of the process without a GPU",
    ),
    ("index_bytes_per_image", "Index (B/image)", 3, "bytes to keep of an encoded image"),
)
# Beside the recalls, from the records: median and mean rank, and the share of queries that tie with a wrong item.
EXTRA_METRICS = ("i2t_medr", "i2t_meanr", "t2i_medr", "t2i_meanr", "tie_rate")
_DIRECTIONS = {"i2t": "Image to text", "t2i": "Text to image"}
_MEMORY = (
    ("peak_gpu_allocated_mib", "GPU allocated"),
    ("peak_rss_mib", "process resident"),
    ("peak_memory_mib", "peak"),
)


@dataclass(frozen=True, eq=False)
class Board:
    """A gallery's leaderboard.

    Args:
        gallery: where.
        groups: the methods, best rSum first.
        rows: their flat rows, in the same order.
        ranked: places of the measured methods by the tests; empty where they could not be compared.
        comparison: of all pairs on rSum, or None.
        refusal: why there is none, in a sentence; empty if there is one.
        images, captions: queries of the gallery.
        captions_an_image: fewest and most captions of an image.
    """

    gallery: Gallery
    groups: tuple[Group, ...]
    rows: tuple[dict[str, Any], ...]
    ranked: tuple[RankedMethod, ...]
    comparison: Comparison | None
    refusal: str
    images: int
    captions: int
    captions_an_image: tuple[int, int]


def make_board(store: RunStore, gallery: Gallery, groups: Sequence[Group]) -> Board:
    """Compute a gallery's leaderboard from its groups.

    Raises:
        InvalidRecord, InvalidComparison: see `harness.reports.runs.loading.method_runs`.
    """
    runs = {group.label: method_runs(store, group) for group in groups if group.first.origin == "measured"}
    comparison, refusal = _compare(list(runs.values()))
    ranked = tiers(comparison) if comparison else ()
    places = {place.name: place for place in ranked}
    made = {group.label: _row(group, runs.get(group.label), places.get(group.label)) for group in groups}
    order = {place.name: position for position, place in enumerate(ranked)}
    by_place = sorted(groups, key=lambda g: (-_score(made[g.label]), order.get(g.label, len(order)), g.label))
    first = next(iter(runs.values()), None)
    return Board(
        gallery=gallery,
        groups=tuple(by_place),
        rows=tuple(made[group.label] for group in by_place),
        ranked=ranked,
        comparison=comparison,
        refusal=refusal,
        images=int(first.image_queried.sum()) if first else 0,
        captions=len(first.caption_ids) if first else 0,
        captions_an_image=_captions_an_image(first),
    )


def empty_row(gallery: Gallery) -> dict[str, Any]:
    """A flat row without numbers: the columns of the CSV in their order."""
    row: dict[str, Any] = {
        "dataset": gallery.dataset,
        "split": gallery.split,
        "protocol": gallery.protocol,
        **dict.fromkeys(("tier", "rank", "rank_low", "rank_high", "label", "scorer", "variant", "backbone")),
        **dict.fromkeys(("origin", "kind", "seeds", "images", "captions")),
    }
    for metric in METRICS:
        row |= dict.fromkeys((metric, f"{metric}_sd", f"{metric}_low", f"{metric}_high"))
    row |= dict.fromkeys(("interval_covers", *EXTRA_METRICS, "tuning_trials", "tuning_steps", "tuning_seconds"))
    row |= dict.fromkeys(key for key, *_ in COSTS)
    row |= dict.fromkeys(noise_key(key) for key, *_ in COSTS if key in noise.TIMES)
    return row | dict.fromkeys(("peak_memory_kind", "device", "data_sha256", "citation", "note", "source", "run_ids"))


def noise_key(cost: str) -> str:
    """The column that says whether a time of a row is noisy."""
    return f"{cost}_noisy"


def board_frame(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Rows as a frame whose whole numbers stay whole where some are missing."""
    columns = list(rows[0]) if rows else []
    frame = pd.DataFrame(rows, columns=columns)
    for name in (
        "tier",
        "rank",
        "rank_low",
        "rank_high",
        "seeds",
        "images",
        "captions",
        "tuning_trials",
        "tuning_steps",
    ):
        if name in frame:
            frame[name] = frame[name].astype("Int64")
    return frame


def recall_columns(kind: Kind = "estimate") -> list[Column]:
    """The six recalls as columns of a table, as estimates or as plain numbers."""
    return [
        Column(
            key=recall,
            title=f"R@{recall.partition('_r')[2]}",
            kind=kind,
            group=_DIRECTIONS[recall[:3]],
            help=f"{_DIRECTIONS[recall[:3]].lower()}: percent of queries with a correct item among the first "
            f"{recall.partition('_r')[2]}",
        )
        for recall in RECALLS
    ]


def device(group: Group) -> str:
    """What the runs of a group were computed and timed on; several where the seeds differ."""
    return "; ".join(dict.fromkeys(record.environment.computed_on for record in group.records))


def _compare(runs: Sequence[MethodRuns]) -> tuple[Comparison | None, str]:
    if len(runs) < 2:
        return None, "There is nothing to compare it with, so it has no tier." if runs else ""
    try:
        return compare(
            runs, metrics=("rsum",), claim=default_claim(runs), correction="maxt", allow_unequal_seeds=True
        ), ""
    except InvalidComparison as error:
        return None, f"The methods have no tiers, since they could not be compared: {error}."


def _score(row: Mapping[str, Any]) -> float:
    # Rounded far below what is printed: equal hits may give sums that differ in their last bits.
    return -1.0 if row["rsum"] is None else round(row["rsum"], 9)


def _captions_an_image(runs: MethodRuns | None) -> tuple[int, int]:
    if runs is None:
        return 0, 0
    counts = np.bincount(runs.caption_image, minlength=len(runs.image_ids))
    return int(counts.min()), int(counts.max())


def _row(group: Group, runs: MethodRuns | None, place: RankedMethod | None) -> dict[str, Any]:
    record = group.first
    memory, memory_kind = _peak_memory(group)
    row = empty_row(group.gallery) | {
        "label": group.label,
        "scorer": record.scorer,
        "variant": record.variant,
        "backbone": record.backbone,
        "origin": record.code_origin if record.origin == "measured" else "published",
        "seeds": len(group.seeds),
        **{name: group.metric(name) for name in (*METRICS, *EXTRA_METRICS)},
        "tuning_trials": _most(record.tuning.trials for record in group.records),
        **{
            f"tuning_{key}": _most(getattr(record.tuning.budget, key, None) for record in group.records)
            for key in ("steps", "seconds")
        },
        **{key: group.cost(key) for key, *_ in COSTS},
        **{
            noise_key(key): noise.is_noisy([record.cost for record in group.records], key)
            for key, *_ in COSTS
            if key in noise.TIMES and group.cost(key) is not None
        },
        "peak_memory_mib": memory,
        "peak_memory_kind": memory_kind,
        "device": device(group),
        "data_sha256": group.gallery.data_sha256,
        "citation": record.citation,
        "run_ids": " ".join(group.run_ids),
    }
    if runs is not None:
        row |= {"images": int(runs.image_queried.sum()), "captions": len(runs.caption_ids), **_intervals(runs)}
    if place is not None:
        row |= {"tier": place.tier, "rank": place.rank, "rank_low": place.rank_low, "rank_high": place.rank_high}
    return row


def _intervals(runs: MethodRuns) -> dict[str, Any]:
    """Mean, SD over seeds and interval of every recall and rSum; a single image has no interval."""
    try:
        found = {metric: single_interval(runs, metric) for metric in METRICS}
    except TooFewImages:
        return {}
    covers = {"interval_covers": "images and seeds" if len(runs.seeds) > 1 else "images"}
    return covers | {key: value for metric, i in found.items() for key, value in _named(metric, i).items()}


def _named(metric: str, found: Interval) -> dict[str, float | None]:
    return {
        metric: found.mean,
        f"{metric}_sd": found.sd,
        f"{metric}_low": found.low,
        f"{metric}_high": found.high,
    }


def _most(values: Iterable[Any]) -> int | None:
    """The largest of a group's whole numbers that are known."""
    known = [round(value) for value in values if value is not None]
    return max(known) if known else None


def _peak_memory(group: Group) -> tuple[float | None, str | None]:
    for key, name in _MEMORY:
        value = group.cost(key)
        if value is not None:
            return value, name
    return None, None
