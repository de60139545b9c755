"""The wheel: one import name, everything that a user runs, nothing that only developers run."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The wheel's files in a folder, as `pip install --target` lays them, beside another project's `baselines`."""
    out = tmp_path_factory.mktemp("wheel")
    build = "import hatchling.build, sys; print(hatchling.build.build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", build, str(out)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    site = out / "site"
    with zipfile.ZipFile(next(out.glob("*.whl"))) as wheel:
        wheel.extractall(site)
    for name in ("baselines", "methods", "reports"):
        (site / name).mkdir()
        (site / name / "__init__.py").write_text(f"raise ImportError('{name} belongs to another project')\n")
    return site


def test_the_source_distribution_holds_the_same_package(installed, tmp_path):
    build = "import hatchling.build, sys; print(hatchling.build.build_sdist(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        given = {name.partition("/")[2] for name in archive.getnames()}
    assert {str(p.relative_to(installed)) for p in (installed / "harness").rglob("*.py")} <= given


def test_it_installs_one_import_name(installed):
    names = {p.name for p in installed.iterdir() if not p.name.endswith(".dist-info")}
    assert names - {"baselines", "methods", "reports"} == {"harness"}
    assert not [p for p in installed.rglob("*") if p.is_symlink()]
    ours = {p.relative_to(ROOT) for w in ("methods", "baselines", "reports") for p in (ROOT / w).rglob("*.py")}
    shipped = {p.relative_to(installed / "harness") for p in (installed / "harness").rglob("*.py")}
    assert ours <= shipped
    assert (installed / "harness/reports/published/data/published.csv").is_file()
    assert not [p for p in shipped if {"tests", "calibration.py", "speed.py"} & set(p.parts)]


def test_it_runs_beside_packages_of_the_wings_old_names(installed, tmp_path):
    """A leaderboard from the wheel alone: scorers, built-in experiments, published rows and templates are all inside."""
    settings = ["seeds=1", "scorers=[scan]", "training.epochs=1", "dataset.train_images=64", "dataset.test_images=40"]
    sets = [word for s in settings for word in ("--set", s)]
    code = (
        "import harness.cli.main as m, harness, sys;"
        f"assert harness.__file__.startswith({str(installed)!r}), harness.__file__;"
        "sys.exit(m.main())"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            code,
            "leaderboard",
            "quickstart",
            "--no-mlflow",
            "--results",
            str(tmp_path / "results"),
            *sets,
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "results/leaderboards/quickstart/leaderboard.html").is_file()
