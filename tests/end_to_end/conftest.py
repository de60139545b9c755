"""Running commands as a user does, in this process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from forks import Forks

from harness.cli.main import main
from harness.files import strict_yaml


@pytest.fixture
def itm(capsys, monkeypatch, tmp_path):
    """Run `itm ARGUMENTS` in this process: (exit code, stdout, stderr)."""

    monkeypatch.setattr("harness.plugins.registered.registered", {})
    monkeypatch.setenv("ITM_RESULTS", str(tmp_path / "results"))

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return int(stop.value.code or 0), out, err

    yield run
    for name in [name for name in sys.modules if name.startswith("itm_plugin_")]:
        del sys.modules[name]


@pytest.fixture
def experiment(tiny, tmp_path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(strict_yaml.dump(tiny))
    return path


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """Starts commands in processes of their own, see `forks.py`."""
    parent = Forks()
    yield parent
    parent.close()
