"""Tables of pages: what a cell is sorted by, what tells rows apart, and what the clipboard gets."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import harness.reports.site
from harness.records.noise import LEGEND
from harness.reports.document import render
from harness.reports.document.copying import table_copies
from harness.reports.document.grid import grid_rows
from harness.reports.document.model import Column, Report, Section, Table
from harness.reports.document.templating import embedded

ASSETS = Path(harness.reports.site.__file__).parent / "assets"
HOSTILE = '</script><img src=x onerror="alert(1)"> & | $x$ \\input{y} % _ {'
COLUMNS = (
    Column("tier", "Tier", "count"),
    Column("name", "Name_1", pinned=True),
    Column("x", "R@1", "estimate", group="Image to text", better="higher"),
    Column("ms", "ms", "significant", group="Image to text", noise="noisy", better="lower"),
    Column("origin", "Origin"),
)


def table(**more) -> Table:
    frame = pd.DataFrame(
        {
            "tier": pd.array([1, 1, 2, None], "Int64"),
            "name": ["a_b", "=1+1", HOSTILE, "printed"],
            "x": [61.24, 61.16, 48.0, np.nan],
            "x_sd": [0.4, None, None, None],
            "x_low": [59.0, None, None, None],
            "x_high": [63.26, None, None, None],
            "ms": [1.5, 0.5, 2.0, None],
            "noisy": [False, True, False, False],
            "origin": ["measured", "measured", "measured", "published"],
        }
    )
    return Table(frame, COLUMNS, "A caption", "key", rule_by=("tier",), **more)


def test_cells_are_sorted_by_their_full_value_and_missing_ones_by_none():
    rows = grid_rows(table())
    assert [row.cells[2].order for row in rows] == ["61.24", "61.16", None, ""]
    assert {row.cells[1].order for row in rows} == {None}  # texts by what is seen
    assert rows[0].cells[0].order is None
    plain = Table(pd.DataFrame({"x": [61.2, -61.2, 1061.2]}), [Column("x", "X", "number")], "c", "k")
    assert [row.cells[0].order for row in grid_rows(plain)] == [None, "-61.2", "1061.2"]  # a script reads 61.2 as it is


def test_noise_is_explained_in_its_cell_only():
    rows = grid_rows(table())
    assert [[cell.noisy for cell in row.cells] for row in rows] == [
        ["", "", "", LEGEND if number == 1 else "", ""] for number in range(4)
    ]
    page = render.render(Report(title="t", sections=[Section(title="s", tables=[table()])]), "html")
    [mark] = re.findall(r'<abbr class="noisy"[^>]*>([^<]*)</abbr>', page)
    assert mark == "~0.500"


@pytest.mark.parametrize(
    ("row", "classes"), [(0, "tiered tier-1"), (1, "tiered tier-1"), (2, "rule tiered tier-2"), (3, "muted rule")]
)
def test_rows_say_their_tier_and_published_ones_stand_back(row, classes):
    assert grid_rows(table())[row].classes == classes


def test_a_published_row_is_labelled_where_no_column_says_so():
    without = Table(table().frame, COLUMNS[:-1], "c", "k")
    assert [[cell.tag for cell in row.cells] for row in grid_rows(without)][2:] == [[""] * 4, ["", "published", "", ""]]
    assert not any(cell.tag for row in grid_rows(table()) for cell in row.cells)


def test_only_tiers_colour_rows():
    other = Table(table().frame, COLUMNS, "c", "k", rule_by=("name",))
    assert {row.tier for row in grid_rows(other)} == {None}


def medium(copies: dict, number: int) -> list[list]:
    shown = [[cell.cell.main for cell in row.cells] for row in grid_rows(table())]
    return [
        [cell[number] if isinstance(cell, list) else cell or text for cell, text in zip(row, texts, strict=True)]
        for row, texts in zip(copies["rows"], shown, strict=True)
    ]


def joined(cell) -> str:
    return "".join(cell) if isinstance(cell, list) else cell


def test_copies_agree_with_the_files_of_the_report():
    report = Report(title="t", sections=[Section(title="s", tables=[table()])])
    copies = json.loads(embedded(table_copies(table())))
    markdown = render.render(report, "md").splitlines()
    for row in medium(copies, 1):
        assert "| " + " | ".join(row) + " |" in markdown
    latex = render.render(report, "tex")
    assert medium(copies, 0)[0][1] == r"a\_b"
    for cell in ("=1+1", "printed", r"\textasciitilde{}0.500"):
        assert any(joined(copied) == cell for row in medium(copies, 0) for copied in row)
        assert cell in latex


def test_the_csv_of_a_cell_has_a_field_per_heading_at_full_precision():
    copies = table_copies(table())
    text = "\n".join(
        [",".join(column["csv"] for column in copies["columns"]), *(",".join(row) for row in medium(copies, 2))]
    )
    read = list(csv.DictReader(io.StringIO(text)))
    frame = table().frame
    assert list(read[0]) == ["tier", "name", "x", "x_sd", "x_low", "x_high", "ms", "origin"]
    assert [row["name"] for row in read] == ["a_b", "'=1+1", HOSTILE, "printed"]
    for key in ("x", "x_sd", "x_high", "ms"):
        assert [float(row[key]) if row[key] else None for row in read] == [
            None if pd.isna(value) else value for value in frame[key]
        ]


def test_nothing_in_the_copies_ends_their_script():
    text = embedded(table_copies(table()))
    assert "<" not in text
    assert json.loads(text) == table_copies(table())


@pytest.fixture
def copied():
    """Runs copying.js in Node: the text of the table `rows` and `columns` in one medium."""
    if shutil.which("node") is None:
        pytest.skip("needs Node.js")

    def run(medium: str, rows: list[int], columns: list[int]) -> str:
        copies = json.loads(embedded(table_copies(table())))
        for row, texts in zip(copies["rows"], grid_rows(table()), strict=True):  # as tables.js takes them from the page
            row[:] = [copy or cell.cell.main for copy, cell in zip(row, texts.cells, strict=True)]
        values = table().frame[[column.key for column in COLUMNS]].astype(object)
        given = {
            "copies": copies,
            "values": [[None if pd.isna(value) else value for value in row] for row in values.to_numpy().tolist()],
        }
        program = (
            "globalThis.window = globalThis;"
            + (ASSETS / "copying.js").read_text("utf-8")
            + f"\nconst given = {json.dumps(given)};"
            + f"process.stdout.write(window.itmCopying[{json.dumps(medium)}](given.copies, {rows}, {columns}, given.values));"
        )
        done = subprocess.run(["node", "-"], input=program, capture_output=True, text=True, timeout=60, check=True)
        return done.stdout

    return run


def test_latex_of_chosen_rows_and_columns_sets_the_best_in_bold(copied):
    lines = copied("LaTeX", [1, 0, 2], [1, 2, 3]).splitlines()
    assert lines[1:7] == [
        r"\begin{tabular}{@{}lrr@{}}",
        r"  \toprule",
        r"   & \multicolumn{2}{c}{Image to text} \\",
        r"  \cmidrule(lr){2-3}",
        r"  \multicolumn{1}{l}{Name\_1} & \multicolumn{1}{c}{R@1} & \multicolumn{1}{c}{ms} \\",
        r"  \midrule",
    ]
    # 61.24 and 61.16 are printed alike, and so is their weight; a noisy time is never the best.
    assert lines[7] == r"  =1+1 & \textbf{61.2} & \textasciitilde{}0.500 \\"
    assert (
        lines[8] == r"  a\_b & \shortstack[r]{\textbf{61.2}$_{\pm 0.4}$\\{\tiny {[}59.0, 63.3{]}}} & \textbf{1.50} \\"
    )
    assert r"48.0 & 2.00 \\" in lines[9]
    assert r"\input{" not in "\n".join(lines)
    assert lines[-2:] == [r"  \bottomrule", r"\end{tabular}"]


def test_markdown_and_csv_keep_the_order_of_rows(copied):
    assert copied("Markdown", [3, 0], [1, 2]).splitlines() == [
        r"| Name_1 | Image to text: R@1 |",
        "| :-- | --: |",
        "| printed | — |",
        "| a_b | 61.2 ± 0.4 [59.0, 63.3] |",
    ]
    assert copied("CSV", [1, 0], [1, 3]).splitlines() == ["name,ms", "'=1+1,0.5", "a_b,1.5"]
