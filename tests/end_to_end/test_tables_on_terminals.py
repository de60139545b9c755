"""Every command's tables on terminals of 40, 80 and 120 columns: a number that is shown is shown whole."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from harness.cli.main import main

TINY = {
    "name": "tiny",
    "dataset": {"name": "scenes", "train_images": 12, "val_images": 8, "test_images": 32, "image_size": 32},
    "seeds": 2,
    "image": {"name": "regions", "width": 16},
    "text": {"name": "bigru", "width": 16},
    "training": {"epochs": 1, "batch_size": 32, "decay_epochs": []},
    "evaluation": {"cost_repeats": 3, "save_scores": True},
    "scorers": ["scan", "grm"],
}
COMMANDS = (
    "leaderboard {tiny} --results {results} --no-mlflow --published",
    "report {results}",
    "significance {results}",
    "compare-published {results}",
    "diagnose {grm} --results {results}",
    "rescore {grm} --protocol scenes_relevance --results {results}",
    "plan {tiny} --no-measure --results {results} --set seeds=3",
    "ablate {tiny} --scorer grm --dry-run --results {results}",
    "describe scenes --set train_images=12 --set val_images=8 --set test_images=8 --results {results}",
    "ls runs --results {results}",
    "ls scorers",
    "ls variants",
    "ls datasets",
    "ls protocols",
)
WIDTHS = (40, 80, 120)
#: Figures as tables print them; a date or a hash is a word.
NUMBER = re.compile(r"(?<![\w.:-])~?[\d,]*\d(?:\.\d+)?(?![\w:-])")


@pytest.fixture(scope="module")
def world(tmp_path_factory, _cache_of_their_own) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("widths")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    world = {"tiny": str(folder / "tiny.yaml"), "results": str(folder / "results")}
    with pytest.raises(SystemExit) as stop:
        main(["leaderboard", world["tiny"], "--results", world["results"], "--no-mlflow"])
    assert not stop.value.code
    records = sorted(Path(world["results"], "runs").glob("*/record.json"))
    (world["grm"], *_) = [path.parent.name for path in records if '"scorer": "grm"' in path.read_text()]
    return world


def printed(command: str, width: int, world: dict[str, str], monkeypatch, capsys) -> str:
    monkeypatch.setenv("COLUMNS", str(width))
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main([word.format(**world) for word in shlex.split(command)])
    assert not stop.value.code
    return re.sub(r"\d+ columns? for a wider", "", capsys.readouterr().out)  # counts what is left out


@pytest.mark.parametrize("command", COMMANDS)
def test_a_number_is_whole_or_not_there(command, world, monkeypatch, capsys):
    whole = set(NUMBER.findall(printed(command, 500, world, monkeypatch, capsys)))
    for width in WIDTHS:
        text = printed(command, width, world, monkeypatch, capsys)
        assert set(NUMBER.findall(text)) <= whole, f"{width} columns:\n{text}"
        assert not re.search(r"\d…|…\d", text), f"{width} columns:\n{text}"
