"""The numbers of a leaderboard: one flat row per method and gallery, best first, with intervals, tiers and costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from harness.records import noise
from harness.records.parts import Cost
from harness.records.store import RunStore
from harness.reports.document.model import Column
from harness.reports.leaderboard.baseline import Differences, Reference, differences, find_baseline
from harness.reports.leaderboard.further import Further, further_of, further_values
from harness.reports.leaderboard.prices import MONEY, Prices, priced
from harness.reports.runs import evidence
from harness.reports.runs.groups import Gallery, Group
from harness.reports.runs.loading import method_runs
from harness.reports.runs.sizes import Size, gallery_size
from harness.reports.statistics.chance import Floor, at_chance, constant_scorer, random_scorer, shown_parts
from harness.reports.statistics.comparison import compare
from harness.reports.statistics.errors import InvalidComparison, TooFewImages
from harness.reports.statistics.hits import METRICS
from harness.reports.statistics.intervals import single_interval
from harness.reports.statistics.ranking import RankedMethod, tiers
from harness.reports.statistics.refusals import default_claim
from harness.reports.statistics.results import Comparison
from harness.reports.statistics.runs import MethodRuns
from harness.reports.statistics.telling import Tell, silent, told

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
        ("train_energy_wh", "Train energy (Wh)", "energy of the whole training, of what stands under Energy of"),
        (
            "energy_wh_per_million_pairs",
            "Energy (Wh/M pairs)",
            "energy of scoring a million encoded pairs, of what stands under Energy of",
        ),
        ("peak_memory_mib", "Peak memory (MiB)", "GPU memory, or resident memory of the process without a GPU"),
        ("index_bytes_per_image", "Index (B/image)", "size of one encoded image"),
    )
)
#: Where the peak of memory is looked for, the first that is known.
_MEMORY = {"peak_gpu_allocated_mib": "GPU allocated", "peak_rss_mib": "process resident", "peak_memory_mib": "peak"}
# Beside the recalls, from the records: median and mean rank, and the share of queries that tie with a wrong item.
_EXTRA_METRICS = ("i2t_medr", "i2t_meanr", "t2i_medr", "t2i_meanr", "tie_rate")
_COUNTS = (
    *("tier", "rank", "rank_low", "rank_high", "seeds", "images", "captions", "tuning_trials", "tuning_steps"),
    *("folds", "gallery_images", "gallery_captions", "contaminated_images"),
)
#: Every column of the CSV.
_COLUMNS = (
    *("dataset", "split", "protocol", "tier", "rank", "rank_low", "rank_high"),
    *("label", "scorer", "variant", "backbone", "origin", "kind", "seeds", "images", "captions"),
    *(f"{metric}{part}" for metric in METRICS for part in ("", "_sd", "_low", "_high")),
    *("interval_covers", *_EXTRA_METRICS, "tuning_trials", "tuning_steps", "tuning_seconds"),
    *("folds", "gallery_images", "gallery_captions", "chance_rsum", "at_chance"),
    *("baseline", "baseline_difference", "baseline_difference_low", "baseline_difference_high"),
    *("baseline_p", "baseline_p_adjusted", "ranked", "tuning_kind", "rsum_se", "rsum_seed_percent"),
    *("contamination", "contaminated_images", "contamination_compared", "test_selection_bonus"),
    *(cost.key for cost in COSTS),
    *(cost.noise for cost in COSTS if cost.key in noise.TIMES or cost.key in noise.ENERGIES),
    *("energy_covers", *MONEY),
    *("peak_memory_kind", "device", "data_sha256", "citation", "note", "source", "run_ids", "selected_on"),
    "selected_on_source",
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
    size: Size | None = None  # of the gallery; None without ranks
    floors: tuple[Floor, ...] = ()  # a random order, then constant scores; empty where the files do not decide them
    against: Differences | None = None  # a baseline, where one was asked for and is on this gallery
    prices: Prices | None = None  # that the reader gave
    metrics: tuple[Further, ...] = ()  # beside those of the protocol


def with_prices(board: Board, prices: Prices | None) -> Board:
    """A board whose rows say what trainings and scoring cost at some prices."""
    if prices is None:
        return board
    rows = [row | priced(group.records, prices) for row, group in zip(board.rows, board.groups, strict=True)]
    return replace(board, rows=tuple(rows), prices=prices)


def make_board(
    store: RunStore,
    gallery: Gallery,
    groups: Sequence[Group],
    reference: Reference | None = None,
    tell: Tell = silent,
) -> Board:
    """Compute a gallery's leaderboard from its groups.

    Args:
        store: where the runs lie.
        gallery: what the board is about.
        groups: its methods.
        reference: a baseline to set them against.
        tell: told of how far it is.

    Raises:
        InvalidRecord, InvalidComparison: see `harness.reports.runs.loading.method_runs` and
            `harness.reports.leaderboard.baseline.find_baseline`.
    """
    measured = [group for group in groups if group.first.has_ranks]
    runs = {group.label: method_runs(store, group) for group in told("reading ranks", measured, tell)}
    comparison, refusal = _compare(list(runs.values()), tell)
    ranked = tiers(comparison) if comparison else ()
    places = {place.name: place for place in ranked}
    order = {name: position for position, name in enumerate(places)}
    made = {
        group.label: _row(group, runs.get(group.label), places.get(group.label))
        for group in told("intervals", groups, tell)
    }
    first = next(iter(runs.values()), None)
    metrics = further_of(groups)
    for group in groups:
        made[group.label] |= further_values(group, metrics)
    size = gallery_size(first, gallery.protocol) if first else None
    floors = _floors(first, size, groups) if first and size else ()
    against = _against(reference, gallery, runs, made) if reference else None
    for label, row in made.items():
        row |= against.rows.get(label, {}) if against else {}
        row |= _of_gallery(row, size if label in runs else None, floors)

    def best_first(group: Group) -> tuple[float, int, str]:
        rsum = made[group.label]["rsum"]
        # Rounded far below what is printed: equal hits may give sums that differ in their last bits.
        return 1.0 if rsum is None else -round(rsum, 9), order.get(group.label, len(order)), group.label

    by_place = sorted(groups, key=best_first)
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
        size=size,
        floors=floors,
        against=against,
        metrics=metrics,
    )


def flat_row(gallery: Gallery, **values: Any) -> Row:
    """A row with all columns of the CSV in their order; None where no value is given."""
    place = {"dataset": gallery.dataset, "split": gallery.split, "protocol": gallery.protocol}
    return dict.fromkeys(_COLUMNS) | place | values


def board_frame(rows: Sequence[Row]) -> pd.DataFrame:
    """Rows as a frame whose counts stay whole where some are missing; further metrics stand behind the other columns."""
    columns = list(dict.fromkeys([*_COLUMNS, *(key for row in rows for key in row)]))
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(_COUNTS, "Int64"))


def _floors(runs: MethodRuns, size: Size, groups: Sequence[Group]) -> tuple[Floor, ...]:
    """Scorers that know nothing, where the ranks decide how many correct items each query has."""
    if size.queries_only:
        return ()
    asked = runs.caption_image, len(runs.image_ids), runs.fold
    rules = sorted(
        {group.first.ties for group in groups if group.first.has_ranks} - {"expected"}
    )  # that is a random order
    constant = [constant_scorer(*asked, ties=rule) for rule in rules]
    return (random_scorer(*asked), *([replace(constant[0], name="constant scores")] if len(rules) == 1 else constant))


def _of_gallery(row: Row, size: Size | None, floors: Sequence[Floor]) -> Row:
    """What a row has from its gallery: how large that is, what a random order scores there, and whether it scores more."""
    found: Row = {}
    if size and not size.queries_only:
        found = {"folds": len(size.images), "gallery_images": min(size.images), "gallery_captions": min(size.captions)}
    if floors:
        found["chance_rsum"] = floors[0].scores["rsum"]
        if row["rsum_low"] is not None:
            found["at_chance"] = ", ".join(shown_parts(at_chance(row, floors[0]))) or "no"
    return found


def _against(
    reference: Reference, gallery: Gallery, runs: Mapping[str, MethodRuns], made: Mapping[str, Row]
) -> Differences | None:
    scores = {label: row["rsum"] for label, row in made.items() if row["rsum"] is not None}
    baseline = find_baseline(reference, gallery, runs, scores)
    return differences(baseline, runs, scores) if baseline else None


def _compare(runs: Sequence[MethodRuns], tell: Tell) -> tuple[Comparison | None, str]:
    if len(runs) < 2:
        return None, "There is nothing to compare it with, so it has no tier." if runs else ""
    options: Any = {"claim": default_claim(runs), "correction": "maxt", "allow_unequal_seeds": True}
    try:
        return compare(runs, metrics=("rsum",), tell=tell, **options), ""
    except InvalidComparison as error:
        return None, f"The methods have no tiers, since they could not be compared: {error}."


def _row(group: Group, runs: MethodRuns | None, place: RankedMethod | None) -> Row:
    record, costs = group.first, [record.cost for record in group.records]
    budgets = [record.tuning.budget for record in group.records]
    overlap = evidence.contamination(group.records)
    memory = next((key for key in _MEMORY if group.cost(key) is not None), None)
    row = flat_row(
        group.gallery,
        label=group.label,
        scorer=record.scorer,
        variant=record.variant,
        backbone=record.backbone,
        energy_covers=_energy_covers(costs),
        origin=record.code_origin if record.has_ranks else "published",
        ranked=evidence.measured_by(record),
        selected_on=evidence.selected_on(group.records),
        tuning_kind=evidence.tuning(group.records),
        contamination=str(overlap),
        contaminated_images=overlap.shared,
        contamination_compared=overlap.how,
        test_selection_bonus=evidence.mean_bonus(group.records),
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
        if (cost.key in noise.TIMES or cost.key in noise.ENERGIES) and row[cost.key] is not None:
            row[cost.noise] = noise.is_noisy(costs, cost.key)
    if memory:
        row |= {"peak_memory_mib": group.cost(memory), "peak_memory_kind": _MEMORY[memory]}
    if runs is not None:
        row |= {"images": int(runs.image_queried.sum()), "captions": len(runs.caption_ids), **_intervals(runs)}
    if place is not None:
        row |= {key: getattr(place, key) for key in ("tier", "rank", "rank_low", "rank_high")}
    return row


def _energy_covers(costs: Iterable[Cost]) -> str | None:
    """What the energies of a row are of; where its runs differ, all that any of them says, and None where none has any."""
    found = [getattr(cost, key) for cost in costs for key in noise.ENERGIES.values()]
    return "; ".join(dict.fromkeys(filter(None, found))) or None


def _intervals(runs: MethodRuns) -> Row:
    """Mean, SD over seeds and interval of every recall and rSum; a single image has no interval."""
    row: Row = {"interval_covers": "images and seeds" if len(runs.seeds) > 1 else "images"}
    try:
        found = {metric: single_interval(runs, metric) for metric in METRICS}
    except TooFewImages:
        return {}
    for metric, interval in found.items():
        row |= interval.columns(metric)
    whole = found["rsum"]
    row["rsum_se"] = whole.se
    if whole.sd is not None and whole.se > 0:
        row["rsum_seed_percent"] = 100.0 * whole.sd**2 / len(runs.seeds) / whole.se**2
    return row


def _most(values: Iterable[float]) -> int | None:
    return max((round(value) for value in values), default=None)
