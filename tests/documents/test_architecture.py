"""docs/architecture.md shows the house as it is: its rooms, its floors, and walks that enter each room once."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
TREE, FLOORS = re.findall(r"^```\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)
WALKS = dict(re.findall(r"^### (A .+?)\n(.*?)(?=^### |\Z)", PAGE, flags=re.DOTALL | re.MULTILINE))


def shown() -> dict[str, set[str]]:
    """Folder of the tree -> what the tree shows in it."""
    folder = ""
    rooms: dict[str, set[str]] = {"": set()}
    for line in TREE.splitlines():
        name = line.split()[0].rstrip("/")
        if line.startswith("  "):
            rooms[folder].add(name)
        else:
            folder = name
            rooms[""].add(name)
            rooms[name] = set()
    return rooms


def there(folder: Path) -> set[str]:
    """The rooms of a folder, and the files at the front door."""
    found = {path.name for path in folder.iterdir() if path.is_dir() and not path.is_symlink()}
    files = {path.name for path in folder.glob("*.py")} - {"__init__.py"}
    return {name for name in found if not name.startswith(("_", "."))} | files


@pytest.mark.parametrize("folder", ["harness", "reports"])
def test_the_tree_shows_every_room(folder):
    assert shown()[folder] == there(ROOT / folder)


def test_each_line_of_the_tree_says_what_the_room_is_for():
    described = [line for line in TREE.splitlines() if line not in ("harness/", "reports/")]
    assert all(len(line.split()) > 2 for line in described)


def test_the_floors_are_those_of_the_test():
    tree = ast.parse((ROOT / "tests" / "unit" / "test_floors.py").read_text(encoding="utf-8"))
    (floors,) = (n.value for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "FLOORS")
    assert [tuple(line.split(" · ")) for line in FLOORS.splitlines()] == list(ast.literal_eval(floors))


@pytest.mark.parametrize("walk", WALKS)
def test_a_walk_enters_each_room_once(walk):
    entered = re.findall(r"^\d+\. `([\w.]+)/?`", WALKS[walk], flags=re.MULTILINE)
    assert len(entered) == len(set(entered)) > 4
    assert set(entered) <= there(ROOT / "harness") | {"methods", "baselines", "reports"}


def test_there_are_three_walks():
    assert len(WALKS) == 3
