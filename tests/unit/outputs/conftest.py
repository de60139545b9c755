"""`itm evaluate` on a tiny dataset."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from outputs_cases import IMAGES, write_dataset

from harness.cli.main import main


class Evaluated:
    """What one `itm evaluate` said and wrote."""

    def __init__(self, code: int, out: str, err: str, content: dict):
        self.code, self.out, self.err, self.content = code, out, err, content

    @property
    def full(self) -> dict[str, float]:
        return self.content["metrics"]["full"]["pessimistic"]

    @property
    def error(self) -> str:
        """The one line of the refusal."""
        assert self.code == 2, self.out + self.err
        assert "Traceback" not in self.err
        (line,) = [line for line in self.err.splitlines() if line.startswith("itm: error:")]
        return line


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data") / "tiny_precomp", IMAGES)


@pytest.fixture
def evaluate(folder, tmp_path, capsys) -> Callable[..., Evaluated]:
    def run(*arguments, root: Path = folder) -> Evaluated:
        out = tmp_path / "numbers.json"
        out.unlink(missing_ok=True)
        command = [
            "evaluate",
            *map(str, arguments),
            "--dataset",
            "precomp",
            "--set",
            f"root={root}",
            "--json",
            str(out),
        ]
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main(command)
        said = capsys.readouterr()
        content = json.loads(out.read_text()) if out.is_file() else {}
        return Evaluated(int(stop.value.code or 0), said.out, said.err, content)

    return run


@pytest.fixture
def add(folder, tmp_path, capsys) -> Callable[..., tuple[int, str]]:
    """Runs `itm add` into `tmp_path/results` on the tiny dataset: its exit code and what it said."""

    def run(*arguments, root: Path = folder, name: str = "theirs") -> tuple[int, str]:
        words = [*map(str, arguments), "--dataset", "precomp", "--set", f"root={root}", "--name", name]
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main(["add", *words, "--results", str(tmp_path / "results")])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return int(stop.value.code or 0), said.out + said.err

    return run
