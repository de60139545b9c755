"""The tables of docs/robustness.md are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

from harness.robustness.edges import SIDE, STRONG
from harness.robustness.perturbations.captions import KINDS
from harness.robustness.strata import EDGES, LENGTH, OBJECTS, REGIONS

PAGE = (Path(__file__).parents[2] / "docs" / "robustness.md").read_text(encoding="utf-8")


def rows(heading: str) -> dict[str, list[str]]:
    """The rows of the first table below a heading by their first cell, without its backticks."""
    section = PAGE.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    cells = [
        [cell.strip() for cell in line.strip("| ").split(" | ")] for line in re.findall(r"^\| `.*\|$", section, re.M)
    ]
    return {first.strip("`"): others for first, *others in cells}


def numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"\d+(?:\.\d+)?", text)]


def test_perturbed_captions():
    table = rows("Perturbed captions")
    assert list(table) == [name for name in KINDS if name in table]
    assert set(table) == set(KINDS)
    for name, (_, shares, _) in table.items():
        assert numbers(shares) == [round(100 * share, 6) for share in KINDS[name].shares]


def test_strata():
    table = rows("Strata of the test split")
    assert list(table) == [quantity.name for quantity in (OBJECTS, REGIONS, LENGTH, EDGES)]
    assert numbers(table["edge_density"][0]) == [STRONG, SIDE]
