"""The house has floors: imports inside the engine go down or stay level, and the wings keep to themselves.

The floors are those of the design; a new module has to be given one here.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLOORS = {
    0: [
        "errors",
        "files",
        "filetypes",
        "scores",
        "strict_yaml",
        "source_files",
        "spec",
        "registry",
        "ranks",
        "record",
        "environment",
        "timing",
        "memory",
        "noise",
        "threads",
        "terminal",
        "ties",
    ],
    1: ["fragments", "metrics", "protocols", "losses", "similarity", "positives", "duplicates"],
    2: ["scorer", "scoring", "backbones", "datasets", "augmentation", "inputs", "streaming"],
    3: [
        "training",
        "training_state",
        "evaluation",
        "profiling",
        "tracking",
        "tracking_store",
        "mirroring",
        "checkpoints",
        "author_checkpoints",
        "contract",
    ],
    4: [
        "planning",
        "experiment",
        "sharing",
        "completion",
        "rescoring",
        "ensemble",
        "ablation",
        "sweeps",
        "profiles",
        "cascade",
        "benchmark",
    ],
    5: ["cli"],
}
FLOOR = {name: floor for floor, names in FLOORS.items() for name in names}
#: Descriptions of results in rooms above the records that reports read: data without the engine behind it.
PLAIN_DATA = {"profiles.record", "sweeps.settings", "sweeps.summary"}
#: Imports that are made when a name is resolved, never when the module is: (module, imported).
LAZY = {("registry", "scorer")}


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """(imported module, whether at module level) of a file, without what only type checkers see."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    hidden = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and "TYPE_CHECKING" in ast.dump(branch.test)
        for node in ast.walk(branch)
    }
    inside = {id(node) for f in ast.walk(tree) if isinstance(f, (ast.FunctionDef, ast.Lambda)) for node in ast.walk(f)}
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) not in inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            yield from ((f"{node.module}.{alias.name}", id(node) not in inside) for alias in node.names)


def room(module: str) -> str:
    """`harness.backbones.base` -> `backbones`."""
    return module.split(".")[1]


@pytest.mark.parametrize("path", modules("harness"), ids=lambda p: str(p.relative_to(ROOT)))
def test_the_engine_imports_downwards_and_no_wing(path):
    here = path.relative_to(ROOT / "harness").parts[0].removesuffix(".py")
    for imported, at_top in imports(path):
        top = imported.split(".")[0]
        assert top not in ("methods", "baselines"), f"{path} imports {imported}: scorers are found by the registry"
        if top == "reports":
            assert here in ("cli", "benchmark"), f"{path} imports {imported}: only commands may"
            assert not at_top, f"{path} imports {imported} at module level: inside the command only"
        if top == "harness" and imported.count(".") and room(imported) != here and here != "__init__":
            target = room(imported)
            if target.startswith("__"):
                continue
            assert here in FLOOR, f"give harness/{here} a floor"
            if (here, target) not in LAZY:
                assert FLOOR[target] <= FLOOR[here], f"{path} imports {imported}: up from floor {FLOOR[here]}"


@pytest.mark.parametrize("path", modules("reports"), ids=lambda p: str(p.relative_to(ROOT)))
def test_reports_know_records_only(path):
    for imported, _ in imports(path):
        assert imported.split(".")[0] not in ("torch", "methods", "baselines", "mlflow"), f"{path} imports {imported}"
        parts = imported.split(".")
        if parts[0] == "harness" and len(parts) > 1 and FLOOR.get(parts[1], 0) > 0:
            assert ".".join(parts[1:3]) in PLAIN_DATA, f"{path} imports {imported}, which is above the records"


def test_reports_load_no_engine():
    names = [".".join(p.relative_to(ROOT).with_suffix("").parts) for p in modules("reports") if p.stem != "__init__"]
    code = (
        f"import importlib, sys; [importlib.import_module(n) for n in {names!r}];"
        "bad = {'torch', 'mlflow', 'optuna', 'methods', 'baselines', 'matplotlib.pyplot'} & set(sys.modules); assert not bad, bad"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", [*modules("methods"), *modules("baselines")], ids=lambda p: str(p.relative_to(ROOT)))
def test_methods_do_not_import_each_other(path):
    for imported, _ in imports(path):
        parts = imported.split(".")
        assert parts[0] != "reports", f"{path} imports {imported}"
        if parts[0] in ("methods", "baselines") and len(parts) > 1:
            assert parts[0] == path.parent.name, f"{path} imports {imported}"
            assert parts[1].startswith("_"), f"{path} imports {imported}: share through a helper module"
        if parts[0] == "harness" and len(parts) > 1:
            assert FLOOR[room(imported)] <= 2, f"{path} imports {imported}, which is above the scorers"


def test_every_room_of_the_engine_has_a_floor():
    rooms = {p.stem if p.suffix == ".py" else p.name for p in (ROOT / "harness").iterdir()}
    ignored = {"__init__", "__pycache__", "experiments"}
    assert rooms - ignored <= set(FLOOR), f"rooms without a floor: {sorted(rooms - ignored - set(FLOOR))}"
