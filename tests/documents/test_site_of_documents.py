"""The site of the documents: its generated pages are complete, every page has its place, links to files become links to pages."""

from __future__ import annotations

import doctest
import importlib.util
import tomllib
from pathlib import Path

import pytest

from harness import registry
from harness.cli.main import COMMANDS
from harness.spec import Experiment, TrainingSpec

ROOT = Path(__file__).parents[2]
GENERATED = {"reference/commands.md", "reference/settings.md"}


def module(name):
    spec = importlib.util.spec_from_file_location(f"itm_docs_{name}", ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.fixture(scope="module")
def build():
    return module("build")


@pytest.mark.parametrize("name", ["file", "folder/file", "docs/zensical.toml"])
def test_a_folder_of_something_else_is_kept(build, tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(SystemExit, match="name another folder"):
        build.main(tmp_path / name.partition("/")[0])
    assert (tmp_path / name).read_text() == "mine"


def test_examples_of_docstrings_become_code():
    pytest.importorskip("griffe")
    examples = module("examples")
    assert doctest.testmod(examples).attempted == 1
    assert not doctest.testmod(examples).failed
    assert list(examples.fenced(">>> a\n[1]")) == ["```pycon", ">>> a", "[1]", "```"]


def test_every_page_is_in_the_navigation_once(build):
    config = tomllib.loads((ROOT / "docs" / "zensical.toml").read_text(encoding="utf-8"))
    placed = [
        page
        for group in config["project"]["nav"]
        for part in group.values()
        for entry in part
        for page in entry.values()
    ]
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert sorted(placed) == sorted(pages | GENERATED | set(build.ELSEWHERE.values()))


def test_the_commands_page_has_every_command_with_its_help(build):
    page = build.commands_page()
    assert [line[7:] for line in page.splitlines() if line.startswith("## itm ")] == list(COMMANDS)
    assert page.count("Usage: itm ") == len(COMMANDS)


def test_the_settings_page_has_every_setting_with_its_meaning(build):
    page = build.settings_page()
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    for key in (*(set(Experiment.model_fields) - {"again"}), *TrainingSpec.model_fields):
        assert f"| `{key}` |" in page
    for name in registry.names():
        assert f"## config of scorer {name}" in page
    assert not [row for row in rows if row.endswith("|  |")]
    assert all(row.replace("\\|", "").count("|") == 5 for row in rows)


@pytest.mark.parametrize(
    ("place", "text", "led"),
    [
        ("index.md", "[a](docs/grm.md#levels)", "[a](grm.md#levels)"),
        ("index.md", "[a](results/README.md)", "[a](results.md)"),
        ("results.md", "[a](../docs/site.md)", "[a](site.md)"),
        ("site.md", "[a](../README.md#add-a-method)", "[a](index.md#add-a-method)"),
        ("howto/own_data.md", "[a](../datasets.md)", "[a](../datasets.md)"),
        ("howto/own_data.md", "[a](../../CONTRIBUTING.md)", "[a](../contributing.md)"),
        ("grm.md", "[`Alignment`](../harness/alignment.py)", "`Alignment` (`harness/alignment.py`)"),
        ("grm.md", "[a](https://example.org/x.md)", "[a](https://example.org/x.md)"),
        ("grm.md", "[a](#heading)", "[a](#heading)"),
    ],
)
def test_links_lead_to_pages_of_the_site(build, tmp_path, place, text, led):
    page = tmp_path / place
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(text, encoding="utf-8")
    assert build.with_links_of_the_site(page, tmp_path) == led
