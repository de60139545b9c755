"""The notebooks run from top to bottom, and are kept without outputs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def cells(path, kind):
    return [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == kind]


def run(path):
    """The names that the code cells leave, executed in order."""
    names: dict[str, object] = {}
    for number, cell in enumerate(cells(path, "code")):
        exec(compile("".join(cell["source"]), f"{path.name}, code cell {number}", "exec"), names)
    return names


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_kept_without_outputs(path):
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells(path, "code"))
    assert cells(path, "markdown")[0]["source"][0].startswith("# ")


def test_the_first_comparison(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run(FOLDER / "first_comparison.ipynb")
    assert sorted(names["runs"]["scorer"]) == ["chan", "chan", "scan", "scan"]
    assert {(row.a, row.b) for row in names["board"].to_frame().itertuples()} <= {("scan", "chan"), ("chan", "scan")}
    assert names["figure"].axes
    assert len(names["wide"]) == 300
    assert not list(tmp_path.iterdir())


def test_scores_of_other_code(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = run(FOLDER / "scores_of_other_code.ipynb")
    weak, strong = (result["rsum"] for result in names["results"])
    assert strong > weak
    assert abs(names["difference"]["difference"]) == pytest.approx(strong - weak)
    refusals = capsys.readouterr().out.splitlines()
    assert len(refusals) == 2
    assert "shape (7, 500)" in refusals[0]
    assert "every score must be finite" in refusals[1]
