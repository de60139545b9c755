"""Every part that docs/plugins.md shows keeps the contract of its kind."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from PIL import Image

from harness.conformance import check_file

PAGE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")
SOURCES = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture
def root(tmp_path):
    """The folder that the page's dataset reads."""
    folder = tmp_path / "data"
    folder.mkdir()
    lines = []
    for number in range(4):
        Image.new("RGB", (20 + number, 16), (40 * number, 90, 10)).save(folder / f"{number}.png")
        lines += [f"{number}.png\tpicture {number}", f"{number}.png\tthe picture of number {number}"]
    (folder / "captions.tsv").write_text("\n".join(lines))
    return folder


@pytest.mark.parametrize("number", range(len(SOURCES)))
def test_the_parts_of_the_page_keep_their_contracts(tmp_path, monkeypatch, root, number):
    path = tmp_path / f"of_the_page_{number}.py"
    path.write_text(SOURCES[number], encoding="utf-8")
    monkeypatch.setattr("harness.plugins.registered.registered", {})
    options = {"root": str(root)} if "PhotographDataset" in SOURCES[number] else {}
    try:
        (checked,) = check_file(path, options)
    finally:
        sys.modules.pop(f"itm_plugin_{path.stem}", None)
    assert checked.broken == []


def test_the_page_shows_a_part_of_several_kinds():
    assert len(SOURCES) >= 2
