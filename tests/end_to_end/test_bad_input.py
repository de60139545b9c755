"""Bad input, over every command: one clear line, exit code 2, no traceback, nothing lost, nothing written elsewhere.

`CASES` reads as: what is typed, and a part of the line that must come back. `{...}` are files and folders of `world`,
which holds a results folder with two finished runs and every kind of file that a user may hand over by mistake.
"""

from __future__ import annotations

import hashlib
import shlex
from pathlib import Path

import pytest
from bad_files import write_all
from typed_commands import COMMANDS_ON_RUNS
from typed_experiments import EXPERIMENTS

from harness.cli.main import COMMANDS, main
from harness.records.store import RunStore

CASES = [*EXPERIMENTS, *COMMANDS_ON_RUNS]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Names of files and folders -> their paths, and the ids of two finished runs."""
    base = tmp_path_factory.mktemp("world")
    places = write_all(base) | {"results": base / "results"}
    finished = _finished(places["tiny"], places["results"])
    places["weights"] = base / "results" / "runs" / finished["id"] / "model.safetensors"
    return {name: str(path) for name, path in places.items()} | finished


def _finished(experiment: Path, results: Path) -> dict[str, str]:
    with pytest.raises(SystemExit) as stop:
        main(
            ["leaderboard", str(experiment), "--results", str(results), "--set", "scorers=[scan, chan]", "--no-mlflow"]
        )
    assert not stop.value.code
    first, second = sorted(RunStore(results).records(), key=lambda record: record.scorer, reverse=True)
    return {"id": first.run_id, "other_id": second.run_id}


def _contents(base: Path) -> dict[str, str]:
    """Every file below a folder -> the SHA-256 of its bytes; locks and the mirror's database are not results."""
    return {
        str(path.relative_to(base)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(base.rglob("*"))
        if path.is_file() and path.suffix != ".lock" and not path.name.startswith("mlflow.db")
    }


@pytest.mark.parametrize(("line", "message", "code"), CASES)
def test_bad_input_is_one_clear_line(line, message, code, world, tmp_path, monkeypatch, capsys):
    base = Path(world["folder"]).parent
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ITM_RESULTS", world["results"])
    monkeypatch.setattr("harness.plugins.registered.registered", {})
    before = _contents(base)
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main([word.format(**world) for word in shlex.split(line)])
    out, err = capsys.readouterr()
    errors = [text for text in err.splitlines() if text.startswith("itm: error:")]
    assert stop.value.code == code, f"{stop.value.code}\n{out}\n{err}"
    assert len(errors) == 1, err
    assert message in errors[0]
    assert len(errors[0]) < 1000
    assert "Traceback" not in err + out
    after = _contents(base)
    assert {name: after.get(name) for name in before} == before
    assert all(name.startswith("results/") for name in after.keys() - before.keys())
    assert not list(tmp_path.iterdir())


def test_every_command_is_tried():
    tried = {shlex.split(values.values[0])[0] for values in CASES}
    assert set(COMMANDS) <= tried
    assert len(CASES) >= 150
