"""Sections on methods over several datasets: the table per dataset, Borda ranks and win rates, and their figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.patches import Rectangle

from harness.reports.document import figures
from harness.reports.document.model import Column, Figure, Section, Table
from harness.reports.document.palette import SHADES
from harness.reports.document.text import fixed
from harness.reports.significance.examine import Result
from harness.reports.significance.matched import Matched
from harness.reports.statistics.borda import Standings
from harness.reports.statistics.hits import decimals, metric_name
from harness.reports.statistics.intervals import single_interval

_MOST_METHODS = 40
_MOST_WRITTEN = 12
_SLOPE = 60
_READING = (
    "Each dataset is a voter: a method gets one point for every method that it beats there and half a point for a tie. The "
    "sum is its Borda count; as a share of the most points it is also its mean win rate over the other methods.",
    "Intervals come from drawing the images of every dataset anew, all datasets together. An image takes its captions and "
    "all methods and seeds along. They are about new images of these datasets and say nothing about other datasets.",
    "The frequency of first places is a bootstrap frequency: the share of draws in which the method has the highest count. "
    "It is not the probability that the method is best.",
)


def scores_section(
    results: Sequence[Result], found: Matched, order: Sequence[str], sentences: Sequence[str]
) -> Section:
    """Methods by datasets: each score with its interval and tier; what was not recorded stays empty."""
    metric = results[0].comparison.primary
    names = [*order, *(name for name in found.names if name not in order)]
    rows: list[dict[str, Any]] = [{"method": name} for name in names]
    columns = [Column("method", "Method", pinned=True)]
    for number, result in enumerate(results):
        runs = {run.name: run for run in result.methods}
        tiers = {place.name: place.tier for place in result.ranking}
        key = f"score_{number}"
        for row in rows:
            if row["method"] in runs:
                own = single_interval(runs[row["method"]], metric, alpha=result.comparison.alpha)
                row |= {**own.columns(key), f"tier_{number}": tiers.get(row["method"])}
        group = result.subject.title
        columns.append(Column(key, metric_name(metric), "estimate", decimals(metric), group=group, better="higher"))
        if tiers:
            columns.append(Column(f"tier_{number}", "Tier", "count", group=group))
    muted = [number for number, name in enumerate(names) if name in found.missing]
    return Section(
        title="Scores by dataset",
        sentences=sentences,
        tables=[
            Table(
                pd.DataFrame(rows),
                columns,
                f"{metric_name(metric)} of each method on each dataset, interval in brackets; — was not recorded",
                "by-dataset-scores",
                muted=muted,
            )
        ],
    )


def entries_table(results: Sequence[Result], found: Matched) -> Table:
    """The backbone and seeds behind every entry."""
    rows: list[dict[str, Any]] = []
    for name in found.names:
        row: dict[str, Any] = {"method": name}
        for number, result in enumerate(results):
            seeds = dict(zip(result.comparison.methods, result.comparison.seeds, strict=True)).get(name)
            row |= {f"backbone_{number}": result.subject.backbones.get(name), f"seeds_{number}": seeds}
        rows.append(row)
    columns = [Column("method", "Method")]
    for number, result in enumerate(results):
        group = result.subject.title
        columns += [Column(f"backbone_{number}", "Backbone", group=group)]
        columns += [Column(f"seeds_{number}", "Seeds", "count", group=group)]
    return Table(pd.DataFrame(rows), columns, "Entries that were matched", "entries", for_paper=False)


def standing_rows(standings: Standings) -> list[dict[str, Any]]:
    """One row per method, best first, at full precision."""
    order = np.lexsort((-standings.first, standings.places))
    return [
        {
            "method": standings.methods[i],
            "place": int(standings.places[i]),
            "place_low": int(standings.place_low[i]),
            "place_high": int(standings.place_high[i]),
            "borda": float(standings.counts[i]),
            "mean_rank": float(standings.ranks[:, i].mean()),
            "win_rate": 100 * float(standings.rates[i]),
            "win_rate_low": 100 * float(standings.rate_low[i]),
            "win_rate_high": 100 * float(standings.rate_high[i]),
            "first": 100 * float(standings.first[i]),
        }
        for i in order.tolist()
    ]


def ranking_section(standings: Standings, rows: Sequence[Mapping[str, Any]]) -> Section:
    """Borda ranks with their intervals."""
    shown = [{**row, "places": _places(row)} for row in rows]
    most = len(standings.datasets) * (len(standings.methods) - 1)
    columns = [
        Column("place", "Rank", "count", help="by Borda count; equal counts share the better rank"),
        Column("method", "Method", pinned=True),
        Column("places", "Rank interval"),
        Column("borda", "Borda count", "number", help=f"of at most {most}"),
        Column("mean_rank", "Mean rank", "number", 2, help="over datasets"),
        Column("win_rate", "Win rate %", "estimate", help="mean over the other methods"),
        Column("first", "First %", "number", help="bootstrap frequency of the highest count"),
    ]
    table = Table(pd.DataFrame(shown), columns, f"Borda ranks over {len(standings.datasets)} datasets", "borda")
    figure = _intervals(standings, rows)
    return Section(title="Borda ranks", tables=[table], figures=[figure] if figure else [], reading=_READING)


def win_section(standings: Standings, rows: Sequence[Mapping[str, Any]]) -> Section:
    """Who beats whom on how many datasets, and in how many draws."""
    order = [standings.methods.index(row["method"]) for row in rows]
    pairs = [
        {
            "a": standings.methods[i],
            "b": standings.methods[j],
            "wins": 100 * standings.wins[i, j],
            "ahead": 100 * standings.ahead[i, j],
        }
        for place, i in enumerate(order)
        for j in order[place + 1 :]
    ]
    columns = [
        Column("a", "A"),
        Column("b", "B"),
        Column("wins", "Datasets %", "number", help="share of datasets on which A scores more; equal counts half"),
        Column(
            "ahead", "Draws %", "number", help="share of draws in which A has the higher Borda count; equal counts half"
        ),
    ]
    table = Table(
        pd.DataFrame(pairs), columns, "Win rates of A against B", "win-rates", collapsed=len(pairs) > 30,
        for_paper=len(pairs) <= 45,
    )  # fmt: skip
    figure = _heat_map(standings, order)
    return Section(title="Win rates", tables=[table], figures=[figure] if figure else [])


def _places(row: Mapping[str, Any]) -> str:
    return "–".join(dict.fromkeys((str(row["place_low"]), str(row["place_high"]))))


def _intervals(standings: Standings, rows: Sequence[Mapping[str, Any]]) -> Figure | None:
    size = len(rows)
    if size > _MOST_METHODS:
        return None
    with figures.canvas(6.5, 1.2 + 0.28 * size) as drawing:
        axes = drawing.subplots()
        for number, row in enumerate(rows):
            said = f"{row['method']}: rank {row['place']}, interval {_places(row)}"
            line = axes.hlines(number, row["place_low"], row["place_high"], color=SHADES[2], linewidth=4)
            figures.describe(line, said)
            (dot,) = axes.plot(row["place"], number, "o", color=SHADES[3], markersize=6)
            figures.describe(dot, said)
        figures.rows_down(axes, [figures.label(str(row["method"]), 30) for row in rows])
        axes.set_xlim(0.5, size + 0.5)
        axes.set_xticks(range(1, size + 1, max(1, size // 10)))
        axes.set_xlabel("rank by Borda count (1 = best)")
    level = f"{100 * (1 - standings.alpha):g} %"
    return Figure(
        drawing,
        "rank-intervals",
        f"Rank by Borda count (dot) and the {level} interval of ranks over draws of new images (bar).",
        f"Rank intervals of {size} methods; the table of Borda ranks has the numbers.",
    )


def _heat_map(standings: Standings, order: Sequence[int]) -> Figure | None:
    size = len(order)
    if size > _MOST_METHODS:
        return None
    names = [figures.label(standings.methods[i], 26) for i in order]
    cell = 0.62 if size <= _MOST_WRITTEN else 0.24
    room = max(figures.text_size(name, 9)[0] for name in names) / 72
    with figures.canvas(cell * size + 2 * room + 0.6, cell * size + room + 0.9) as drawing:
        axes = drawing.subplots()
        for row, i in enumerate(order):
            for column, j in enumerate(order):
                if i != j:
                    _cell(axes, standings, (row, i), (column, j), written=size <= _MOST_WRITTEN)
        axes.set(xlim=(0, size), ylim=(size, 0), aspect="equal")
        places = np.arange(size) + 0.5
        axes.set_xticks(places, names, rotation=_SLOPE, ha="left", rotation_mode="anchor")
        axes.xaxis.set_ticks_position("top")
        axes.set_yticks(places, names)
        axes.tick_params(length=0, labelcolor="black")
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        handles = [
            Rectangle((0, 0), 1, 1, facecolor=shade, edgecolor=figures.GREY, linewidth=0.5, label=label)
            for shade, label in zip(SHADES, ("below 25 %", "25 to 50 %", "50 to 75 %", "75 % and more"), strict=True)
        ]
        figures.legend_below(drawing, handles)
    written = " The number is that share in percent." if size <= _MOST_WRITTEN else ""
    return Figure(
        drawing,
        "win-rates",
        f"Share of draws in which the row has a higher Borda count than the column; the darker, the more.{written}",
        f"Win rates of {size} methods; the table of win rates has the numbers.",
    )


def _cell(axes: Any, standings: Standings, at: tuple[int, int], to: tuple[int, int], *, written: bool) -> None:
    (row, i), (column, j) = at, to
    share, wins = float(standings.ahead[i, j]), float(standings.wins[i, j])
    shade = min(int(4 * share), len(SHADES) - 1)
    patch = axes.add_patch(Rectangle((column, row), 1, 1, facecolor=SHADES[shade], edgecolor="white", linewidth=1))
    figures.describe(
        patch,
        f"{standings.methods[i]} against {standings.methods[j]}: ahead in {fixed(100 * share, 0)} % of draws, higher on "
        f"{fixed(100 * wins, 0)} % of datasets",
    )
    if written:
        ink = "white" if shade == len(SHADES) - 1 else "black"
        axes.text(column + 0.5, row + 0.5, fixed(100 * share, 0), color=ink, fontsize=8, ha="center", va="center")
