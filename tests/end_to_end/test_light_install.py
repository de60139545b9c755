"""The light install: what scores, tests and reports runs without any package of the extras; the rest says which is missing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from harness.files.extras import EXTRA_OF, install_extra

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parents[1] / "golden" / "retrieval.npz"
FEW = ("--dataset", "scenes", "--set", "train_images=40", "--set", "val_images=10", "--set", "test_images=20")
SCENES = (*FEW[:-1], "test_images=40")
#: Calls commands one after the other in a process that has none of some packages.
DRIVER = """
import contextlib, importlib.abc, io, json, sys

absent, commands = json.loads(sys.argv[1])

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)

sys.meta_path.insert(0, Absent())
from harness.cli.main import main

for words in commands:
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(words)
        except SystemExit as stop:
            code = stop.code or 0
    print(json.dumps([code, out.getvalue(), err.getvalue()]))
print(json.dumps(sorted(set(absent) & sys.modules.keys())))
"""


class Done(NamedTuple):
    code: int
    out: str
    err: str


def without(absent: list[str], folder: Path, *commands: tuple[object, ...]) -> list[Done]:
    """What commands do, called in `folder` by one process that has none of the packages `absent`."""
    words = [[str(word) for word in command] for command in commands]
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, json.dumps([absent, words])],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *lines, loaded = map(json.loads, done.stdout.splitlines())
    assert loaded == []
    return [Done(*line) for line in lines]


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    with np.load(GOLDEN) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory, golden) -> tuple[Path, list[Done]]:
    """A folder with two methods of two runs each, added without the packages of any extra, and what the commands said."""
    folder = tmp_path_factory.mktemp("light")
    random = np.random.default_rng(0)
    np.save(folder / "golden.npy", golden["scores"])
    commands: list[tuple[object, ...]] = [("evaluate", "golden.npy", *FEW, "--json", "numbers.json")]
    for number in range(4):
        noise = random.normal(scale=0.3 + 0.3 * (number % 2), size=(40, 200))
        np.save(folder / f"run{number}.npy", np.eye(40).repeat(5, 1) + noise)
        name = ("--name", f"method{number % 2}", "--seed", number // 2)
        commands.append(("add", f"run{number}.npy", *SCENES, *name, "--results", "results"))
    return folder, without(list(EXTRA_OF), folder, *commands)


def test_scores_get_the_golden_numbers_without_torch(recorded, golden):
    folder, done = recorded
    assert done[0].code == 0, done[0].err
    ours = json.loads((folder / "numbers.json").read_text())["metrics"]["full"]["pessimistic"]
    for direction in ("i2t", "t2i"):
        got = [ours[f"{direction}_{key}"] for key in ("r1", "r5", "r10", "medr", "meanr")]
        np.testing.assert_allclose(got, golden[direction], rtol=0, atol=1e-9)


def test_what_is_added_is_what_torch_adds(recorded, tmp_path, itm):
    folder, done = recorded
    assert [one.code for one in done[1:]] == [0] * 4, done
    words = (*SCENES, "--name", "method0", "--seed", 0, "--results", tmp_path / "full")
    assert itm("add", folder / "run0.npy", *words)[0] == 0
    (full,) = (tmp_path / "full" / "runs").glob("*/record.json")
    light = folder / "results" / "runs" / full.parent.name
    for file in ("ranks.npz", "top.npz"):
        with np.load(full.parent / file) as theirs, np.load(light / file) as ours:
            assert theirs.files == ours.files
            for name in theirs.files:
                np.testing.assert_array_equal(theirs[name], ours[name])
    ours, theirs = (json.loads((run / "record.json").read_text()) for run in (light, full.parent))
    assert ours["metrics"] == theirs["metrics"]


#: Command -> what it has to say or to write.
READ = {
    "significance": (("significance", "results"), "results/significance"),
    "report": (("report", "results"), "results/leaderboards"),
    "power": (("power", "results"), "results/power"),
    "freeze": (("freeze", "results", "--version", "1.0"), "results/frozen"),
    "site": (("site", "results"), "results/site/index.html"),
    "compare-published": (("compare-published", "results"), "results/compare-published"),
    "gate": (("gate", "results:method0", "results:method1", "--min-delta", "-500"), None),
    "ls runs": (("ls", "runs", "--results", "results"), None),
    "ls datasets": (("ls", "datasets"), None),
    "ls protocols": (("ls", "protocols"), None),
}


@pytest.fixture(scope="module")
def read(recorded) -> tuple[list[tuple[object, ...]], list[Done]]:
    """The commands that read runs, and what they did."""
    folder, _ = recorded
    run = next((folder / "results" / "runs").iterdir()).name
    commands = [*(words for words, _ in READ.values()), ("show", run, "--results", "results"), ("--help",)]
    return commands, without(list(EXTRA_OF), folder, *commands)


def test_what_reads_runs_needs_no_extra(recorded, read):
    folder, _ = recorded
    for words, done in zip(*read, strict=True):
        assert done.code == 0, (words, done.err)
        assert "could not be written" not in done.err, words
    for _, written in READ.values():
        assert written is None or (folder / written).exists(), written


def test_the_significance_of_the_light_install_is_that_of_the_full_one(recorded, read, itm):
    folder, _ = recorded
    written = next((folder / "results" / "significance").glob("*/significance.csv"))
    light = written.read_bytes()
    written.unlink()
    assert itm("significance", folder / "results", "--no-site")[0] == 0
    assert written.read_bytes() == light


#: Packages that are absent, a command, and the extra that its error names.
NEEDS = {
    "check": (["torch"], ("check", "scan"), "train"),
    "leaderboard": (["torch"], ("leaderboard", "quickstart"), "train"),
    "ls scorers": (["torch"], ("ls", "scorers"), "train"),
    "plan": (["torch"], ("plan", "quickstart"), "train"),
    "bench": (["torch"], ("bench",), "train"),
    "site on a device": (["torch"], ("site", "results", "--device", "cpu"), "train"),
    "embeddings": (["torch"], ("evaluate", "--images", "i.npy", "--captions", "c.npy", *FEW), "train"),
    "tensors": (["torch"], ("evaluate", "scores.safetensors", *FEW), "train"),
    "clip": (["open_clip"], ("describe", "scenes", *FEW[2:]), "clip"),
    "sweep": (["optuna"], ("sweep", "quickstart", "--scorer", "scan", "--trials", "1"), "sweep"),
}


@pytest.fixture(scope="module")
def missed(recorded) -> dict[str, Done]:
    """What the command of each case did; those that lack the same packages were called in one process."""
    folder, _ = recorded
    np.save(folder / "i.npy", np.eye(20))
    np.save(folder / "c.npy", np.eye(20).repeat(5, 0))
    (folder / "scores.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    found: dict[str, Done] = {}
    for absent in {tuple(absent): None for absent, _, _ in NEEDS.values()}:
        cases = {case: words for case, (lacking, words, _) in NEEDS.items() if tuple(lacking) == absent}
        found |= zip(cases, without(list(absent), folder, *cases.values()), strict=True)
    return found


@pytest.mark.parametrize("case", NEEDS)
def test_a_missing_package_is_one_line_with_its_extra(missed, case):
    done, (_, _, extra) = missed[case], NEEDS[case]
    assert done.code == 2, done
    assert done.err.splitlines()[-1].startswith("itm: error: "), done.err
    assert done.err.splitlines()[-1].endswith(f"in the clone, run: {install_extra(extra)}"), done.err
    assert "Traceback" not in done.err


def test_without_mlflow_the_mirror_is_left_out_and_one_line_says_so(experiment, tmp_path):
    words = ("leaderboard", experiment, "--results", "results", "--no-site")
    (done,) = without(["mlflow"], tmp_path, words)
    assert done.code == 0, done.err
    assert done.err.count(install_extra("mlflow")) == 1
    assert not (tmp_path / "results" / "mlflow.db").exists()


def test_a_server_that_is_named_is_not_passed_over_in_silence(experiment, tmp_path, monkeypatch, itm):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:1")
    code, _, err = itm("leaderboard", experiment, "--results", tmp_path / "results", "--no-site")
    assert code == 2
    assert err.splitlines()[-1].endswith(install_extra("mlflow"))
    assert not list((tmp_path / "results").glob("runs/*/record.json")), "it is said before anything is trained"


def test_each_package_is_declared_in_its_extra_and_not_in_the_base():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    def names(requirements: list[str]) -> set[str]:
        return {re.split(r"[\[<>=]", one)[0].replace("-", "_") for one in requirements}

    extras, base = declared["optional-dependencies"], names(declared["dependencies"])
    assert set(EXTRA_OF.values()) <= set(extras)
    assert not {"torch", "timm", "transformers", "open_clip_torch", "optuna", "mlflow", "ray", "pyarrow"} & base
    assert names(extras["all"]) == {"itm_harness"}
    assert re.findall(r"\w+", extras["all"][0].partition("[")[2]) == ["train", "clip", "sweep", "mlflow", "parquet"]
    assert "all" in re.findall(r"\w+", extras["test"][0].partition("[")[2]), "the tests need the full install"
