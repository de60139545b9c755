"""The leaderboard in a terminal: the few columns that fit, one table a gallery."""

from __future__ import annotations

from typing import Any

import pandas as pd
from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.table import Table
from rich.text import Text

from harness.records import noise
from harness.reports.document.model import Cell, Column, cell, single_line

_COLUMNS = (
    Column(key="tier", title="Tier", kind="number", digits=0),
    Column(key="label", title="Method"),
    Column(key="seeds", title="Seeds", kind="number", digits=0),
    Column(key="i2t_r1", title="i2t R@1", kind="number"),
    Column(key="t2i_r1", title="t2i R@1", kind="number"),
    Column(key="rsum", title="rSum ± SD [95 % CI]", kind="estimate"),
    Column(
        key="encode_image_ms_p50", title="Image ms", kind="significant", digits=3, noise="encode_image_ms_p50_noisy"
    ),
    Column(key="pairs_per_second", title="Pairs/s", kind="significant", digits=3, noise="pairs_per_second_noisy"),
)
_WIDE = 96  # columns of a terminal below which the seeds, the SD and the encoding time are left to the files
_LONGEST_NAME = 34


class Tables:
    """The tables of a leaderboard, which leave columns out on a narrow terminal.

    Args:
        frame: the leaderboard's flat frame.
    """

    def __init__(self, frame: pd.DataFrame):
        self.frame = frame

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield tables(self.frame, narrow=options.max_width < _WIDE)


def tables(frame: pd.DataFrame, *, narrow: bool = False) -> Group:
    """One table a dataset and protocol of a leaderboard's flat frame; published rows are counted, not listed.

    Names are untrusted and never read as rich's markup.
    """
    if frame.empty:
        return Group(Text("no finished run"))
    keys = ["dataset", "split", "protocol", "data_sha256"]
    measured = frame[frame["origin"] != "published"]
    made: list[Any] = []
    for (dataset, split, protocol, _), part in measured.groupby(keys, sort=False, dropna=False):
        made.append(_table(f"{dataset} {split}, {protocol}", part, narrow))
        joined = frame[
            (frame["dataset"] == dataset) & (frame["protocol"] == protocol) & (frame["origin"] == "published")
        ]
        if len(joined):
            made.append(Text(f"and {len(joined)} published rows (see the files; they have no interval and no tier)"))
    if (measured[["encode_image_ms_p50_noisy", "pairs_per_second_noisy"]] == True).any(axis=None):  # noqa: E712 - NA
        made.append(Text(noise.LEGEND, style="dim"))
    return Group(*made)


def _table(title: str, frame: pd.DataFrame, narrow: bool) -> Table:
    table = Table(title=Text(single_line(title)), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    columns = [c for c in _COLUMNS if not narrow or c.key not in ("seeds", "encode_image_ms_p50")]
    for column in columns:
        title = column.title.replace(" ± SD", "") if narrow else column.title
        width = 8 if column.key == "label" else None
        table.add_column(
            Text(title),
            justify="right" if column.numeric else "left",
            no_wrap=True,
            min_width=width,
            overflow="ellipsis",
        )
    if narrow:
        frame = frame.assign(rsum_sd=None)
    records = frame.to_dict("records")
    for number, record in enumerate(records):
        last = number + 1 == len(records) or not _same_tier(record["tier"], records[number + 1]["tier"])
        table.add_row(*(_text(cell(column, record)) for column in columns), end_section=last)
    return table


def _same_tier(a: Any, b: Any) -> bool:
    return bool(pd.isna(a) and pd.isna(b)) or (not pd.isna(a) and not pd.isna(b) and bool(a == b))


def _text(value: Cell) -> Text:
    text = value.join()
    return Text(text if len(text) <= _LONGEST_NAME or not value.text else f"{text[: _LONGEST_NAME - 1]}…")
