"""The tables of docs/robustness.md are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

from harness.datasets.scenes.ladder import OBJECTS as LADDER
from harness.datasets.scenes.ladder import SHARES
from harness.robustness.edges import SIDE, STRONG
from harness.robustness.perturbations.captions import KINDS
from harness.robustness.perturbations.images import IMAGE_PERTURBATIONS, SIDES
from harness.robustness.perturbations.regions import REGION_PERTURBATIONS
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


def test_perturbed_pictures():
    table = rows("Perturbed pictures")
    assert list(table) == list(IMAGE_PERTURBATIONS)
    for name, (_, small, large) in table.items():
        kind = IMAGE_PERTURBATIONS[name]
        sides = SIDES if name == "blur" else (1, 1)  # the page says pixels, the code shares of the side
        expected = [
            [round(amount * side, 6) for amount in row]
            for row, side in zip((kind.small, kind.large), sides, strict=True)
        ]
        assert [numbers(small), numbers(small if large == "the same" else large)] == expected


def test_perturbed_regions():
    table = rows("Perturbed regions")
    assert {name: numbers(cells[1]) for name, cells in table.items()} == {
        name: list(kind.amounts) for name, kind in REGION_PERTURBATIONS.items()
    }


def test_clutter():
    table = rows("Clutter on scenes")
    assert numbers(table["objects"][0]) == list(LADDER)
    assert numbers(table["overlap"][0]) == numbers(table["occlusion"][0]) == [100 * share for share in SHARES]


def test_strata():
    table = rows("Strata of the test split")
    assert list(table) == [quantity.name for quantity in (OBJECTS, REGIONS, LENGTH, EDGES)]
    assert numbers(table["edge_density"][0]) == [STRONG, SIDE]
